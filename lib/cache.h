/*
 * The hit paths. Nothing in here that a thread cache does not need: no probe, no counter beyond
 * the ones that bound the cache, no branch for anyone who watches.
 */
#ifndef HAK_CACHE_H
#define HAK_CACHE_H

#include "internal.h"
#include "pagemap.h"

/* A block of the bin, or NULL: the cache is empty (or the thread has none yet). */
HAK_INLINE void *cache_pop(struct hak_bin *bin)
{
	void **top = bin->top;
	void *p = *top;

	in_result(p);
	if (unlikely(!p))
		return NULL;
	count_set(&bin->top, top - 1);
	return p;
}

/*
 * False: the cache is full, the class is 0, the thread has no cache yet (all of these by
 * `limit`), or p was the last block freed here: a double free, seen because the top of the stack
 * is at hand anyway.
 */
HAK_INLINE bool cache_push(struct hak_bin *bin, void *p)
{
	void **top = bin->top;

	if (unlikely(top >= count_get(&bin->limit) || *top == p))
		return false;
	top[1] = p;
	count_set(&bin->top, top + 1);
	count_order();
	count_add(&bin->frees, 1);
	return true;
}

HAK_INLINE struct hak_bin *bin_at(size_t distance)
{
	return (struct hak_bin *)((char *)hak_thread.heap + distance);
}

HAK_INLINE void *alloc_bin(size_t bytes, struct hak_bin *bin)
{
	void *p = cache_pop(bin);

	if (unlikely(!p))
		return alloc_slow(bytes, bin);
	return p;
}

HAK_INLINE void *alloc_class(size_t bytes, unsigned class)
{
	return alloc_bin(bytes, bin_at((size_t) class * sizeof(struct hak_bin)));
}

HAK_INLINE void *alloc_fast(size_t bytes)
{
	if (likely(bytes <= HAK_TINY_MAX))
		return alloc_bin(bytes, bin_at(hak_thread.bin_tiny[(bytes + 15) >> 4]));
	if (likely(bytes <= HAK_SMALL_MAX))
		return alloc_class(bytes, count_get(&hak_xbin_mid[(bytes + 255) >> 8]));
	return alloc_large(bytes, 0);
}

HAK_INLINE void free_fast(void *p)
{
	if (unlikely(!cache_push(bin_at((size_t)pagemap_class(p) * sizeof(struct hak_bin)), p)))
		free_slow(p);
}

#endif
