/*
 * Blocks above the largest class: runs of slices up to HAK_LARGE_MAX; beyond that, or when
 * over-aligned, spans of address space mapped for them.
 *
 * A freed span waits in the reuse cache. Neighbours there become one span, and a block takes the
 * start of the smallest that fits, so that the same memory serves blocks of changing sizes.
 * The pagemap knows a live span by its first slice, a cached one by its first and its last.
 *
 * Frees push on a lock-free stack; whoever needs memory, or finds the lock free, empties it.
 */
#include "internal.h"
#include "pagemap.h"

struct lock large_lock = {.id = HAK_LOCK_LARGE};

static struct page *newest, *oldest; /* lock LARGE: reuse cache */
static struct page *xreturned;	     /* freed spans on their way to the cache, any thread */

static char *end_of(const struct page *pg)
{
	return pg->start + pg->map_bytes;
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
	pagemap_set(pg->start, 1, NULL, 0);
	pagemap_set(end_of(pg) - HAK_SLICE, 1, NULL, 0);
}

static void cache_link(struct page *pg)
{
	poke(&pg->kind, PAGE_CACHED);
	pg->prev = NULL;
	pg->next = newest;
	if (newest)
		newest->prev = pg;
	else
		oldest = pg;
	newest = pg;
	pagemap_set(pg->start, 1, pg, 0);
	pagemap_set(end_of(pg) - HAK_SLICE, 1, pg, 0);
}

/* A cached span that pg can be one mapping with. */
static bool can_join(const struct page *pg, const struct page *neighbour)
{
	/* this kind appears and goes with the lock held, which we have */
	return neighbour && peek(&neighbour->kind) == PAGE_CACHED &&
	       neighbour->span_pages == pg->span_pages;
}

/* pg, not in the cache, takes over its cached neighbours; their descriptors go to *spare. */
static void merge(struct page *pg, struct page **spare)
{
	struct page *left = pagemap_page(pg->start - HAK_SLICE), *right = pagemap_page(end_of(pg));

	if (can_join(pg, left)) {
		cache_unlink(left);
		pg->start = left->start;
		pg->map_bytes += left->map_bytes;
		left->next = *spare;
		*spare = left;
	}
	if (can_join(pg, right)) {
		cache_unlink(right);
		pg->map_bytes += right->map_bytes;
		right->next = *spare;
		*spare = right;
	}
}

/* Freed spans enter the cache; lock held. */
static void take_returned(struct page **spare)
{
	struct page *pg, *next;
	uint64_t now;

	if (!peek(&xreturned))
		return;
	now = os_now_ms();
	for (pg = swap_acq_rel(&xreturned, NULL); pg; pg = next) {
		next = pg->next;
		pagemap_set(pg->start, 1, NULL, 0);
		merge(pg, spare);
		pg->freed_ms = now;
		cache_link(pg);
	}
}

static void drop_spares(struct page *spare)
{
	while (spare) {
		struct page *pg = spare;

		spare = pg->next;
		meta_page_free(pg);
	}
}

/* The smallest cached span with room for `need` bytes at a multiple of alignment. */
static struct page *best_fit(size_t need, size_t alignment)
{
	struct page *best = NULL;

	for (struct page *pg = newest; pg; pg = pg->next) {
		if ((uintptr_t)pg->start & (alignment - 1) || pg->map_bytes < need)
			continue;
		if (!best || pg->map_bytes < best->map_bytes)
			best = pg;
	}
	return best;
}

/* A cached span of `need` bytes, NULL if none fits. What is left of a longer one stays. */
static struct page *cache_take(size_t need, size_t alignment, bool *had_any)
{
	struct page *rest = meta_page_new(), *spare = NULL, *pg;

	lock_take(&large_lock);
	take_returned(&spare);
	*had_any = newest != NULL;
	pg = best_fit(need, alignment);
	if (pg) {
		cache_unlink(pg);
		if (pg->map_bytes > need && rest) {
			rest->start = pg->start + need;
			rest->map_bytes = pg->map_bytes - need;
			rest->freed_ms = pg->freed_ms;
			rest->span_pages = pg->span_pages;
			pg->map_bytes = need;
			cache_link(rest);
			rest = NULL;
		}
		sub_relaxed(&hakmem_root.now.cached_bytes, pg->map_bytes);
	}
	lock_drop(&large_lock);
	if (rest)
		meta_page_free(rest);
	drop_spares(spare);
	return pg;
}

static void unmap_around(char *p, size_t total, char *start, size_t need)
{
	size_t head = (size_t)(start - p);

	if (head)
		os_unmap(p, head, HAK_OS_LARGE);
	if (total > head + need)
		os_unmap(start + need, total - head - need, HAK_OS_LARGE);
}

