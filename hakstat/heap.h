/* Which code holds the memory: sampled allocations by stack, from the moment somebody looks. */
#ifndef HAKSTAT_HEAP_H
#define HAKSTAT_HEAP_H

#include "heap_store.h"
#include "heap_tree.h"
#include "names.h"
#include "source.h"
#include "stacks.h"

enum heap_by { HEAP_BY_STACK, HEAP_BY_FUNCTION, HEAP_BY_CLASS, HEAP_BY_THREAD, HEAP_BY_SITE };

/* What of a row there must be something of, for it to be shown. */
enum heap_show { HEAP_SHOW_ANY, HEAP_SHOW_LIVE, HEAP_SHOW_ALLOC };

struct heap_options {
	enum heap_by by;
	enum heap_show show;
	bool folded;	    /* by the names of functions alone */
	unsigned mean_log2; /* of the bytes between two samples; 0: as the library has it */
	bool tree;	    /* for top */
	double old_after_s; /* for leaks: a block is old from that age on, 0: none is */
	bool all_leaks;	    /* and those that are none */
	struct stacks_options stacks; /* depth, slice, internals, refused */
};
void heap_options_init(struct heap_options *o);

/* Exact, by the allocator's counters, of one class. */
struct class_live {
	uint64_t blocks, bytes;
};

struct heap_row {
	struct heap_sums sum;
	const struct stack_row *stack; /* of stacks and functions, else NULL */
	char name[64];		       /* of the others */
	uint32_t class;
	double *net; /* growth by step of the timeline, or NULL */
	const struct leak *leak;
};

/* Exact counts of hak_alloc_at. */
struct heap_site {
	char name[64];
	uint64_t allocs, alloc_bytes, live, live_bytes;
};

struct heap_profile {
	struct heap_row *row;
	unsigned rows;
	enum heap_by by;
	struct heap_sums all;
	struct stacks stacks; /* whose rows heap_row.stack points to */
	double seconds;	      /* since we attached */
	unsigned mean_log2;
	bool begun_with; /* we were there from the start: nothing was there before */
	bool unnoticed;	 /* no thread has noticed yet that sampling was switched on */
	bool hurried;	 /* although the next free of each should */
	bool history;	 /* HAKMEM_PROFILE=1 */
	uint64_t history_blocks, history_lost;
	unsigned classes;
	struct class_live before[HAK_CLASS_MAX], now[HAK_CLASS_MAX];
	struct class_live remain[HAK_CLASS_MAX]; /* of `before`, still there: an estimate */
	double since_bytes[HAK_CLASS_MAX], since_objects[HAK_CLASS_MAX]; /* live, estimates */
	uint32_t class_bytes[HAK_CLASS_MAX];
	struct class_live all_before, all_now, all_remain;
	uint64_t unknown_frees, replaced, unkept, sites_lost;
	/* for pprof */
	const struct target *target;
	const struct traces *traces;
	const struct heap_store *store;
	struct raw_stack *const *raw;
	const struct names *names;
	struct leaks *leaks;	/* of `hakstat leaks' */
	struct heap_tree *tree; /* of top */
	bool all_leaks, internals;
	enum heap_show show;
	uint64_t sampled_by_target, freed_by_target; /* ever, by its own counts */
};

extern const struct source heap_source; /* options: struct heap_options */

/* A standard error, as a part of live_bytes; negative: none can be told. */
double heap_error(const struct heap_sums *s);

/* --- of the parts of heap.c --- */

/* The class of blocks for that many bytes, unless more alignment was asked for; 0: large. */
uint32_t heap_class_of(uint64_t bytes);

struct heap_collector {
	struct heap_options options;
	struct target target;
	struct sampler *sampler;
	struct traces traces;
	struct raw_stack **raw; /* of the last fill */
	struct heap_store store;
	struct names names;
	double names_read;
	uint64_t attached_ns;
	bool looked; /* `before' is known */
	bool hurried;
	struct heap_profile result;
	uint64_t unkept; /* stacks */
	struct heap_site *site_mark;
	unsigned site_marks;
	int64_t cpu_mark;
	struct leaks *leaks;
	struct heap_tree tree;
};

/* Reads what the target has kept of its own (HAKMEM_PROFILE=1). (heap_history.c) */
void heap_read_history(struct heap_collector *c);
/* The counts by site as of now; how many. Free *sites. (heap_history.c) */
unsigned heap_read_sites(const struct heap_collector *c, struct heap_site **sites, uint64_t *lost);
/* Fills result.row. False: no memory. (heap_rows.c) */
bool heap_rows_make(struct heap_collector *c);
void heap_rows_free(struct heap_profile *h);

#endif
