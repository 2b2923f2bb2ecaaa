/*
 * User stacks at probes: registers, the chain of frame pointers, and a copy of the stack above
 * the stack pointer, from which hakstat unwinds what was built without frame pointers. Nothing
 * runs in the target, and nothing is looked up here.
 *
 * Events are counted exactly; stacks are taken of one event in `period`, chosen at random, so
 * that about `budget` are taken in a window.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "stack_event.h"
#include "thread.h"
#include "turn.h"

const volatile __u32 pages = 4;	      /* of a slice, at most STACK_PAGES_MAX */
const volatile __u32 small_pages = 1; /* stacks of so few take a smaller record */
const volatile __u32 budget = 0;      /* stacks of a probe a window, 0: all of them */
/* An event counts if its argument number filter_arg is filter_value; STACK_NO_ARG: every one. */
const volatile __u32 filter_arg[HAK_PROBE_COUNT] = {0};
const volatile __u32 filter_value = 0;
const volatile __u64 bare = 0; /* probes of which no stack is wanted, a bit each */

struct stack_counts counts = {0};

/* Of each probe its own: of one that fires seldom all stacks are taken, whatever others do. */
struct stack_pace paces[HAK_PROBE_COUNT] = {0};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24);
} ring SEC(".maps");

/* Of several tasks that see the window end one opens the next; the others may still use the old. */
static __always_inline void next_window(struct stack_pace *p, __u64 now)
{
	__u64 last = p->window, seen;

	if (last == now || __sync_val_compare_and_swap(&p->window, last, now) != last)
		return;
	seen = __sync_lock_test_and_set(&p->seen, 0);
	__sync_lock_test_and_set(&p->taken, 0);
	p->period = now - last > 1 || seen <= budget ? 1 : (__u32)((seen + budget - 1) / budget);
}

static __always_inline bool is_chosen(struct stack_pace *p, __u32 *period)
{
	*period = 1;
	if (!budget)
		return true;
	next_window(p, bpf_ktime_get_ns() >> STACK_WINDOW_SHIFT);
	ADD(p->seen, 1);
	if (p->period > 1)
		*period = p->period;
	if (*period > 1 && bpf_get_prandom_u32() % *period)
		return false;
	/* a burst that the last window did not foretell */
	return __sync_fetch_and_add(&p->taken, 1) < 2 * budget;
}

/* Pages of stack that can be read, the one sp is in included. */
static __always_inline __u32 readable_pages(__u64 sp)
{
	__u32 n;
	__u8 c;

	for (n = 1; n <= pages && n <= STACK_PAGES_MAX; n++)
		if (bpf_probe_read_user(&c, 1,
					(void *)((sp & -(__u64)STACK_PAGE) + n * STACK_PAGE)))
			break;
	return n;
}

/* The first page from sp on, then whole ones: at most `most` + 1 pages. */
static __always_inline __u32 copy_slice(__u8 *to, __u64 sp, __u32 most)
{
	__u32 first = STACK_PAGE - (sp & (STACK_PAGE - 1)), n = first;

	if (bpf_probe_read_user(to, first, (void *)sp))
		return 0;
	for (__u32 i = 0; i < most && i < STACK_PAGES_MAX; i++) {
		__u32 at = first + i * STACK_PAGE;

		if (bpf_probe_read_user(to + at, STACK_PAGE, (void *)(sp + at)))
			break;
		n = at + STACK_PAGE;
	}
	return n;
}

static __always_inline void fill_registers(__u64 *to, const struct regs *r)
{
	to[0] = r->ax;
	to[1] = r->dx;
	to[2] = r->cx;
	to[3] = r->bx;
	to[4] = r->si;
	to[5] = r->di;
	to[6] = r->bp;
	to[7] = r->sp;
	to[8] = r->r8;
	to[9] = r->r9;
	to[10] = r->r10;
	to[11] = r->r11;
	to[12] = r->r12;
	to[13] = r->r13;
	to[14] = r->r14;
	to[15] = r->r15;
	to[16] = r->ip;
}

static __always_inline void fill_event(struct stack_event *e, struct regs *r, __u32 probe,
				       __u32 period)
{
	copy_args(e->arg, r);
	e->time_ns = bpf_ktime_get_ns();
	e->probe = probe;
	e->tid = own_tid();
	e->period = period;
}

static __always_inline void hand_out_bare(struct regs *r, __u32 probe, __u32 period)
{
	struct stack_event *e = bpf_ringbuf_reserve(&ring, STACK_BARE_BYTES, 0);

	if (!e) {
		ADD(counts.lost, 1);
		return;
	}
	fill_event(e, r, probe, period);
	ADD(counts.taken, 1);
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
}

/* `most` must be a constant for the verifier: the size of a record is. */
static __always_inline void hand_out(struct regs *r, __u32 probe, __u32 period, __u32 readable,
				     __u32 most)
{
	struct stack_event *e = bpf_ringbuf_reserve(&ring, sizeof(*e) + (most + 1) * STACK_PAGE, 0);
	long chain;

	if (!e) {
		ADD(counts.lost, 1);
		return;
	}
	fill_event(e, r, probe, period);
	fill_registers(e->reg, r);
	chain = bpf_get_stack(r, e->frame, STACK_CHAIN_MAX * sizeof(__u64), BPF_F_USER_STACK);
	e->chain = chain > 0 ? (__u32)chain / sizeof(__u64) : 0;
	e->bytes = copy_slice(e->slice, r->sp, most);
	e->whole = readable <= pages;
	ADD(counts.taken, 1);
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
}

/* Each register by a load of its own: of a pointer into them the verifier takes nothing. */
static __always_inline bool passes(struct regs *r, __u64 probe)
{
	__u32 a = *(volatile __u64 *)&r->di, b = *(volatile __u64 *)&r->si,
	      c = *(volatile __u64 *)&r->dx, which = filter_arg[probe];

	if (which == STACK_NO_ARG)
		return true;
	return (which == 0 ? a : which == 1 ? b : c) == filter_value;
}

static __always_inline void take(struct regs *r, __u64 id)
{
	__u32 period, readable;

	if (!passes(r, id))
		return;
	ADD(counts.events[id], 1);
	if (!is_chosen(&paces[id], &period)) {
		ADD(counts.skipped, 1);
		return;
	}
	if (bare >> id & 1) {
		hand_out_bare(r, id, period);
		return;
	}
	readable = readable_pages(r->sp);
	if (readable <= small_pages + 1)
		hand_out(r, id, period, readable, small_pages);
	else
		hand_out(r, id, period, readable, pages);
}

PROBE_PROGRAM(on_stack, take)

char LICENSE[] SEC("license") = "Dual MIT/GPL";
