#include "pagemap.h"
#include "internal.h"

#include <sys/auxv.h>

#if defined(__x86_64__)
#define USER_BITS 47
#else
#define USER_BITS 48
#endif
#define TABLE_MOST ((size_t)1 << (USER_BITS - HAK_SLICE_SHIFT)) /* 2 GiB: all addresses */
#define TABLE_USUAL ((size_t)1 << 24) /* 16 MiB: addresses 1 TiB apart share an entry */
#define TABLE_LEAST ((size_t)1 << 20) /* 1 MiB: 64 GiB */
#define RAM_TIMES 16U		      /* addresses told apart, at least: so many times the memory */
#define ROOT_BYTES ((uintptr_t)1 << 32) /* 4 GiB: what a leaf, and a chunk of the table, covers */
#define TABLE_CHUNKS (TABLE_MOST / PAGEMAP_LEAF_SLICES)

static const uint8_t nothing[1];

/* before pagemap_init every address is foreign */
uint8_t *hak_class_map = (uint8_t *)(uintptr_t)nothing;
/* next to the pointer, for one cache line */
uint64_t hak_class_mask __attribute__((section(".data")));
struct pagemap_leaf *hak_pagemap_root[PAGEMAP_ROOTS];

/*
 * Whom a chunk of the table (2^16 entries) stands for: 0 nobody, else 2 * (1 + the root), and
 * bit 0 once it is writable. Roots that share a chunk: the first has it.
 */
static uint32_t xchunk_owner[TABLE_CHUNKS];

static uint32_t *owner_by(uint64_t mask, uintptr_t root)
{
	return &xchunk_owner[(root << 16 & mask) >> 16];
}

static uint32_t *owner_of(uintptr_t root)
{
	return owner_by(hak_class_mask, root);
}

static uint32_t owner_mark(uintptr_t root)
{
	return (uint32_t)(root + 1) * 2;
}

/* Memory of ours must never look like what is at this address. */
static void keep_apart(uint64_t mask, uintptr_t a)
{
	uint32_t *owner = owner_by(mask, a >> 32);

	if (a < TABLE_MOST << HAK_SLICE_SHIFT && !*owner)
		*owner = owner_mark(a >> 32);
}

/*
 * Other memory of the program, whose addresses are freed by mistake most of all: NULL and all
 * low addresses, the executable's data and what brk puts behind it, the stack.
 */
static void keep_program_apart(uint64_t mask)
{
	uintptr_t program = getauxval(AT_PHDR);
	char here;

	keep_apart(mask, 0);
	keep_apart(mask, program);
	keep_apart(mask, program + ROOT_BYTES);
	keep_apart(mask, (uintptr_t)&here);
}

/* True if it is the table now; another thread may have been first. */
static bool use_table(uint8_t *table, size_t n)
{
	uint8_t *none = (uint8_t *)(uintptr_t)nothing;

	if (!__atomic_compare_exchange_n(&hak_class_map, &none, table, false, __ATOMIC_RELEASE,
					 __ATOMIC_RELAXED))
		return false;
	keep_program_apart(n - 1);
	/* release: who finds a mask finds the table; until then every address is entry 0 */
	store_release(&hak_class_mask, n - 1);
	return true;
}

/*
 * The longest table that there is address space for, which is to be used for other things, too.
 * Left without one, nothing can be mapped, until it is tried again.
 */
void pagemap_init(void)
{
	size_t need = os_ram_bytes() / HAK_SLICE * RAM_TIMES, n = TABLE_USUAL;
	size_t most = os_space_limit() / 8;

	while (n < need && n < TABLE_MOST)
		n *= 2;
	while (n > most && n > TABLE_LEAST)
		n /= 2;
	for (; n >= TABLE_LEAST; n /= 2) {
		/* a guard behind it; before it is the chunk of NULL, which is never written to */
		uint8_t *table = os_reserve(n + HAK_OS_PAGE);

		if (!table)
			continue;
		if (!use_table(table, n))
			os_unmap(table, n + HAK_OS_PAGE, HAK_OS_META);
		return;
	}
}

static bool is_free(uintptr_t root)
{
	uint32_t now = load_acquire(owner_of(root));

	return root < TABLE_CHUNKS && hak_class_mask &&
	       (!now || (now | 1) == (owner_mark(root) | 1));
}

static bool reserve_chunk(uintptr_t root)
{
	uint32_t *owner = owner_of(root), now = load_acquire(owner), done = owner_mark(root) | 1;

	if (now == done)
		return true;
	if (!is_free(root) ||
	    !os_commit(hak_class_map + (root << 16 & hak_class_mask), PAGEMAP_LEAF_SLICES))
		return false;
	/* release: who finds the owner finds the chunk writable; losing to the same root is fine */
	return __atomic_compare_exchange_n(owner, &now, done, false, __ATOMIC_RELEASE,
					   __ATOMIC_ACQUIRE) ||
	       now == done;
}

