/*
 * Runs a thread has just freed, kept for its next block of the same length: up to half a
 * megabyte each, and a quarter of the thread's cache budget together. No lock, no atomics: only
 * the heap's own thread comes here. A run not used for a decay time goes to the arena.
 */
#include "internal.h"

static uint64_t limit(void)
{
	return hak_options.cache_bytes / 4;
}

/* What a heap's size classes may not use of its budget. */
uint64_t runs_budget(void)
{
	return limit();
}

/* A kept run of that many slices, as it was when freed; NULL if there is none. */
struct page *runs_take(struct heap *h, unsigned slices)
{
	struct page *pg = slices <= HAK_KEPT_SLICES ? h->runs[slices] : NULL;

	if (!pg)
		return NULL;
	h->runs[slices] = pg->next;
	h->runs_bytes -= slices * HAK_SLICE;
	h->runs_used = true;
	pg->zero = 0;
	poke(&pg->kind, PAGE_RUN);
	return pg;
}

/* False: not kept, the arena has to take it. */
bool runs_keep(struct heap *h, struct page *pg)
{
	unsigned slices = pg->slices;

	if (pg->kind != PAGE_RUN || slices > HAK_KEPT_SLICES ||
	    h->runs_bytes + slices * HAK_SLICE > limit())
		return false;
	poke(&pg->kind, PAGE_KEPT); /* a second free finds it so */
	pg->next = h->runs[slices];
	h->runs[slices] = pg;
	h->runs_bytes += slices * HAK_SLICE;
	return true;
}

void runs_flush(struct heap *h)
{
	if (!h->runs_bytes)
		return;
	for (unsigned n = 0; n <= HAK_KEPT_SLICES; n++) {
		struct page *next;

		for (struct page *pg = h->runs[n]; pg; pg = next) {
			next = pg->next;
			arena_free(pg);
		}
		h->runs[n] = NULL;
	}
	h->runs_bytes = 0;
}

void runs_flush_idle(struct heap *h)
{
	if (!h->runs_used)
		runs_flush(h);
	h->runs_used = false;
}
