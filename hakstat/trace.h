/* The event stream: what the probes of a process tell, one by one. */
#ifndef HAKSTAT_TRACE_H
#define HAKSTAT_TRACE_H

#include "source.h"
#include "trace_event.h"

struct trace_options {
	uint64_t which;	     /* probes, a bit each */
	uint64_t per_second; /* 0: all */
	uint64_t min_ns;
	/* False: no more. Names are safe to print. */
	bool (*event)(void *arg, const struct trace_event *e);
	void (*turn)(void *arg);		     /* those that were there are through */
	void (*off)(void *arg, int probe, bool off); /* the budget took it off, or put it back */
	void *arg;
	int *refused;		     /* gets a negative errno if nothing can be attached */
	bool *by_events;	     /* gets whether it is as probes_by_events says */
	struct trace_counts *counts; /* as of the last turn, as is: */
	double *off_s;		     /* of each probe, how long it has been off in all */
};

extern const struct source source_trace; /* options: struct trace_options */

/* Index of the argument that is its duration; -1: it has none. */
int trace_ns_argument(int probe);

#endif