/*
 * A new mapping of `need` bytes at a multiple of alignment, at least a slice; NULL if refused.
 * The system places mappings one below the other, mostly: the second is aligned by itself.
 */
static char *map_aligned(size_t need, size_t alignment)
{
	char *p = os_map(need, HAK_OS_LARGE), *start;
	size_t total = need + alignment - HAK_OS_PAGE_LEAST;

	if (!p || !((uintptr_t)p & (alignment - 1)))
		return p;
	os_unmap(p, need, HAK_OS_LARGE);
	if (total < need || total > PTRDIFF_MAX)
		return NULL;
	p = os_map(total, HAK_OS_LARGE);
	if (!p)
		return NULL;
	start = (char *)align_up((uintptr_t)p, alignment);
	unmap_around(p, total, start, need);
	return start;
}

/* The same, with its entries in the pagemap reserved. */
char *large_map(size_t need, size_t alignment)
{
	char *p = map_aligned(need, alignment);

	return p ? pagemap_claim(p, need, alignment, HAK_OS_LARGE) : NULL;
}

/* Where huge pages fit, or, when address space is short, where they do not. */
static char *map_fit(size_t need, size_t alignment)
{
	size_t fit = span_alignment(need);
	char *p = fit > alignment ? large_map(need, fit) : NULL;

	return p ? p : large_map(need, alignment);
}

static struct page *map_new(size_t need, size_t alignment)
{
	struct page *pg = meta_page_new();
	char *p;

	if (!pg)
		return NULL;
	p = map_fit(need, alignment);
	if (!p) {
		meta_page_free(pg);
		return NULL;
	}
	pg->start = p;
	pg->map_bytes = need;
	pg->zero = 1;
	pg->span_pages = SPAN_ANY;
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
	size_t need = align_up(bytes, HAK_SLICE);
	size_t at_least = alignment > HAK_SLICE ? alignment : HAK_SLICE;
	bool had_any;
	struct page *pg = cache_take(need, at_least, &had_any);

	*hit = pg != NULL;
	if (pg) {
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
	pg->bytes = align_up(bytes, HAK_OS_PAGE);
	pg->marks = NULL;
	add_relaxed(&hakmem_root.now.large_bytes, pg->map_bytes);
	if (!*hit) {
		limit_note_taken(need);
		arena_is_over();
	}
	poke(&pg->kind, PAGE_MAPPED);
	pagemap_set(pg->start, 1, pg, 0);
	return pg;
}

static struct page *run_alloc(size_t bytes, bool *hit)
{
	unsigned slices = (unsigned)((bytes + HAK_SLICE - 1) >> HAK_SLICE_SHIFT);
	enum hak_source source;
	bool zero;
	struct page *pg;

	if (!arena_alloc(slices, 1, &pg, &source, &zero))
		return NULL;
	pg->class = 0;
	pg->bytes = align_up(bytes, HAK_OS_PAGE);
	pg->marks = NULL;
	pg->zero = zero;
	pagemap_set(pg->start, slices, pg, 0);
	arena_is_over();
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
	if (alignment > HAK_SLICE)
		add_relaxed(&hakmem_root.over_aligned[63 - __builtin_clzll(bytes)], 1);
	if (unlikely(hak_options.secure))
		return guarded_alloc(bytes, alignment);
	if (bytes <= HAK_LARGE_MAX && alignment <= HAK_SLICE) {
		struct page *pg = run_alloc(bytes, hit);

		if (pg)
			return pg;
	}
	return mapped_alloc(bytes, alignment, hit);
}

#define DROP_LEAST ((size_t)1 << 20) /* 1 MiB: least to unmap for the limit's sake */

/* What has to go of the oldest cached span: all of it, or for the limit as much as is too much. */
static size_t part_to_drop(const struct page *pg, uint64_t now_ms, enum hak_os_reason why)
{
	size_t excess = align_up(limit_excess(4), HAK_SLICE);

	if (why == HAK_OS_DECAY && now_ms - pg->freed_ms < hak_options.decay_ms)
		return 0;
	if (why != HAK_OS_LIMIT)
		return pg->map_bytes;
	if (excess && excess < DROP_LEAST)
		excess = DROP_LEAST;
	return excess < pg->map_bytes ? excess : pg->map_bytes;
}

/* Takes the end of the oldest span, or all of it, out of the cache; lock held. */
static size_t cut_oldest(uint64_t now_ms, enum hak_os_reason why, char **start, bool *was_huge,
			 struct page **spare)
{
	struct page *pg = oldest;
	size_t bytes = pg ? part_to_drop(pg, now_ms, why) : 0;

