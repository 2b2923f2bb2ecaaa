/* What the BPF program of the event stream hands out: one record an event, and exact counts. */
#ifndef HAK_BPF_TRACE_EVENT_H
#define HAK_BPF_TRACE_EVENT_H

#include "probe_ids.h"
#include "shared.h"

#define TRACE_NAME 16
#define TRACE_NO_ARG 255U

struct trace_event {
	__u64 ns; /* CLOCK_MONOTONIC */
	__u64 arg[6];
	__u64 skipped, lost; /* before this one, ever */
	__u32 probe, tid;    /* tid: in the target's own PID namespace */
	char name[TRACE_NAME];
};

struct trace_counts {
	__u64 taken;   /* handed out */
	__u64 skipped; /* not, to keep to the rate */
	__u64 lost;    /* not, since the ring was full */
};

/* Used by the program alone. */
struct trace_second {
	__u64 number, taken;
};

#endif
