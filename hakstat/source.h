/*
 * What a view needs beside the samples: other BPF programs, other files of /proc, the counters of
 * each heap. A source is a table of functions, each of which may be NULL but open and close. It
 * keeps two states, one as of the last mark and one as of the last look; fill puts what lies
 * between them into the model. Before the first mark, everything since the program began.
 *
 * Calls come in this order, by watch.c:
 *   open; attach (of a command of ours: before its first instruction); then again and again
 *   heap for every heap (of one sample), look, fill, mark; restart and attach where the process
 *   has become another program; close.
 * Of a recording (replay.c) load takes the place of looks: open, load, mark, load, fill and so on.
 */
#ifndef HAKSTAT_SOURCE_H
#define HAKSTAT_SOURCE_H

#include "collect.h"
#include "instant.h"
#include "model.h"

struct watch;

struct source {
	const char *name;
	bool by_itself; /* its own programs are wanted, not those of the samples */
	/* NULL: no memory. options: what the command has parsed for it, NULL in top. */
	void *(*open)(const void *options);
	/* 0 or a negative errno, with what is wrong and what to do in err; the rest goes on. */
	int (*attach)(void *state, const struct target *t, char *err, size_t errlen);
	heap_fn *heap;
	/* while waiting, 50 times a second: what cannot wait for the next look */
	void (*turn)(void *state, struct watch *w);
	void (*look)(void *state, struct watch *w, const struct sample *s);
	void (*mark)(void *state);
	void (*fill)(void *state, struct model *m);
	void (*restart)(void *state); /* forgets all, detaches */
	/* The state as of the last look, as sections of a frame, and back. NULL: recordings do not
	 * have it. */
	void (*save)(const void *state, struct instant *f);
	void (*load)(void *state, const struct instant *f);
	void (*close)(void *state);
};

#endif
