/*
 * Every system call of one process: how often, how long, with what result, made where. Loaded
 * while somebody looks only, since the two tracepoints are passed by every process of the machine.
 *
 * Tracepoints run with preemption off: what is kept for each CPU has one writer.
 */
#include <asm/unistd.h>
#include <linux/bpf.h>
#include <linux/futex.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "call_sums.h"
#include "shared.h"

/* Set before the program is loaded. */
const volatile __u32 tgid = 0;
const volatile __u64 ns_dev = 0, ns_ino = 0; /* of the target's pid namespace, if not the first */
const volatile bool futex_only = false;

struct call_state state = {0};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, CALL_SITES);
	__type(key, struct call_key);
	__type(value, struct call_sums);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FUTEX_WORDS + CALL_SITES);
	__type(key, struct wait_key);
	__type(value, struct wait_sums);
} waits SEC(".maps");

/* Arrays are looked up without a call, hashes are not. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct fast_sums);
} fast SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct call_now);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CROWD);
	__type(key, __u32);
	__type(value, struct call_now);
} crowd SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct call_spent);
} spent SEC(".maps");

/* The kernel's saved user registers; the layout is ABI. */
#if defined(__TARGET_ARCH_x86)
#define AT_ARG0 (14 * 8) /* rdi */
#define AT_ARG1 (13 * 8) /* rsi */
#define AT_IP (16 * 8)
#elif defined(__TARGET_ARCH_arm64)
#define AT_ARG0 0 /* x0 */
#define AT_ARG1 8
#define AT_IP (32 * 8)
#else
#error "where are the registers?"
#endif

static __always_inline __u64 saved(__u64 regs, int at)
{
	__u64 v = 0;

	bpf_probe_read_kernel(&v, sizeof(v), (const void *)(regs + at));
	return v;
}

static __always_inline bool is_target(__u32 *tid)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct bpf_pidns_info inner;

	*tid = (__u32)id;
	if (!ns_ino)
		return id >> 32 == tgid;
	if (bpf_get_ns_current_pid_tgid(ns_dev, ns_ino, &inner, sizeof(inner)))
		return false;
	*tid = inner.pid;
	return inner.tgid == tgid;
}

/* One run in so many is timed: to look at the clock costs as much as the rest. 0: not this one. */
static __always_inline __u64 begin_run(void)
{
	__u32 zero = 0;
	struct call_spent *s = bpf_map_lookup_elem(&spent, &zero);

	if (!s || ++s->runs < CALL_TIMED)
		return 0;
	s->runs = 0;
	return bpf_ktime_get_ns();
}

static __always_inline void end_run(__u64 begin)
{
	__u32 zero = 0;
	struct call_spent *s = begin ? bpf_map_lookup_elem(&spent, &zero) : NULL;

	if (s)
		s->ns += bpf_ktime_get_ns() - begin;
}

static __always_inline void lose(void)
{
	__sync_fetch_and_add(&state.lost, 1);
}

static __always_inline bool is_exec(__u64 number)
{
	return number == __NR_execve || number == __NR_execveat;
}

static __always_inline struct call_now *now_of(__u32 tid, bool make)
{
	struct call_now fresh = {.tid = tid}, *n;
	__u32 slot = tid & (SLOTS - 1);

	n = bpf_map_lookup_elem(&slots, &slot);
	if (!n || n->tid == tid)
		return n;
	if (make && !n->tid && !__sync_val_compare_and_swap(&n->tid, 0, tid))
		return n;
	n = bpf_map_lookup_elem(&crowd, &tid);
	if (n || !make)
		return n;
	if (bpf_map_update_elem(&crowd, &tid, &fresh, BPF_ANY))
		lose();
	return bpf_map_lookup_elem(&crowd, &tid);
}

static __always_inline void forget(__u32 tid)
{
	struct call_now *n = now_of(tid, false);

	bpf_map_delete_elem(&crowd, &tid);
	if (!n || n->tid != tid)
		return;
	n->start = 0;
	n->tid = 0;
}

#define CASE_(name) case __NR_##name:
static __always_inline bool may_be_ours(__u64 number)
{
	switch (number) {
		HAK_CALLS(CASE_)
		return true;
	default:
		return false;
	}
}

/* Where it was made, and with that whose it is. */
static __always_inline void note_caller(struct call_now *n, __u64 number, __u64 regs)
{
	__u64 ours = state.call_addr;

	n->fast = ours && number < FAST_CALLS;
	n->others = 1;
	n->ip = 0;
	if (n->fast && !may_be_ours(number))
		return;
	n->ip = saved(regs, AT_IP);
	n->others = n->ip != ours;
}

