/*
 * The hit paths. Nothing in here that a thread cache does not need: no probe, no counter beyond
 * the two that bound the cache, no branch for anyone who watches.
 */
#ifndef HAK_CACHE_H
#define HAK_CACHE_H

#include "internal.h"
#include "pagemap.h"

/* A block of the class, or NULL: the cache is empty (or the thread has none yet). */
HAK_INLINE void *cache_pop(struct heap *h, unsigned class)
{
	struct hak_bin *bin = &h->view.bin[class];
	struct block *b = bin->head;

	if (unlikely(!b))
		return NULL;
	bin->head = b->next;
	count_add(&bin->allocs, 1);
	return b;
}

/*
 * False: the cache is full, the class is 0, the thread has no cache yet (all of these by
 * `room`), or p was the last block freed here: a double free, seen because the head of the list
 * is in a register anyway.
 */
HAK_INLINE bool cache_push(struct heap *h, void *p, unsigned class)
{
	struct hak_bin *bin = &h->view.bin[class];
	struct block *head = bin->head;

	if (unlikely((int64_t)(bin->frees - bin->allocs) >= bin->room || head == p))
		return false;
	((struct block *)p)->next = head;
	bin->head = p;
	count_add(&bin->frees, 1);
	return true;
}

HAK_INLINE void *alloc_class(size_t bytes, unsigned class)
{
	void *p = cache_pop(hak_tls, class);

	return likely(p != NULL) ? p : alloc_slow(bytes, class);
}

HAK_INLINE void *alloc_fast(size_t bytes)
{
	if (likely(bytes <= HAK_TINY_MAX))
		return alloc_class(bytes, class_of_tiny(bytes));
	if (likely(bytes <= HAK_SMALL_MAX))
		return alloc_class(bytes, hak_class_mid[(bytes + 255) >> 8]);
	return alloc_large(bytes, 0);
}

HAK_INLINE void free_fast(void *p)
{
	if (unlikely(!cache_push(hak_tls, p, pagemap_class(p))))
		free_slow(p);
}

#endif
