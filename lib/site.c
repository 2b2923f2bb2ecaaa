/*
 * Counts by site: what hak_alloc_at was called with, exact from the moment on that somebody
 * watches. A site is the address of its name, which hakstat reads; the same text at two addresses
 * is two sites here.
 */
#include "internal.h"

#define SITES 1024U /* a power of two */

_Static_assert(SITES < UINT16_MAX, "a mark holds the index");

static struct hak_site *table(void)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	return (struct hak_site *)(uintptr_t)load_acquire(&hakmem_root.sampling.site);
}

static struct hak_site *map_table(void)
{
	__u64 none = 0;
	void *t = meta_alloc(SITES * sizeof(struct hak_site));

	if (!t)
		return NULL;
	hakmem_root.sampling.site_bytes = sizeof(struct hak_site);
	hakmem_root.sampling.sites = SITES;
	/* release: its zeroes and its size; another thread may have been first: ours is lost, once
	 */
	__atomic_compare_exchange_n(&hakmem_root.sampling.site, &none, (uintptr_t)t, false,
				    __ATOMIC_RELEASE, __ATOMIC_RELAXED);
	return table();
}

/* An allocation at the site; its index plus 1, 0 if the table is full. */
uint16_t site_alloc(const char *name, size_t bytes)
{
	struct hak_site *t = table();
	uint32_t first = (uint32_t)((uintptr_t)name * 0x9E3779B97F4A7C15U >> 54), i;

	if (!t)
		t = map_table();
	for (i = 0; t && i < SITES; i++) {
		struct hak_site *s = &t[(first + i) % SITES];
		__u64 none = 0;

		/* entries are never taken back: an index stays good */
		if (peek(&s->name) == (uintptr_t)name ||
		    __atomic_compare_exchange_n(&s->name, &none, (uintptr_t)name, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED) ||
		    none == (uintptr_t)name) {
			add_relaxed(&s->alloc_bytes, bytes);
			add_relaxed(&s->allocs, 1);
			return (uint16_t)((first + i) % SITES + 1);
		}
	}
	add_relaxed(&hakmem_root.sampling.site_lost, 1);
	return 0;
}

/* One more allocation at a site that is known. */
uint16_t site_again(uint16_t site, size_t bytes)
{
	struct hak_site *s = &table()[site - 1];

	add_relaxed(&s->alloc_bytes, bytes);
	add_relaxed(&s->allocs, 1);
	return site;
}

void site_free(uint16_t site, size_t bytes)
{
	struct hak_site *s = &table()[site - 1];

	add_relaxed(&s->free_bytes, bytes);
	add_relaxed(&s->frees, 1);
}
