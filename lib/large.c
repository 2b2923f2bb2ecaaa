/*
 * Blocks above the largest class: runs of slices up to HAK_LARGE_MAX, mappings of their own
 * beyond that or when over-aligned. Freed mappings wait in a bounded reuse cache, newest first.
 */
#include "internal.h"
#include "pagemap.h"

struct lock large_lock = {.id = HAK_LOCK_LARGE};

static struct page *newest, *oldest; /* lock LARGE: reuse cache */

static char *map_end(const struct page *pg)
{
	return pg->map_start + pg->map_bytes;
}

static void cache_unlink(struct page *pg)
{
	if (pg->prev)
		pg->prev->next = pg->next;
	else
		newest = pg->next;
	if (pg->next)
		pg->next->prev = pg->prev;
	else
		oldest = pg->prev;
	sub_relaxed(&hakmem_root.now.cached_bytes, pg->map_bytes);
}

static void cache_push(struct page *pg)
{
	pg->freed_ms = os_now_ms();
	pg->prev = NULL;
	pg->next = newest;
	if (newest)
		newest->prev = pg;
	else
		oldest = pg;
	newest = pg;
	add_relaxed(&hakmem_root.now.cached_bytes, pg->map_bytes);
}

/* The smallest kept mapping that fits, taken out of the cache; NULL if none. */
static struct page *cache_take(size_t need, size_t alignment, bool *had_any)
{
	struct page *best = NULL;

	lock_take(&large_lock);
	*had_any = newest != NULL;
	for (struct page *pg = newest; pg; pg = pg->next) {
		if ((uintptr_t)pg->start & (alignment - 1))
			continue;
		if ((size_t)(map_end(pg) - pg->start) < need)
			continue;
		if (!best || pg->map_bytes < best->map_bytes)
			best = pg;
	}
	if (best)
		cache_unlink(best);
	lock_drop(&large_lock);
	return best;
}

/* More than a quarter too long: the tail goes back, the faulted-in front is kept. */
static void cut_tail(struct page *pg, size_t need)
{
	size_t have = (size_t)(map_end(pg) - pg->start);

	if (have - need <= need / 4)
		return;
	os_unmap(pg->start + need, have - need, HAK_OS_LARGE);
	pg->map_bytes -= have - need;
}

/* A mapping whose `need` bytes begin at a multiple of alignment (at least a slice). */
static bool map_aligned(struct page *pg, size_t need, size_t alignment)
{
	size_t total = need + alignment - HAK_OS_PAGE, head;
	char *p, *start;

	if (total < need || total > PTRDIFF_MAX)
		return false;
	p = os_map(total, HAK_OS_LARGE);
	if (!p)
		return false;
	start = (char *)align_up((uintptr_t)p, alignment);
	head = (size_t)(start - p);
	pg->map_start = p;
	pg->map_bytes = total;
	pg->start = start;
	if (alignment <= HAK_SLICE) /* at most 15 OS pages of address space */
		return true;
	if (head) {
		os_unmap(p, head, HAK_OS_LARGE);
		pg->map_start = start;
		pg->map_bytes -= head;
	}
	if (pg->map_bytes > need) {
		os_unmap(start + need, pg->map_bytes - need, HAK_OS_LARGE);
		pg->map_bytes = need;
	}
	return true;
}

static struct page *map_new(size_t need, size_t alignment)
{
	struct page *pg = meta_page_new();

	if (!pg)
		return NULL;
	if (!map_aligned(pg, need, alignment)) {
		meta_page_free(pg);
		return NULL;
	}
	if (!pagemap_reserve(pg->start, 1)) {
		os_unmap(pg->map_start, pg->map_bytes, HAK_OS_LARGE);
		meta_page_free(pg);
		return NULL;
	}
	pg->kind = PAGE_MAPPED;
	pg->zero = 1;
	pg->segment = NULL;
	return pg;
}

static enum hak_fallback_reason why_mapped(size_t bytes, size_t alignment, bool had_any)
{
	if (alignment > HAK_SLICE)
		return HAK_FALLBACK_OVER_ALIGNED;
	if (bytes <= HAK_LARGE_MAX)
		return HAK_FALLBACK_ARENA_EXHAUSTED;
	return had_any ? HAK_FALLBACK_CACHE_MISS : HAK_FALLBACK_TOO_LARGE;
}

static struct page *mapped_alloc(size_t bytes, size_t alignment, bool *hit)
{
	size_t need = align_up(bytes, HAK_OS_PAGE);
	size_t at_least = alignment > HAK_SLICE ? alignment : HAK_SLICE;
	bool had_any;
	struct page *pg = cache_take(need, at_least, &had_any);

