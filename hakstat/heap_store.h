/*
 * Sampled blocks as the probes tell of them: which live, and sums over those that came and went.
 * A cell is what blocks have in common that no report tells apart.
 */
#ifndef HAKSTAT_HEAP_STORE_H
#define HAKSTAT_HEAP_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STEPS_MAX 32U /* of a timeline */

struct cell_key {
	uint32_t stack; /* raw_stack.id */
	uint32_t tid;
	uint32_t class;
};

/*
 * Bytes and objects are estimates: a sample stands for `weight` bytes, and weight / size objects.
 * The variance of a sum of weights is the sum of weight * (weight - size), since the block was
 * sampled with a chance of size / weight.
 */
struct heap_sums {
	double alloc_bytes, alloc_objects;
	double live_bytes, live_objects, live_variance;
	double ended_objects;	 /* freed */
	double lived_ns;	 /* by all objects so far, those that live included */
	uint64_t samples, frees; /* allocations and frees that were seen */
	uint64_t live_samples;	 /* of them and of the history */
	uint64_t old, old_frees; /* samples that outlived old_ns; of them, freed since */
	double old_ns;		 /* time they lived since, together */
	uint64_t oldest_ns;	 /* when the oldest that lives was allocated; 0: none */
};

struct cell {
	struct cell_key key;
	struct heap_sums past; /* all but what live blocks add */
	struct heap_sums sum;  /* as of the last heap_store_sum */
};

struct block {
	uint64_t ptr; /* 0: the slot is free */
	uint64_t time_ns, size;
	double weight;
	uint32_t cell;
};

struct heap_store {
	struct block *block; /* open addressing; a power of two */
	size_t room, live;
	struct cell *cell;
	uint32_t cells, cells_room;
	uint32_t *slot; /* of cells by key; index + 1; a power of two */
	size_t slots;
	uint64_t old_after_ns; /* a block is old from that age on; 0: none is */
	/* net growth of each cell by step of time, if step_ns: STEPS_MAX values a cell */
	double *net;
	uint64_t step_ns, begin_ns;
	/* what was told and did not fit together */
	uint64_t unknown_frees; /* of blocks sampled before */
	uint64_t replaced;	/* allocated again: its free was not seen */
	uint64_t unkept;	/* no room or memory */
};

void heap_store_free(struct heap_store *s); /* all zero again but for the settings */
/* history: it was there before anybody looked, and counts as live only. */
void heap_store_add(struct heap_store *s, const struct cell_key *key, const struct block *b,
		    bool history);
void heap_store_end(struct heap_store *s, uint64_t ptr, uint64_t time_ns);
const struct block *heap_store_find(const struct heap_store *s, uint64_t ptr);
/* Fills `sum` of every cell, as of now_ns. */
void heap_store_sum(struct heap_store *s, uint64_t now_ns);
void heap_sums_add(struct heap_sums *to, const struct heap_sums *more);
/* The step a time is in. Steps are twice as long from the time on at which there were too many. */
unsigned heap_store_step(struct heap_store *s, uint64_t time_ns);

#endif
