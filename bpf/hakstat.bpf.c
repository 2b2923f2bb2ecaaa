/*
 * One program for every probe. The attach cookie tells which probe fired; the arguments are in
 * the registers of a System V call, read as such. What each probe means is expanded from
 * probes.def, so that a handler gets its arguments by name and type or does not compile.
 *
 * Sums are global and atomic, not per CPU: the program runs preemptible, and two tasks on one
 * CPU may add to the same number.
 */
#include "args.h"
#include "sums.h"
#include "turn.h"

struct bpf_sums sums = {0};
struct probe_events events[HAK_PROBE_COUNT] = {0};

/*
 * An index as the verifier can follow it: without the barrier clang turns the bound of a 32-bit
 * value into a test of its high bits, which says nothing about the register used.
 */
static __always_inline __u64 index_of(__u32 v)
{
	__u64 i = v;

	asm volatile("" : "+r"(i));
	return i;
}

static __always_inline __u32 log2_of(__u64 v)
{
	__u32 r = 0;

	for (__u32 s = 32; s; s >>= 1)
		if (v >> s) {
			v >>= s;
			r += s;
		}
	return r;
}

#define ON(p, n) static __always_inline void on_##p##_##n

ON(hakmem, refill)
(hak_u32 class, hak_u32 block_bytes, hak_u32 got, hak_u64 allocs, hak_u64 frees, hak_u32 source)
{
	__u64 i = index_of(class), k = index_of(source);

	if (i < HAK_CLASS_MAX) {
		struct class_sums *c = &sums.class_[i];

		ADD(c->refills, 1);
		ADD(c->refill_blocks, got);
		ADD(c->allocs, allocs);
		ADD(c->frees, frees);
		if (k < HAK_SOURCE_COUNT)
			ADD(sums.route[i][k], 1);
	}
}

ON(hakmem, flush)
(hak_u32 class, hak_u32 block_bytes, hak_u32 given, hak_u64 allocs, hak_u64 frees, hak_u32 reason)
{
	__u64 i = index_of(class), k = index_of(reason);

	if (i < HAK_CLASS_MAX) {
		struct class_sums *c = &sums.class_[i];

		ADD(c->flushes, 1);
		ADD(c->flush_blocks, given);
		ADD(c->allocs, allocs);
		ADD(c->frees, frees);
	}
	if (k < HAK_FLUSH_COUNT)
		ADD(sums.reasons[k], given);
}

ON(hakmem, remote_push)
(hak_u32 owner_tid, hak_u32 class, hak_u32 blocks, hak_u64 bytes, hak_u32 queue_was_empty)
{
	ADD(sums.push_batches, 1);
	ADD(sums.push_blocks, blocks);
	ADD(sums.push_bytes, bytes);
}

ON(hakmem, remote_drain)(hak_u32 blocks, hak_u64 bytes, hak_u32 batches)
{
	ADD(sums.drains, 1);
	ADD(sums.drain_blocks, blocks);
	ADD(sums.drain_bytes, bytes);
}

ON(hakmem, remote_take)(hak_u32 owner_tid, hak_u32 class, hak_u32 blocks, hak_u64 bytes)
{
	ADD(sums.drain_blocks, blocks);
	ADD(sums.drain_bytes, bytes);
}

/* Counted only; who needs it has a program of its own. */
ON(hakmem, remote_help)(hak_u32 owner_tid)
{
}

ON(hakmem, lock_wait_start)(hak_u32 lock_id, hak_u64 lock_addr)
{
	__u64 i = index_of(lock_id);

	if (i < HAK_LOCK_MAX)
		ADD(sums.lock[i].started, 1);
}

ON(hakmem, lock_wait_done)(hak_u32 lock_id, hak_u64 lock_addr, hak_u64 wait_ns, hak_u32 spins)
{
	__u64 i = index_of(lock_id);
	struct lock_sums *l;

	if (i >= HAK_LOCK_MAX)
		return;
	l = &sums.lock[i];
	ADD(l->waits, 1);
	ADD(l->wait_ns, wait_ns);
	ADD(l->hist[index_of(log2_of(wait_ns)) & (HIST_SLOTS - 1)], 1);
	if (wait_ns > l->max_ns)
		l->max_ns = wait_ns; /* the lock is held: one writer per lock */
}

static __always_inline void on_os(int kind, hak_u64 bytes, hak_u32 reason, hak_u64 ns)
{
	__u64 i = index_of(reason);

	if (i >= HAK_OS_COUNT)
		return;
	ADD(sums.os[kind][i].calls, 1);
	ADD(sums.os[kind][i].bytes, bytes);
	ADD(sums.os[kind][i].ns, ns);
}

