#include "pagemap.h"
#include "internal.h"

#if defined(__x86_64__)
#define USER_BITS 47
#else
#define USER_BITS 48
#endif
#define TABLE_MOST ((size_t)1 << (USER_BITS - HAK_SLICE_SHIFT)) /* 2 GiB: all addresses */
#define TABLE_LEAST ((size_t)1 << 20) /* 1 MiB: addresses 64 GiB apart share an entry */
#define TABLE_CHUNKS (TABLE_MOST / PAGEMAP_LEAF_SLICES)

static const uint8_t nothing[1];

/* before pagemap_init every address is foreign */
uint8_t *hak_class_map = (uint8_t *)(uintptr_t)nothing;
/* next to the pointer, for one cache line */
uint64_t hak_class_mask __attribute__((section(".data")));
struct pagemap_leaf *hak_pagemap_root[PAGEMAP_ROOTS];

/* 1 + the 4 GiB a chunk of the table (2^16 entries) stands for; 0 for none yet. */
static uint32_t xchunk_owner[TABLE_CHUNKS];

/* The longest table that there is address space for. Left without one, nothing can be mapped. */
void pagemap_init(void)
{
	size_t n = os_space_is_limited() ? TABLE_LEAST : TABLE_MOST;

	for (; n >= TABLE_LEAST; n = n == TABLE_LEAST ? 0 : TABLE_LEAST) {
		uint8_t *table = os_reserve(n);

		if (table) {
			hak_class_map = table;
			hak_class_mask = n - 1;
			return;
		}
	}
}

static bool reserve_chunk(size_t root)
{
	size_t entries = hak_class_mask + 1, first = root << 16 & hak_class_mask;
	uint32_t none = 0, *owner = &xchunk_owner[first >> 16];

	if (entries == 1 || root >= TABLE_CHUNKS)
		return false;
	if (load_acquire(owner) == root + 1)
		return true;
	if (peek(owner) || !os_commit(hak_class_map + first, PAGEMAP_LEAF_SLICES))
		return false;
	/* release: who finds the owner finds the chunk writable; losing to the same root is fine */
	return __atomic_compare_exchange_n(owner, &none, (uint32_t)root + 1, false,
					   __ATOMIC_RELEASE, __ATOMIC_RELAXED) ||
	       none == root + 1;
}

static bool reserve_leaf(size_t root)
{
	struct pagemap_leaf *none = NULL, *leaf;

	if (load_acquire(&hak_pagemap_root[root]))
		return true;
	leaf = os_map(sizeof(struct pagemap_leaf), HAK_OS_META);
	if (!leaf)
		return false;
	/* release: a reader that sees the leaf sees its zeroes (fresh from the system) */
	if (!__atomic_compare_exchange_n(&hak_pagemap_root[root], &none, leaf, false,
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
		if (i >= PAGEMAP_ROOTS || !reserve_chunk(i) || !reserve_leaf(i))
			return false;
	return true;
}

void pagemap_set(const void *start, size_t slices, struct page *pg, unsigned class)
{
	uintptr_t slice = (uintptr_t)start >> HAK_SLICE_SHIFT;

	for (size_t i = 0; i < slices; i++, slice++) {
		poke(&hak_pagemap_root[slice >> 16]->page[(uint16_t)slice], pg);
		poke(&hak_class_map[slice & hak_class_mask], (uint8_t) class);
	}
}
