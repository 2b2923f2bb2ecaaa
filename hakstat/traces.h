/* From copies of user stacks to stacks: each is unwound, and kept once however often it comes. */
#ifndef HAKSTAT_TRACES_H
#define HAKSTAT_TRACES_H

#include "stack_event.h"
#include "symbols.h"
#include "target.h"
#include "unwind.h"

struct stack_tally {
	double events, bytes, ns; /* estimates, where not every stack was taken */
	uint64_t taken;
	uint64_t cut; /* of them, not whole */
};

/* One stack as it was found: addresses, not names. */
struct raw_stack {
	uint64_t hash;
	unsigned probe, generation, n;
	unsigned id;  /* counted from 0 as they come */
	unsigned row; /* which it is part of, once rows were made (stack_rows_make) */
	bool cut;
	struct stack_tally sum;
	uint64_t pc[];
};

struct traces {
	struct modules *modules;
	struct symbols *symbols;
	struct unwinder *unwinder;
	struct raw_stack **stack; /* open addressing; a power of two */
	size_t room, used;
	double looked, look_s; /* when the last look at the mappings was, and how long it took */
	bool fresh;	       /* a look at the mappings is as new as the stacks being taken */
	uint64_t method[UNWIND_BOTH + 1], end[UNWIND_BROKEN + 1];
	struct callers callers;
};

/* False: no memory. t begins all zero; traces_close always. depth and so on: see unwind_open. */
bool traces_open(struct traces *t, unsigned depth, bool frame_pointers);
void traces_close(struct traces *t);
/* Looks at the mappings of the target, unless the last look is less than that many seconds ago. */
void traces_look(struct traces *t, const struct target *target, double at_least);
/* To be passed as at_least by who looks again and again. */
double traces_pause(const struct traces *t);
/* The stack as it is kept. NULL: there are more different ones than are kept. */
struct raw_stack *traces_add(struct traces *t, const struct target *target, unsigned probe,
			     const struct stack_copy *copy);
struct raw_stack *traces_add_event(struct traces *t, const struct target *target,
				   const struct stack_event *e);
/* All of them, by id; free it. NULL: no memory. */
struct raw_stack **traces_list(const struct traces *t);
/* Forgets the stacks, not the files. */
void traces_forget(struct traces *t);

#endif
