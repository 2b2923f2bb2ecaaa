/*
 * Address -> class and page, without a lock.
 *
 * The class, all a cached free needs, is one byte per slice in one flat table: two gigabytes of
 * address space for the 2^47 bytes a process can have, of which only what describes our segments
 * is ever touched. Where address space is limited (RLIMIT_AS) the table is shorter and addresses
 * share entries; ranges of ours that would collide are refused.
 *
 * The page, which the slow paths need, is found by a root with one entry per 4 GiB and leaves of
 * 2^16 slices, exactly, for any pointer at all.
 *
 * Ordering: a slice's entries are written before the page's first block leaves the allocator;
 * whoever frees a block got its address from there, by the program's own synchronisation.
 */
#ifndef HAK_PAGEMAP_H
#define HAK_PAGEMAP_H

#include "types.h"

#define PAGEMAP_LEAF_SLICES ((size_t)1 << 16) /* 4 GiB / 64 KiB */
#define PAGEMAP_ROOTS ((size_t)1 << 16)	      /* 48 bits / 4 GiB */

struct pagemap_leaf {
	struct page *page[PAGEMAP_LEAF_SLICES]; /* 512 KiB */
};

/* class of slice number i: hak_class_map[i & hak_class_mask]; 0: large, foreign, nothing */
HAK_HIDDEN extern uint8_t *hak_class_map;
HAK_HIDDEN extern uint64_t hak_class_mask;
extern struct pagemap_leaf *hak_pagemap_root[PAGEMAP_ROOTS];

HAK_INLINE unsigned pagemap_class(const void *p)
{
	return peek(&hak_class_map[(uintptr_t)p >> HAK_SLICE_SHIFT & hak_class_mask]);
}

/* NULL for addresses that are not ours. */
HAK_INLINE struct page *pagemap_page(const void *p)
{
	uintptr_t a = (uintptr_t)p;
	const struct pagemap_leaf *leaf = load_acquire(&hak_pagemap_root[(uint16_t)(a >> 32)]);

	if (!leaf || a >> 48)
		return NULL;
	return peek(&leaf->page[(uint16_t)(a >> HAK_SLICE_SHIFT)]);
}

/* Called once, before anything else here. */
void pagemap_init(void);
/* Makes leaves for [start, start + bytes); false when out of memory. */
bool pagemap_reserve(const void *start, size_t bytes);
/* Enters `slices` slices from `start`; the leaves are there. pg NULL and class 0 to remove. */
void pagemap_set(const void *start, size_t slices, struct page *pg, unsigned class);

#endif