static bool reserve_leaf(uintptr_t root)
{
	struct pagemap_leaf *none = NULL, *leaf;

	if (load_acquire(&hak_pagemap_root[root]))
		return true;
	leaf = os_map_guarded(sizeof(struct pagemap_leaf), HAK_OS_META);
	if (!leaf)
		return false;
	/* release: a reader that sees the leaf sees its zeroes (fresh from the system); acquire:
	   so do we if another was first */
	if (!__atomic_compare_exchange_n(&hak_pagemap_root[root], &none, leaf, false,
					 __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
		os_unmap_guarded(leaf, sizeof(struct pagemap_leaf), HAK_OS_META);
	else
		add_relaxed(&hakmem_root.now.meta_bytes, sizeof(struct pagemap_leaf));
	return true;
}

/* The 4 GiB of a range's last byte. */
static uintptr_t last_root(const char *start, size_t bytes)
{
	return ((uintptr_t)start + bytes - 1) >> 32;
}

static bool can_reserve(const char *start, size_t bytes)
{
	for (uintptr_t i = (uintptr_t)start >> 32; i <= last_root(start, bytes); i++)
		if (!is_free(i))
			return false;
	/* a range that would share entries with itself */
	return bytes <= (hak_class_mask + 1) << HAK_SLICE_SHIFT;
}

static bool reserve(const char *start, size_t bytes)
{
	for (uintptr_t i = (uintptr_t)start >> 32; i <= last_root(start, bytes); i++)
		if (!reserve_chunk(i) || !reserve_leaf(i))
			return false;
	return true;
}

/* The range at exactly this place with its entries reserved; NULL if that cannot be. */
static char *map_here(char *at, size_t bytes, enum hak_os_reason why)
{
	char *p = can_reserve(at, bytes) ? os_map_at(at, bytes, why) : NULL;

	if (!p || reserve(p, bytes))
		return p;
	os_unmap(p, bytes, why);
	return NULL;
}

static char *xmoved; /* where the last range that had to move is: the next go beside it */

#define TRIES 64U

/*
 * Below the last range that was moved, within its 4 GiB, from whose end it goes on at their
 * beginning. Otherwise each would take a leaf of its own.
 */
static char *map_beside(size_t bytes, size_t alignment, enum hak_os_reason why)
{
	uintptr_t at = (uintptr_t)peek(&xmoved), root = at >> 32;

	if (!at || bytes > ROOT_BYTES / 2 || alignment > ROOT_BYTES / 2)
		return NULL;
	for (unsigned i = 0; i < TRIES; i++) {
		char *p;

		at = (at - bytes) & ~(alignment - 1);
		if (at >> 32 != root)
			at = (((root + 1) << 32) - bytes) & ~(alignment - 1);
		p = map_here((char *)at, bytes, why); /* NOLINT(performance-no-int-to-ptr) */
		if (p)
			return p;
	}
	return NULL;
}

/* Maps the range again further down, where its entries are its own; NULL if there is no room. */
static char *move_down(char *from, size_t bytes, size_t alignment, enum hak_os_reason why)
{
	uintptr_t step = alignment > ROOT_BYTES ? alignment : ROOT_BYTES, left = (uintptr_t)from;
	char *p = map_beside(bytes, alignment, why);

	for (uintptr_t i = (hak_class_mask + 1) >> 16; !p && i && left > 2 * step; i--) {
		left -= step;
		p = map_here(from -= step, bytes, why);
	}
	if (p)
		poke(&xmoved, p);
	return p;
}

char *pagemap_claim(char *start, size_t bytes, size_t alignment, enum hak_os_reason why)
{
	bool apart;

	if (unlikely(!load_acquire(&hak_class_mask)))
		pagemap_init();
	apart = can_reserve(start, bytes);
	if (apart && reserve(start, bytes))
		return start;
	os_unmap(start, bytes, why);
	return apart ? NULL : move_down(start, bytes, alignment, why);
}

void pagemap_set(const void *start, size_t slices, struct page *pg, unsigned class)
{
	uintptr_t slice = (uintptr_t)start >> HAK_SLICE_SHIFT;

	for (size_t i = 0; i < slices; i++, slice++) {
		struct pagemap_leaf *leaf = peek(&hak_pagemap_root[slice >> 16]);

		poke(&leaf->page[(uint16_t)slice], pg);
		poke(&hak_class_map[slice & hak_class_mask], (uint8_t) class);
	}
}
