/*
 * Address -> class and page, without a lock.
 *
 * The class, all a cached free needs, is one byte per slice in one flat table, of which only what
 * describes our segments is ever touched. It is long enough for 16 times the machine's memory, at
 * least 1 TiB (16 MiB of address space); addresses further apart share entries. Ranges of ours
 * never do, nor with NULL, the executable, its brk heap or the stack.
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

/* Called before anything else here; pagemap_claim does so again while there is no table. */
void pagemap_init(void);
/*
 * Reserves entries for a range just mapped, at a multiple of alignment. Where they are taken the
 * range is exchanged for another. Returns its start; NULL, with nothing mapped, without memory.
 */
char *pagemap_claim(char *start, size_t bytes, size_t alignment, enum hak_os_reason why);
/* Enters `slices` slices from `start`; the leaves are there. pg NULL and class 0 to remove. */
void pagemap_set(const void *start, size_t slices, struct page *pg, unsigned class);

#endif
