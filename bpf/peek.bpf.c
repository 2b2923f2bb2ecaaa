/*
 * Reads the memory of a process for who may use BPF but not ptrace: an iterator over one task,
 * which copies what is asked for. It runs when the reader reads from the iterator, and nowhere
 * else. Page tables are memory of the kernel: hakstat/pagetables.c knows where.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

#include "peeked.h"

/* Of the kernel: where its fields are, libbpf finds out. */
#define KERNELS __attribute__((preserve_access_index))
struct mm_struct {
	void *pgd;
} KERNELS;
struct task_struct {
	struct mm_struct *mm;
} KERNELS;
/* By pointers only, which need no relocation. */
struct bpf_iter__task {
	void *meta;
	struct task_struct *task;
};

/* Not with lockdown=confidentiality: a program that calls the helper is refused then. */
const volatile bool reads_kernel = true;

struct peek peek = {0};

SEC("iter.s/task")
int on_task(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	__u32 parts = peek.parts;

	if (!task)
		return 0; /* the end of the iteration */
	peek.runs++;
	peek.pgd = reads_kernel ? (__u64)task->mm->pgd : 0;
	for (__u32 i = 0; i < PEEK_PARTS && i < parts; i++) {
		const struct peek_part *p = &peek.part[i];
		__u32 bytes = p->bytes, at = p->at & (PEEK_BYTES - 1);
		const void *from = (const void *)p->addr;
		long r = 0;

		if (bytes > PEEK_PART_BYTES)
			bytes = PEEK_PART_BYTES;
		if (!peek.kernel)
			r = bpf_copy_from_user_task(&peek.data[at], bytes, from, task, 0);
		else if (reads_kernel)
			bpf_probe_read_kernel(&peek.data[at], bytes, from);
		if (r && !peek.error)
			peek.error = (__s32)r;
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