ON(hakmem, os_map)(hak_u64 addr, hak_u64 bytes, hak_u32 reason, hak_u64 ns)
{
	on_os(OS_MAP, addr ? bytes : 0, reason, ns);
}

ON(hakmem, os_unmap)(hak_u64 addr, hak_u64 bytes, hak_u32 reason, hak_u64 ns)
{
	on_os(OS_UNMAP, bytes, reason, ns);
}

ON(hakmem, os_purge)(hak_u64 addr, hak_u64 bytes, hak_u32 reason, hak_u64 ns)
{
	on_os(OS_PURGE, bytes, reason, ns);
}

ON(hakmem, os_fill)(hak_u64 addr, hak_u64 bytes, hak_u32 reason, hak_u64 ns)
{
	on_os(OS_FILL, bytes, reason, ns);
}

ON(hakmem, mmap_fallback)(hak_u64 bytes, hak_u64 alignment, hak_u32 reason, hak_u64 addr)
{
	__u64 i = index_of(reason);

	if (i >= HAK_FALLBACK_COUNT)
		return;
	ADD(sums.fallback[i].calls, 1);
	ADD(sums.fallback[i].bytes, bytes);
	ADD(sums.fallback_sizes[i][index_of(log2_of(bytes)) & (HIST_SLOTS - 1)], 1);
}

/* The rest is counted only. */
ON(hakmem, page_new)(hak_u32 class, hak_u64 addr, hak_u64 bytes, hak_u32 source)
{
}
ON(hakmem, page_free)(hak_u32 class, hak_u64 addr, hak_u64 bytes, hak_u32 reason)
{
}
ON(hakmem, arena_grow)(hak_u64 bytes, hak_u32 level)
{
}
ON(hakmem, thread_start)(hak_u32 tid, hak_u64 heap)
{
}
ON(hakmem, thread_exit)(hak_u32 tid, hak_u64 heap)
{
}
ON(hakmem, adopt)(hak_u32 tid, hak_u64 heap, hak_u32 pages, hak_u64 live_blocks)
{
}
ON(hakmem, oom)(hak_u64 bytes, hak_u32 reason)
{
}
ON(hakmem, misuse)(hak_u64 addr, hak_u32 kind)
{
}
ON(otel_memory, alloc)(hak_u64 ptr, hak_u64 size, hak_u64 weighted_bytes)
{
}
ON(otel_memory, free)(hak_u64 ptr)
{
}
ON(hakmem, sample_bit0)(hak_u32 unused)
{
}
ON(hakmem, sample_bit1)(hak_u32 unused)
{
}
ON(hakmem, sample_bit2)(hak_u32 unused)
{
}
ON(hakmem, sample_bit3)(hak_u32 unused)
{
}
ON(hakmem, sample_bit4)(hak_u32 unused)
{
}
ON(hakmem, watch_sites)(hak_u32 unused)
{
}

#define TYPE_(t, n, u, m) hak_##t
#define R(arg, reg) ((TYPE_ arg)(reg))
#define CASE(p, n, ...)                    \
	case HAK_P_##p##_##n:              \
		on_##p##_##n(__VA_ARGS__); \
		break;
#define HAK_PROBE1(p, n, w, a) CASE(p, n, R(a, r->di))
#define HAK_PROBE2(p, n, w, a, b) CASE(p, n, R(a, r->di), R(b, r->si))
#define HAK_PROBE3(p, n, w, a, b, c) CASE(p, n, R(a, r->di), R(b, r->si), R(c, r->dx))
#define HAK_PROBE4(p, n, w, a, b, c, d) \
	CASE(p, n, R(a, r->di), R(b, r->si), R(c, r->dx), R(d, r->cx))
#define HAK_PROBE5(p, n, w, a, b, c, d, e) \
	CASE(p, n, R(a, r->di), R(b, r->si), R(c, r->dx), R(d, r->cx), R(e, r->r8))
#define HAK_PROBE6(p, n, w, a, b, c, d, e, f) \
	CASE(p, n, R(a, r->di), R(b, r->si), R(c, r->dx), R(d, r->cx), R(e, r->r8), R(f, r->r9))

static __always_inline void count(struct regs *r, __u64 id)
{
	__u64 slot = index_of((__u32)bpf_get_current_pid_tgid());

	ADD(events[id].of[slot & (EVENT_SLOTS - 1)], 1);
	switch (id) {
#include "probes.def"
	}
}

PROBE_PROGRAM(on_probe, count)

char LICENSE[] SEC("license") = "Dual MIT/GPL";
