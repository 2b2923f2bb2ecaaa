/*
 * Reads the memory of a process for who may use BPF but not ptrace: an iterator over one task,
 * which copies what is asked for. It runs when the reader reads from the iterator, and nowhere
 * else.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "peeked.h"

/* Of the kernel; by pointers only, which need no relocation. */
struct bpf_iter__task {
	void *meta;
	struct task_struct *task;
};

struct peek peek = {0};

SEC("iter.s/task")
int on_task(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	__u32 parts = peek.parts;

	if (!task)
		return 0; /* the end of the iteration */
	peek.runs++;
	for (__u32 i = 0; i < PEEK_PARTS && i < parts; i++) {
		const struct peek_part *p = &peek.part[i];
		__u32 bytes = p->bytes, at = p->at & (PEEK_BYTES - 1);
		long r;

		if (bytes > PEEK_PART_BYTES)
			bytes = PEEK_PART_BYTES;
		r = bpf_copy_from_user_task(&peek.data[at], bytes, (const void *)p->addr, task, 0);
		if (r && !peek.error)
			peek.error = (__s32)r;
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
