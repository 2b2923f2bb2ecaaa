#include "peek.h"
#include "attach.h"
#include "peeked.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "peek.skel.h"

static struct peek_bpf *skel;
static bool tried;
static int link_fd = -1; /* of the iterator over linked_tid */
static pid_t linked_tid;

static bool load(bool kernel)
{
	skel = peek_bpf__open();
	if (!skel)
		return false;
	probes_prepare(skel->progs.on_task, false); /* quiet */
	skel->rodata->reads_kernel = kernel;
	if (!peek_bpf__load(skel) && skel->bss)
		return true;
	peek_bpf__destroy(skel);
	skel = NULL;
	return false;
}

static bool loaded(void)
{
	if (!tried && !load(true))
		load(false);
	tried = true;
	return skel != NULL;
}

static int link_to(pid_t tid)
{
	union bpf_iter_link_info info = {.task = {.tid = (__u32)tid}};
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info, .iter_info_len = sizeof(info));

	if (link_fd >= 0 && linked_tid == tid)
		return 0;
	if (link_fd >= 0)
		close(link_fd);
	linked_tid = tid;
	link_fd = bpf_link_create(bpf_program__fd(skel->progs.on_task), 0, BPF_TRACE_ITER, &opts);
	return link_fd < 0 ? -errno : 0;
}

/* What is asked for in skel->bss. */
static int run(pid_t tid)
{
	struct peek *p = &skel->bss->peek;
	int r = link_to(tid), fd;
	char c;

	if (r)
		return r == -ESRCH ? r : -EPERM;
	fd = bpf_iter_create(link_fd);
	if (fd < 0)
		return -errno;
	p->runs = 0;
	p->error = 0;
	while (read(fd, &c, 1) > 0)
		;
	close(fd);
	return p->runs ? p->error : -ESRCH;
}

/* Where we are in the reading. */
struct place {
	size_t i, done; /* of the part of the caller */
};

static int round_of(pid_t tid, const struct iovec *to, const struct iovec *from, size_t n,
		    struct place *at)
{
	struct peek *p = &skel->bss->peek;
	struct place begin = *at;
	uint32_t used = 0;
	int r;

	for (p->parts = 0; at->i < n && p->parts < PEEK_PARTS; p->parts++) {
		size_t left = from[at->i].iov_len - at->done;
		uint32_t bytes = left < PEEK_PART_BYTES ? (uint32_t)left : PEEK_PART_BYTES;

		if (used + bytes > PEEK_BYTES)
			break;
		p->part[p->parts] = (struct peek_part){(uintptr_t)from[at->i].iov_base + at->done,
						       bytes, used & (PEEK_BYTES - 1)};
		used += bytes;
		at->done += bytes;
		if (at->done == from[at->i].iov_len)
			*at = (struct place){at->i + 1, 0};
	}
	r = run(tid);
	for (uint32_t k = 0; !r && k < p->parts; k++) {
		memcpy((char *)to[begin.i].iov_base + begin.done, p->data + p->part[k].at,
		       p->part[k].bytes);
		begin.done += p->part[k].bytes;
		if (begin.done == from[begin.i].iov_len)
			begin = (struct place){begin.i + 1, 0};
	}
	return r;
}

int peek_memory(pid_t tid, const struct iovec *to, const struct iovec *from, size_t n)
{
	struct place at = {0};
	int r = 0;

	if (!loaded())
		return -EPERM;
	skel->bss->peek.kernel = false;
	while (!r && at.i < n)
		r = round_of(tid, to, from, n, &at);
	return r;
}

int peek_kernel(pid_t tid, const struct iovec *to, const struct iovec *from, size_t n,
		uint64_t *pgd)
{
	struct place at = {0};
	int r;

	if (!loaded() || !skel->rodata->reads_kernel)
		return -EPERM;
	skel->bss->peek.kernel = true;
	do {
		r = round_of(tid, to, from, n, &at);
	} while (!r && at.i < n);
	*pgd = skel->bss->peek.pgd;
	return r;
}
