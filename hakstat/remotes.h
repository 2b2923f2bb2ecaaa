/* Remote frees by pair of threads, by BPF. */
#ifndef HAKSTAT_REMOTES_H
#define HAKSTAT_REMOTES_H

#include "names.h"
#include "source.h"

struct remote_row {
	uint32_t from, to; /* freeing and owning thread; both 0: all pairs not listed */
	char from_name[THREAD_NAME_BYTES], to_name[THREAD_NAME_BYTES]; /* empty: not known */
	uint64_t batches, blocks, bytes;
	/* of the owner, whoever freed them */
	bool has_owner;
	uint64_t queued_blocks, queued_bytes;
	uint64_t drains, helped, waits, wait_ns, p50_ns, p99_ns, max_ns;
};

/* The threads that send or get most blocks, and what goes from whom to whom. */
#define MATRIX_SIDE 16

struct remote_side {
	uint32_t tid;
	char name[THREAD_NAME_BYTES];
	uint64_t blocks;
};

struct remote_matrix {
	struct remote_side from[MATRIX_SIDE], to[MATRIX_SIDE]; /* most first */
	int froms, tos, all_froms, all_tos;		       /* here, and in all */
	/* blocks; the last of each: of all other threads together */
	uint64_t cell[MATRIX_SIDE + 1][MATRIX_SIDE + 1];
};

struct remotes {
	struct remote_row *row; /* by blocks, most first */
	int n, folded;		/* pairs in the last row */
	uint64_t dropped;	/* batches of more pairs than the program keeps */
	struct remote_matrix matrix;
};

/* Of all pairs. (remote_matrix.c) */
void remote_matrix_make(struct remote_matrix *x, const struct remote_row *row, int n);
/*
 * Line i of it, folded to the biggest where all do not fit into `width`. False: there are no more,
 * or none at all where it would be one line, or no column fits.
 */
bool remote_matrix_line(const struct remote_matrix *x, double seconds, int i, int width, char *out,
			size_t len);

/* Options: int, pairs listed at most; NULL: REMOTE_ROWS. */
#define REMOTE_ROWS 40
extern const struct source source_remotes;

#endif
