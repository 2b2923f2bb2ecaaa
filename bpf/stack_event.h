/* What the BPF program of user stacks hands out: one record a stack, and counts that are exact. */
#ifndef HAK_BPF_STACK_EVENT_H
#define HAK_BPF_STACK_EVENT_H

#include "probe_ids.h"
#include "shared.h"

#define STACK_PAGE 4096U
#define STACK_PAGES_MAX 16U /* of a slice */
#define STACK_REGS 17	    /* by their DWARF numbers; the last is the instruction pointer */
#define STACK_CHAIN_MAX 127 /* sysctl kernel.perf_event_max_stack */
#define STACK_NO_ARG 255U
#define STACK_WINDOW_SHIFT 26 /* the rate is kept over 2^26 ns, 67 ms */

struct stack_event {
	__u64 arg[6];  /* the probe's */
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 probe, tid;
	__u32 period; /* events this one stands for, in the mean */
	/* A record without a stack ends here. */
	__u32 chain; /* frames found by frame pointers */
	__u32 bytes; /* of the slice */
	__u32 whole; /* the slice ends where the stack does */
	__u64 reg[STACK_REGS];
	__u64 frame[STACK_CHAIN_MAX + 1];
	__u8 slice[]; /* from the stack pointer on */
};

#define STACK_BARE_BYTES __builtin_offsetof(struct stack_event, chain)

/* How many stacks of a probe are taken; used by the program alone. */
struct stack_pace {
	__u64 window, seen, taken;
	__u32 period; /* 0: as 1 */
};

struct stack_counts {
	__u64 events[HAK_PROBE_COUNT]; /* that pass the filter: all of them */
	__u64 taken;		       /* stacks handed out */
	__u64 skipped;		       /* not taken, to keep to the rate */
	__u64 lost;		       /* wanted, but the ring was full */
};

#endif