	if (!bytes)
		return 0;
	*start = end_of(pg) - bytes;
	sub_relaxed(&hakmem_root.now.cached_bytes, bytes);
	*was_huge = pg->span_pages == SPAN_HUGE;
	if (bytes < pg->map_bytes) {
		pagemap_set(end_of(pg) - HAK_SLICE, 1, NULL, 0);
		pg->map_bytes -= bytes;
		pagemap_set(end_of(pg) - HAK_SLICE, 1, pg, 0);
		return bytes;
	}
	cache_unlink(pg);
	pg->next = *spare;
	*spare = pg;
	return bytes;
}

/* Bytes to unmap from *start, 0 if there is nothing (more) to do. */
static size_t take_oldest(uint64_t now_ms, enum hak_os_reason why, char **start, bool *was_huge)
{
	struct page *spare = NULL;
	size_t bytes = 0;

	do {
		if (!arena_lock_to_purge(&large_lock, why))
			break;
		take_returned(&spare);
		bytes = cut_oldest(now_ms, why, start, was_huge, &spare);
		if (bytes)
			arena_purge_begins();
		lock_drop(&large_lock);
		/* again if somebody pushed and, finding the lock held, left it to us; seq_cst: not
		   read before others can see the lock free */
	} while (!bytes && why == HAK_OS_LIMIT && load_seq_cst(&xreturned) && limit_excess(4));
	drop_spares(spare);
	return bytes;
}

bool large_purge(uint64_t now_ms, enum hak_os_reason why)
{
	bool any = why == HAK_OS_TRIM && guarded_purge();
	bool was_huge = false;
	size_t bytes;
	char *start;

	while ((bytes = take_oldest(now_ms, why, &start, &was_huge))) {
		os_unmap(start, bytes, why);
		if (was_huge)
			span_gone(start, bytes);
		arena_purge_ends();
		if (why == HAK_OS_LIMIT)
			limit_note_given(bytes);
		any = true;
	}
	return any;
}

static void push_returned(struct page *pg)
{
	struct page *head = peek(&xreturned);

	do
		pg->next = head;
	/* release: the taker sees the descriptor */
	while (!__atomic_compare_exchange_n(&xreturned, &head, pg, true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED));
}

/* pg: of a live large block */
void large_free(struct page *pg)
{
	size_t bytes = pg->map_bytes;

	if (unlikely(hak_options.secure)) {
		guarded_free(pg);
		return;
	}
	if (pg->kind == PAGE_RUN) {
		arena_free(&pg, 1);
		return;
	}
	span_freed(pg);
	poke(&pg->kind, PAGE_UNUSED); /* a second free finds it so */
	sub_relaxed(&hakmem_root.now.large_bytes, bytes);
	add_relaxed(&hakmem_root.now.cached_bytes, bytes);
	push_returned(pg);
	if (arena_is_over())
		add_relaxed(&arena_xshrinks, 1);
}

/* The span's end goes back to the system. */
static void cut_end(struct page *pg, size_t need)
{
	size_t bytes = pg->map_bytes - need;

	os_unmap(pg->start + need, bytes, HAK_OS_REALLOC);
	pg->map_bytes = need;
	span_cut(pg);
	if (pg->span_pages == SPAN_HUGE)
		span_gone(pg->start + need, bytes);
	sub_relaxed(&hakmem_root.now.large_bytes, bytes);
	arena_is_over();
}

/* Moves the mapping of a block to a longer one, without copying. */
static bool remap(struct page *pg, size_t need)
{
	char *to = map_fit(need, HAK_SLICE), *from = pg->start;
	size_t more = need - pg->map_bytes;
	bool gone;

	if (!to)
		return false;
	if (!os_move(pg->start, pg->map_bytes, to, need, &gone)) {
		if (!gone)
			os_unmap(to, need, HAK_OS_REALLOC);
		return false;
	}
	pagemap_set(pg->start, 1, NULL, 0);
	add_relaxed(&hakmem_root.now.large_bytes, more);
	pg->start = to;
	pg->map_bytes = need;
	pagemap_set(pg->start, 1, pg, 0);
	span_grown(pg, pg->bytes, from);
	limit_note_taken(more);
	arena_is_over();
	return true;
}

/* Changes the size of a large block without copying; false if it has to be copied. */
bool large_resize(struct page *pg, size_t bytes)
{
	size_t need = align_up(bytes, HAK_SLICE), room;

	if (bytes <= HAK_SMALL_MAX || need < bytes)
		return false;
	room = pg->kind == PAGE_RUN ? pg->slices * HAK_SLICE : pg->map_bytes;
	if (need > room || need < room / 2) {
		if (pg->kind != PAGE_MAPPED || bytes <= HAK_LARGE_MAX)
			return false;
		if (need < room)
			cut_end(pg, need);
		else if (!remap(pg, need))
			return false;
	}
	pg->bytes = align_up(bytes, HAK_OS_PAGE);
	return true;
}
