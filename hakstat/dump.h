/* Everything about a heap that its memory tells: counters, pages, segments, what is broken. */
#ifndef HAKSTAT_DUMP_H
#define HAKSTAT_DUMP_H

#include "memory.h"
#include "shared.h"

struct dump_class {
	uint64_t allocs, frees, cached;
	uint64_t pages, capacity, out; /* blocks there is room for; of them, not free in a page */
	uint64_t gone;		       /* bytes of pages that have no memory */
};

struct dump_heap {
	uint64_t addr;
	uint32_t tid, state, busy;
	uint64_t cached_bytes, npages, out;
	uint64_t walked_pages, walked_out; /* what its pages say */
	bool queued, locked, readable;
};

struct dump_page {
	uint64_t at; /* of the descriptor */
	uint64_t start, bytes, map_bytes, owner;
	uint32_t block_bytes, capacity, nfree, slices, class_, kind;
	uint64_t bits[64];
	uint64_t gone; /* mask of grains without memory; all blocks in them are free */
};

/* Pages of many blocks, with a bit for each. */
static inline bool dump_has_blocks(const struct dump_page *pg)
{
	return pg->kind == PAGE_SMALL || pg->kind == PAGE_MARKED;
}

/* What does not fit together: how many, and the first in words. */
struct findings {
	uint64_t count;
	char first[160];
};

struct dump {
	const struct memory *m;
	struct hak_root root;
	struct dump_class class_[HAK_CLASS_MAX];
	struct dump_heap *heaps;
	uint32_t nheaps, busy;
	uint64_t segments, dirty_slices, free_slices;
	uint64_t live_bytes, cached_bytes;
	uint64_t option[16];
	bool locked[HAK_LOCK_MAX];
	double end_s; /* CLOCK_MONOTONIC: what takes longer is given up */
	bool gave_up;
	struct findings bad;
};

struct dump_segment {
	uint64_t at, base;		 /* of the descriptor, of its memory */
	uint64_t unused, dirty, in_page; /* masks of slices */
};

/* Who wants to see it all; functions may be NULL. */
struct dump_visitor {
	/* Every page in use; s_dirty: unused slices of its segment that hold data. */
	void (*page)(const struct dump *d, const struct dump_page *pg, unsigned s_dirty, void *arg);
	/* Every segment, after its pages. */
	void (*segment)(const struct dump *d, const struct dump_segment *s, void *arg);
	/* Every span that is kept for reuse, or on the way there: its kind is unused then. */
	void (*kept)(const struct dump *d, const struct dump_page *pg, void *arg);
	void *arg;
};

/* Bytes of a grain. */
uint64_t dump_grain(const struct dump *d, const struct dump_page *pg);

/* 0, or -EPROTO, -ENOENT, -EIO. v may be NULL. dump_free also after a failure. */
int dump_read(struct dump *d, const struct memory *m, uint64_t root, const struct dump_visitor *v);
void dump_free(struct dump *d);

/* Blocks neither live, nor cached, nor free in a page: on their way in a queue; may be negative. */
int64_t dump_waiting(const struct dump *d, unsigned class);
int dump_heap_at(const struct dump *d, uint64_t addr); /* -1: none of them */

enum block_state { BLOCK_UNKNOWN, BLOCK_FREE, BLOCK_CACHED, BLOCK_LIVE, BLOCK_LIVE_OR_WAITING };
struct dump_block {
	struct dump_page page;
	uint64_t start, bytes;
	enum block_state state;
	int cache; /* heap whose cache it is in */
};
/* False if the address is in no page of the allocator's. */
bool dump_block(const struct dump *d, uint64_t addr, struct dump_block *b);

#endif
