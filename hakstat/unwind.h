/*
 * Callers of a thread, from a copy of its registers and of a slice of its stack. By the call
 * frame information of the files (.eh_frame), so that code without frame pointers does not
 * matter; by frame pointers where that proves to be the same, or where nothing else is left.
 */
#ifndef HAKSTAT_UNWIND_H
#define HAKSTAT_UNWIND_H

#include "modules.h"

#include <stddef.h>

#define UNWIND_REGS 17 /* x86-64, by their DWARF numbers; the last is the instruction pointer */
#define UNWIND_DEPTH_MAX 1024U

struct stack_copy {
	uint64_t reg[UNWIND_REGS];
	const void *slice; /* the stack from its pointer on */
	size_t bytes;
	bool whole;	       /* the stack ends where the slice does */
	const uint64_t *chain; /* return addresses by frame pointers, reg[16] first */
	unsigned links;
};

enum unwind_method {
	UNWIND_CFI,
	UNWIND_CHAIN, /* frame pointers */
	UNWIND_BOTH,  /* CFI, and frame pointers for what is above the slice */
};

enum unwind_end {
	UNWIND_WHOLE,  /* reaches the first function of its thread */
	UNWIND_SLICE,  /* goes on above the slice */
	UNWIND_DEPTH,  /* has more frames than asked for */
	UNWIND_BROKEN, /* no file tells how to go on */
};

struct callers {
	/* innermost first; a return address less one, so that it lies within the call */
	uint64_t pc[UNWIND_DEPTH_MAX];
	unsigned n;
	enum unwind_method method;
	enum unwind_end end;
};

struct unwinder;

/* depth: frames at most. frame_pointers: use nothing else. */
struct unwinder *unwind_open(struct modules *m, unsigned depth, bool frame_pointers);
void unwind_close(struct unwinder *u);

void unwind(struct unwinder *u, const struct stack_copy *s, struct callers *out);

#endif
