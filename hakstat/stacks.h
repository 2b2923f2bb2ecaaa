/* Which code makes a probe fire: events, bytes and time by user stack. */
#ifndef HAKSTAT_STACKS_H
#define HAKSTAT_STACKS_H

#include "sampler.h"
#include "source.h"
#include "traces.h"

enum stacks_by {
	STACKS_BY_STACK,    /* whole stacks, with lines */
	STACKS_BY_FOLDED,   /* by the names of functions alone */
	STACKS_BY_FUNCTION, /* by the function that called the allocator */
};

struct stacks_options {
	struct sampler_options sampler;
	unsigned depth;	     /* frames at most */
	bool frame_pointers; /* nothing else */
	bool internals;	     /* with the functions inside libhakmem */
	bool callers;	     /* from the function that called the allocator on, without the probe */
	bool cumulative;     /* from the first stack on, not from one mark to the next */
	enum stacks_by by;
	char title[96]; /* what is looked at, for people; or empty */
	int *refused; /* gets the error if nothing can be attached: there is no point in waiting */
};

struct stack_row {
	int probe;
	const struct frame **frame; /* innermost first */
	unsigned frames;
	bool cut;   /* it goes on, where to is unknown */
	bool entry; /* the first frame is what the program called of libhakmem */
	struct stack_tally sum;
	char *callers; /* "zmalloc < sdsnew < main" */
	char *folded;  /* "redis-server;main;sdsnew;zmalloc;malloc;[refill]" */
};

struct stacks {
	struct stack_row *row;
	unsigned rows;
	double seconds;
	const char *title; /* of the options */
	uint64_t which;	   /* probes, a bit each */
	struct stack_counts counts;
	uint64_t events; /* of all probes */
	bool off;	 /* for a part of the time the budget kept probes off */
	uint64_t method[UNWIND_BOTH + 1], end[UNWIND_BROKEN + 1]; /* stacks taken */
	uint64_t unkept;	/* taken, but there are more different ones than are kept */
	unsigned closed;	/* files of the process that could not be opened ... */
	bool denied;		/* ... for want of permission */
	int64_t bpf_ns, cpu_ns; /* spent at the probes, and by us; -1 if unknown */
	struct stack_tally all;
};

/* Defaults: no probe, no filter. */
void stacks_options_init(struct stacks_options *o);
/*
 * Of all probes chosen only those events whose argument with this unit has this value. -1, or a
 * probe that has no such argument.
 */
int stacks_filter(struct stacks_options *o, const char *unit, uint32_t value);
/* The stacks of one probe, of all events or (unit not NULL) of some, to explain a row of `top'. */
bool stacks_explain(struct stacks_options *o, int probe, const char *unit, uint32_t value,
		    const char *what);

extern const struct source stacks_source; /* options: struct stacks_options */

/* What the sum of a probe's arguments is, from the contract. */
bool probe_has_bytes(int probe);
bool probe_has_ns(int probe);
/* Index of the argument with this unit; -1: it has none. */
int probe_argument(int probe, const char *unit);

/* --- of the parts of stacks.c --- */

/* Makes rows of raw stacks, and tells each its row; `scale` by probe. False: no memory.
 * (stack_rows.c) */
bool stack_rows_make(struct stacks *out, struct raw_stack *const *raw, size_t n,
		     const double *scale, struct symbols *symbols, const struct stacks_options *o,
		     const char *comm, bool is_static);
void stack_rows_free(struct stacks *s);
/* Index of the address that is what the program called of libhakmem. */
unsigned stack_entry(const struct raw_stack *r, struct symbols *symbols, bool is_static);

#endif
