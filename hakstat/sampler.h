/* User stacks of a target's probes, as the BPF program hands them out. */
#ifndef HAKSTAT_SAMPLER_H
#define HAKSTAT_SAMPLER_H

#include "stack_event.h"
#include "target.h"

struct sampler_options {
	uint64_t which;			      /* probes, a bit each */
	uint64_t bare;			      /* of them, those of which no stack is wanted */
	uint64_t switches;		      /* attached to before any: they never fire */
	uint32_t slice_bytes;		      /* of a stack, copied at most */
	uint32_t per_second;		      /* stacks of a probe taken at most, 0: all */
	uint32_t filter_arg[HAK_PROBE_COUNT]; /* of each probe's arguments the one to compare ... */
	uint32_t filter_value;		      /* ... with this; STACK_NO_ARG: no filter */
};

#define SLICE_BYTES_MAX (STACK_PAGES_MAX * STACK_PAGE)

struct sampler;

/* NULL on failure, with the reason in err and a negative errno in *error. */
struct sampler *sampler_open(const struct target *t, const struct sampler_options *o, int *error,
			     char *err, size_t errlen);
void sampler_close(struct sampler *s);

/* Calls fn for the stacks that have come since; false: there may be more already. */
bool sampler_drain(struct sampler *s, void (*fn)(void *arg, const struct stack_event *e),
		   void *arg);
/* What the kernel could not hand to the program counts as lost. */
void sampler_counts(const struct sampler *s, struct stack_counts *out);
/* Time spent in the program, in ns. */
uint64_t sampler_cost(const struct sampler *s);

#endif