static __always_inline void begin_call(struct bpf_raw_tracepoint_args *ctx, __u64 number, __u32 tid)
{
	struct call_now *now;

	if (number == __NR_exit || number == __NR_exit_group) {
		forget(tid);
		return;
	}
	now = now_of(tid, true);
	if (!now)
		return;
	now->calls++;
	now->number = (__u32)number;
	now->op = 0;
	note_caller(now, number, ctx->args[0]);
	if (number == __NR_futex) {
		now->op = (__u32)saved(ctx->args[0], AT_ARG1) & FUTEX_CMD_MASK;
		now->word = saved(ctx->args[0], AT_ARG0);
	}
	now->start = bpf_ktime_get_ns();
}

SEC("raw_tp/sys_enter")
int on_enter(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 number = ctx->args[1], begin;
	__u32 tid;

	if (futex_only && number != __NR_futex && !is_exec(number))
		return 0;
	if (!is_target(&tid))
		return 0;
	begin = begin_run();
	begin_call(ctx, number, tid);
	end_run(begin);
	return 0;
}

static __always_inline bool is_wait(const struct call_now *n)
{
	return n->number == __NR_futex &&
	       (n->op == FUTEX_WAIT || n->op == FUTEX_WAIT_BITSET || n->op == FUTEX_LOCK_PI ||
		n->op == FUTEX_LOCK_PI2 || n->op == FUTEX_WAIT_REQUEUE_PI);
}

static __always_inline struct call_sums *fast_of(const struct call_now *n)
{
	__u32 others = n->others != 0;
	struct fast_sums *f = bpf_map_lookup_elem(&fast, &others);
	__u64 number = n->number;

	asm volatile("" : "+r"(number)); /* as the verifier can follow it */
	return f ? &f->n[number & (FAST_CALLS - 1)] : NULL;
}

static __always_inline struct call_sums *site_of(const struct call_now *n)
{
	struct call_key key = {n->number, (__u16)state.program, (__u16)n->op, n->ip};
	struct call_sums none = {0}, *s = bpf_map_lookup_elem(&calls, &key);

	if (s)
		return s;
	bpf_map_update_elem(&calls, &key, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&calls, &key);
}

static __always_inline void add_call(const struct call_now *n, __u64 ns, bool failed)
{
	struct call_sums *s = n->fast ? fast_of(n) : site_of(n);

	if (!s) {
		lose();
		return;
	}
	s->calls++;
	s->errors += failed;
	s->ns += ns;
	if (s->epoch != state.epoch) {
		s->epoch = state.epoch;
		s->max_ns = 0;
	}
	if (ns > s->max_ns)
		s->max_ns = ns;
}

static __always_inline __u32 slot_of(__u64 ns)
{
	__u32 r = 0;

	for (__u32 s = 32; s; s >>= 1)
		if (ns >> s) {
			ns >>= s;
			r += s;
		}
	return r < WAIT_SLOTS ? r : WAIT_SLOTS - 1;
}

static __always_inline struct wait_sums *wait_sums_of(struct wait_key *key)
{
	static const struct wait_sums none;
	struct wait_sums *s = bpf_map_lookup_elem(&waits, key);

	if (s)
		return s;
	if (state.words >= FUTEX_WORDS)
		key->word = 0;
	else
		__sync_fetch_and_add(&state.words, 1);
	bpf_map_update_elem(&waits, key, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&waits, key);
}

/* Threads that wait for one word are woken on different CPUs at once. */
static __always_inline void add_wait(const struct call_now *n, __u64 ns)
{
	struct wait_key key = {n->word, n->ip, (__u32)state.program, n->op};
	struct wait_sums *s = wait_sums_of(&key);
	__u64 slot = slot_of(ns);

	if (!s) {
		lose();
		return;
	}
	asm volatile("" : "+r"(slot)); /* as the verifier can follow it */
	__sync_fetch_and_add(&s->waits, 1);
	__sync_fetch_and_add(&s->ns, ns);
	if (slot < WAIT_SLOTS)
		__sync_fetch_and_add(&s->hist[slot], 1);
	if (s->epoch != state.epoch) {
		s->epoch = state.epoch;
		s->max_ns = 0;
	}
	if (ns > s->max_ns)
		s->max_ns = ns; /* of two at once the shorter may stay */
}

static __always_inline void end_call(__u64 result, __u32 tid)
{
	struct call_now *n = now_of(tid, false);
	__u64 end;

	if (!n || n->tid != tid || !n->start)
		return;
	end = bpf_ktime_get_ns();
	if (is_exec(n->number) && !result) { /* no other thread is left */
		state.program++;
		state.call_addr = 0;
		n->fast = 0;
	}
	if (!futex_only || n->number == __NR_futex) {
		add_call(n, end - n->start, result > -4096UL);
		if (is_wait(n))
			add_wait(n, end - n->start);
	}
	n->start = 0;
}

SEC("raw_tp/sys_exit")
int on_exit(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 begin;
	__u32 tid;

	if (!is_target(&tid))
		return 0;
	begin = begin_run();
	end_call(ctx->args[1], tid);
	end_run(begin);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
