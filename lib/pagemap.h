/*
 * Address -> class and page, for any 48-bit address, without a lock.
 *
 * A root of 2^16 entries, each for 4 GiB, leads to leaves of 2^16 slices. The leaf answers with
 * one byte, the class of the slice (0: large, foreign or nothing), which is all a cached free
 * needs, and with the page, which the slow paths need.
 *
 * Root entries hold the distance from the empty leaf, so that the zero-filled root points there:
 * the lookup needs no NULL test, and any pointer at all decodes to class 0.
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
	uint8_t class[PAGEMAP_LEAF_SLICES];	/* 64 KiB */
	struct page *page[PAGEMAP_LEAF_SLICES]; /* 512 KiB */
};

struct pagemap {
	uint8_t empty_class[PAGEMAP_LEAF_SLICES]; /* all 0: class[] of the empty leaf */
	intptr_t xroot[PAGEMAP_ROOTS];
};

extern struct pagemap hak_pagemap;

HAK_INLINE unsigned pagemap_class(const void *p)
{
	uintptr_t a = (uintptr_t)p;
	uintptr_t d = (uintptr_t)peek(&hak_pagemap.xroot[(uint16_t)(a >> 32)]);
	const uint8_t *leaf = (const uint8_t *)((uintptr_t)hak_pagemap.empty_class + d);

	return peek(&leaf[(uint16_t)(a >> HAK_SLICE_SHIFT)]);
}

/* NULL for addresses that are not ours. */
HAK_INLINE struct page *pagemap_page(const void *p)
{
	uintptr_t a = (uintptr_t)p;
	intptr_t d = load_acquire(&hak_pagemap.xroot[(uint16_t)(a >> 32)]);
	const struct pagemap_leaf *leaf;

	if (d == 0 || a >> 48)
		return NULL;
	leaf = (const struct pagemap_leaf *)((uintptr_t)hak_pagemap.empty_class + (uintptr_t)d);
	return peek(&leaf->page[(uint16_t)(a >> HAK_SLICE_SHIFT)]);
}

/* Makes leaves for [start, start + bytes); false when out of memory. */
bool pagemap_reserve(const void *start, size_t bytes);
/* Enters `slices` slices from `start`; the leaves are there. pg NULL and class 0 to remove. */
void pagemap_set(const void *start, size_t slices, struct page *pg, unsigned class);

#endif
