/*
 * The event stream: every probe as it fires, with its arguments, as many a second as are asked
 * for. Of each second the first ones; the rest is counted.
 */
#include "sums.h"
#include "thread.h"
#include "trace_event.h"
#include "turn.h"

const volatile __u64 budget = 0; /* events a second, 0: all */
const volatile __u64 min_ns = 0;
/* The argument of each probe that is its duration; TRACE_NO_ARG: it has none. */
const volatile __u32 ns_arg[HAK_PROBE_COUNT] = {0};

struct trace_counts counts = {0};
struct probe_events events[HAK_PROBE_COUNT] = {0};
struct trace_second second = {0};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24);
} ring SEC(".maps");

/* Each register by a load of its own: of a pointer into them the verifier takes nothing. */
static __always_inline int is_short(struct regs *r, __u64 probe)
{
	__u64 c = *(volatile __u64 *)&r->dx, d = *(volatile __u64 *)&r->cx;
	__u32 which = ns_arg[probe];

	return min_ns && (which == 2 ? c : which == 3 ? d : 0) < min_ns;
}

/* Of several tasks that see the second end one begins the next. */
static __always_inline int has_budget(__u64 ns)
{
	__u64 now = ns / 1000000000, last = second.number;

	if (!budget)
		return 1;
	if (last != now && __sync_val_compare_and_swap(&second.number, last, now) == last)
		__sync_lock_test_and_set(&second.taken, 0);
	return __sync_fetch_and_add(&second.taken, 1) < budget;
}

static __always_inline void hand_out(struct regs *r, __u64 id)
{
	__u64 ns = bpf_ktime_get_ns(), slot = bpf_get_current_pid_tgid() & (EVENT_SLOTS - 1);
	struct trace_event *e;

	ADD(events[id].of[slot], 1);
	if (is_short(r, id))
		return;
	if (!has_budget(ns)) {
		ADD(counts.skipped, 1);
		return;
	}
	e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);
	if (!e) {
		ADD(counts.lost, 1);
		return;
	}
	e->ns = ns;
	copy_args(e->arg, r);
	e->skipped = counts.skipped;
	e->lost = counts.lost;
	e->probe = id;
	e->tid = own_tid();
	bpf_get_current_comm(e->name, sizeof(e->name));
	ADD(counts.taken, 1);
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
}

PROBE_PROGRAM(on_event, hand_out)

char LICENSE[] SEC("license") = "Dual MIT/GPL";