	*hit = pg != NULL;
	if (pg) {
		cut_tail(pg, need);
		pg->zero = 0;
	} else {
		pg = map_new(need, at_least);
		add_relaxed(&hakmem_root.os.fallbacks, 1);
		add_relaxed(&hakmem_root.os.fallback_bytes, bytes);
		hak_probe_hakmem_mmap_fallback(bytes, alignment,
					       why_mapped(bytes, alignment, had_any),
					       pg ? (uintptr_t)pg->start : 0);
		if (!pg)
			return NULL;
	}
	pg->bytes = need;
	add_relaxed(&hakmem_root.now.large_bytes, pg->map_bytes);
	pagemap_set(pg->start, 1, pg, 0);
	return pg;
}

static struct page *run_alloc(size_t bytes, bool *hit)
{
	unsigned slices = (unsigned)((bytes + HAK_SLICE - 1) >> HAK_SLICE_SHIFT);
	enum hak_source source;
	bool zero;
	struct page *pg = arena_alloc(slices, &source, &zero);

	if (!pg)
		return NULL;
	pg->bytes = align_up(bytes, HAK_OS_PAGE);
	pg->zero = zero;
	pagemap_set(pg->start, slices, pg, 0);
	*hit = source != HAK_SOURCE_OS;
	return pg;
}

/*
 * The page of a new large block, NULL when out of memory. bytes: above HAK_SMALL_MAX, or any
 * with an alignment (a power of two) above a slice; at most PTRDIFF_MAX. *hit: no system call
 * was needed.
 */
struct page *large_alloc(size_t bytes, size_t alignment, bool *hit)
{
	if (bytes == 0)
		bytes = 1;
	if (bytes <= HAK_LARGE_MAX && alignment <= HAK_SLICE) {
		struct page *pg = run_alloc(bytes, hit);

		if (pg)
			return pg;
	}
	return mapped_alloc(bytes, alignment, hit);
}

static void unmap(struct page *pg, enum hak_os_reason why)
{
	os_unmap(pg->map_start, pg->map_bytes, why);
	meta_page_free(pg);
}

/* The oldest kept mapping if it has to go, taken out of the cache. */
static struct page *next_to_drop(uint64_t now_ms, enum hak_os_reason why)
{
	struct page *pg;

	lock_take(&large_lock);
	pg = oldest;
	if (pg && why == HAK_OS_DECAY && now_ms - pg->freed_ms < hak_options.decay_ms)
		pg = NULL;
	if (pg && why == HAK_OS_LIMIT && !arena_excess(4))
		pg = NULL;
	if (pg)
		cache_unlink(pg);
	lock_drop(&large_lock);
	return pg;
}

bool large_purge(uint64_t now_ms, enum hak_os_reason why)
{
	struct page *pg;
	bool any = false;

	while ((pg = next_to_drop(now_ms, why))) {
		unmap(pg, why);
		any = true;
	}
	return any;
}

void large_free(struct page *pg)
{
	if (pg->kind == PAGE_RUN) {
		arena_free(pg);
		return;
	}
	pagemap_set(pg->start, 1, NULL, 0);
	sub_relaxed(&hakmem_root.now.large_bytes, pg->map_bytes);
	lock_take(&large_lock);
	cache_push(pg);
	lock_drop(&large_lock);
	large_purge(0, HAK_OS_LIMIT);
}

/* Moves the mapping of a block to a longer or shorter one, without copying. */
static bool remap(struct page *pg, size_t need)
{
	struct page fresh;
	size_t old = (size_t)(map_end(pg) - pg->start);

	if (!map_aligned(&fresh, need, HAK_SLICE))
		return false;
	if (!pagemap_reserve(fresh.start, 1) || !os_move(pg->start, old, fresh.start, need)) {
		os_unmap(fresh.map_start, fresh.map_bytes, HAK_OS_REALLOC);
		return false;
	}
	if (pg->start != pg->map_start)
		os_unmap(pg->map_start, (size_t)(pg->start - pg->map_start), HAK_OS_REALLOC);
	pagemap_set(pg->start, 1, NULL, 0);
	add_relaxed(&hakmem_root.now.large_bytes, fresh.map_bytes - pg->map_bytes);
	pg->start = fresh.start;
	pg->map_start = fresh.map_start;
	pg->map_bytes = fresh.map_bytes;
	pagemap_set(pg->start, 1, pg, 0);
	return true;
}

/* Changes the size of a large block without copying; false if it has to be copied. */
bool large_resize(struct page *pg, size_t bytes)
{
	size_t need = align_up(bytes, HAK_OS_PAGE), room;

	if (bytes <= HAK_SMALL_MAX || need < bytes)
		return false;
	room = pg->kind == PAGE_RUN ? pg->slices * HAK_SLICE : (size_t)(map_end(pg) - pg->start);
	if (need <= room && need >= room / 2) {
		pg->bytes = need;
		return true;
	}
	if (pg->kind != PAGE_MAPPED || bytes <= HAK_LARGE_MAX || !remap(pg, need))
		return false;
	pg->bytes = need;
	return true;
}
