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

struct remotes {
	struct remote_row *row; /* by blocks, most first */
	int n, folded;		/* pairs in the last row */
	uint64_t dropped;	/* batches of more pairs than the program keeps */
};

/* Options: int, pairs listed at most; NULL: REMOTE_ROWS. */
#define REMOTE_ROWS 40
extern const struct source source_remotes;

#endif
