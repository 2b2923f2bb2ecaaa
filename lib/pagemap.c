#include "pagemap.h"
#include "internal.h"

struct pagemap hak_pagemap;

static struct pagemap_leaf *leaf_of(uintptr_t a)
{
	intptr_t d = peek(&hak_pagemap.xroot[(uint16_t)(a >> 32)]);

	return (struct pagemap_leaf *)((uintptr_t)hak_pagemap.empty_class + (uintptr_t)d);
}

static bool reserve_leaf(size_t i)
{
	intptr_t none = 0;
	uint8_t *leaf;

	if (load_acquire(&hak_pagemap.xroot[i]))
		return true;
	leaf = os_map(sizeof(struct pagemap_leaf), HAK_OS_META);
	if (!leaf)
		return false;
	/* release: a reader that sees the leaf sees its zeroes (fresh from the system) */
	if (!__atomic_compare_exchange_n(
		    &hak_pagemap.xroot[i], &none,
		    (intptr_t)((uintptr_t)leaf - (uintptr_t)hak_pagemap.empty_class), false,
		    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		os_unmap(leaf, sizeof(struct pagemap_leaf), HAK_OS_META);
	else
		add_relaxed(&hakmem_root.now.meta_bytes, sizeof(struct pagemap_leaf));
	return true;
}

bool pagemap_reserve(const void *start, size_t bytes)
{
	uintptr_t first = (uintptr_t)start >> 32, last = ((uintptr_t)start + bytes - 1) >> 32;

	for (uintptr_t i = first; i <= last; i++)
		if (i >= PAGEMAP_ROOTS || !reserve_leaf(i))
			return false;
	return true;
}

void pagemap_set(const void *start, size_t slices, struct page *pg, unsigned class)
{
	uintptr_t a = (uintptr_t)start;

	for (size_t i = 0; i < slices; i++, a += HAK_SLICE) {
		struct pagemap_leaf *leaf = leaf_of(a);

		poke(&leaf->page[(uint16_t)(a >> HAK_SLICE_SHIFT)], pg);
		poke(&leaf->class[(uint16_t)(a >> HAK_SLICE_SHIFT)], (uint8_t) class);
	}
}
