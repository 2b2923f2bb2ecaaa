/*
 * The arena: all segments, their free runs, growth, and giving memory back.
 *
 * One lock, held for a few dozen instructions and never over a system call: what is to be
 * purged is taken out of the free masks under the lock, purged without it, put back with it.
 */
#include "internal.h"
#include "pagemap.h"

struct lock arena_lock = {.id = HAK_LOCK_ARENA};

uint32_t arena_xshrinks;

static struct segment *bins[HAK_RUN_BINS];	 /* lock ARENA: by longest free run */
static struct segment *dirty_first, *dirty_last; /* lock ARENA */
static struct segment *all_segments;		 /* lock ARENA */
static char *last_chunk; /* lock ARENA: lowest chunk so far, the next goes below it */
static unsigned level;	 /* lock ARENA: growth level of the next chunk */

static int bin_of(uint64_t free)
{
	unsigned run = segment_longest(free);

	return run ? 31 - __builtin_clz(run) : -1;
}

static void bin_unlink(struct segment *s)
{
	if (s->bin < 0)
		return;
	if (s->prev)
		s->prev->next = s->next;
	else
		bins[s->bin] = s->next;
	if (s->next)
		s->next->prev = s->prev;
	s->bin = -1;
}

static void bin_update(struct segment *s)
{
	int bin = bin_of(s->free);

	if (bin == s->bin)
		return;
	bin_unlink(s);
	if (bin < 0)
		return;
	s->bin = (int8_t)bin;
	s->prev = NULL;
	s->next = bins[bin];
	if (s->next)
		s->next->prev = s;
	bins[bin] = s;
}

static void dirty_unlink(struct segment *s)
{
	if (s->dirty_prev)
		s->dirty_prev->dirty_next = s->dirty_next;
	else if (dirty_first == s)
		dirty_first = s->dirty_next;
	else
		return; /* not queued */
	if (s->dirty_next)
		s->dirty_next->dirty_prev = s->dirty_prev;
	else
		dirty_last = s->dirty_prev;
	s->dirty_next = s->dirty_prev = NULL;
}

static void dirty_append(struct segment *s)
{
	s->dirty_prev = dirty_last;
	s->dirty_next = NULL;
	if (dirty_last)
		dirty_last->dirty_next = s;
	else
		dirty_first = s;
	dirty_last = s;
}

/* Smallest sufficient run first, so that long runs stay whole. */
static struct segment *find_segment(unsigned slices, int *at)
{
	unsigned bin = 31 - (unsigned)__builtin_clz(slices);

	for (; bin < HAK_RUN_BINS; bin++)
		for (struct segment *s = bins[bin]; s; s = s->next)
			if ((*at = segment_find(s, slices)) >= 0)
				return s;
	return NULL;
}

static struct page *cut(struct segment *s, unsigned at, unsigned slices, bool *clean)
{
	struct page *pg = &s->pages[at];
	uint64_t mask = segment_mask(at, slices);
	uint64_t dirty = s->dirty & mask;

	*clean = dirty == 0;
	s->free &= ~mask;
	s->dirty &= ~mask;
	if (dirty && !s->dirty)
		dirty_unlink(s);
	bin_update(s);
	sub_relaxed(&hakmem_root.now.dirty_bytes, (size_t)__builtin_popcountll(dirty) * HAK_SLICE);
	add_relaxed(&hakmem_root.now.used_bytes, slices * HAK_SLICE);
	poke(&pg->kind, PAGE_RUN);
	pg->slices = (uint16_t)slices;
	return pg;
}

static void add_chunk(char *chunk, struct segment *meta, size_t n)
{
	lock_take(&arena_lock);
	for (size_t i = n; i-- > 0;) {
		struct segment *s = &meta[i];

		s->base = chunk + i * HAK_SEGMENT;
		s->free = ~(uint64_t)0;
		s->bin = -1;
		s->all_next = all_segments;
		all_segments = s;
		bin_update(s);
	}
	poke(&last_chunk, chunk);
	if ((HAK_SEGMENT << (level + 1)) <= hak_options.grow_max && level + 1 < HAK_GROW_LEVELS)
		poke(&level, level + 1);
	lock_drop(&arena_lock);
	add_relaxed(&hakmem_root.now.arena_bytes, n * HAK_SEGMENT);
	add_relaxed(&hakmem_root.os.grows, 1);
}

/* Aligned to a segment: right below the previous chunk if that is free, else cut to fit. */
static char *map_chunk(size_t bytes, char *below)
{
	char *p, *start;
	size_t head;

	if (below && (uintptr_t)below > bytes + HAK_SEGMENT) {
		p = os_map_at(below - bytes, bytes, HAK_OS_ARENA);
		if (p)
			return p;
	}
	p = os_map(bytes + HAK_SEGMENT, HAK_OS_ARENA);
	if (!p)
		return NULL;
	start = (char *)align_up((uintptr_t)p, HAK_SEGMENT);
	head = (size_t)(start - p);
	if (head)
		os_unmap(p, head, HAK_OS_ARENA);
	if (head != HAK_SEGMENT)
		os_unmap(start + bytes, HAK_SEGMENT - head, HAK_OS_ARENA);
	return start;
}

/* Called without the lock; two threads may both grow, and both chunks are used. */
static bool grow(void)
{
	unsigned lv = peek(&level);
	char *below = peek(&last_chunk);

	for (;; lv--) {
		size_t bytes = HAK_SEGMENT << lv, n = (size_t)1 << lv;
		char *chunk = map_chunk(bytes, below);
		struct segment *meta;

		if (!chunk) {
			if (lv == 0)
				return false;
			continue;
		}
		meta = meta_alloc(n * sizeof(struct segment));
		if (meta && pagemap_reserve(chunk, bytes)) {
			add_chunk(chunk, meta, n);
			hak_probe_hakmem_arena_grow(bytes, lv);
			return true;
		}
		os_unmap(chunk, bytes, HAK_OS_ARENA);
		return false;
	}
}

static void describe(struct page *pg, struct segment *s, unsigned at)
{
	pg->segment = s;
	pg->slice = (uint8_t)at;
	pg->start = s->base + at * HAK_SLICE;
}

/*
 * A run of slices as a page of kind PAGE_RUN, not yet in the pagemap; NULL when out of memory.
 * *zero: its memory is clean. *source: FRESH (used before), ARENA (clean) or OS (arena grew).
 */
struct page *arena_alloc(unsigned slices, enum hak_source *source, bool *zero)
{
	bool grown = false;

	for (;;) {
		struct segment *s;
		struct page *pg = NULL;
		int at;

		lock_take(&arena_lock);
		s = find_segment(slices, &at);
		if (s) {
			pg = cut(s, (unsigned)at, slices, zero);
			describe(pg, s, (unsigned)at);
		}
		lock_drop(&arena_lock);
		if (pg) {
			*source = grown	  ? HAK_SOURCE_OS
				  : *zero ? HAK_SOURCE_ARENA
					  : HAK_SOURCE_FRESH;
			return pg;
		}
		if (!grow())
			return NULL;
		grown = true;
	}
}

/* Puts slices back; lock held. `dirty`: they may hold data. */
static void put_back(struct segment *s, uint64_t mask, bool dirty)
{
	s->free |= mask;
	if (dirty) {
		dirty_unlink(s);
		s->dirty |= mask;
		s->freed_ms = os_now_ms();
		dirty_append(s);
	}
	bin_update(s);
}

/*
 * Bytes by which unused memory exceeds what may stay, `parts` quarters of it: a constant, and a
 * quarter of what is in use.
 */
size_t arena_excess(unsigned parts)
{
	const struct hak_gauges *g = &hakmem_root.now;
	size_t keep = hak_options.keep_bytes + (peek(&g->used_bytes) + peek(&g->large_bytes)) / 4;
	size_t unused = peek(&g->dirty_bytes) + peek(&g->cached_bytes);

	return unused > keep / 4 * parts ? unused - keep / 4 * parts : 0;
}

void arena_free(struct page *pg)
{
	struct segment *s = pg->segment;
	size_t bytes = pg->slices * HAK_SLICE;
	uint64_t mask = segment_mask(pg->slice, pg->slices);

	pagemap_set(pg->start, pg->slices, NULL, 0);
	lock_take(&arena_lock);
	poke(&pg->kind, PAGE_UNUSED);
	put_back(s, mask, true);
	sub_relaxed(&hakmem_root.now.used_bytes, bytes);
	add_relaxed(&hakmem_root.now.dirty_bytes, bytes);
	lock_drop(&arena_lock);
	if (unlikely(arena_excess(4))) {
		add_relaxed(&arena_xshrinks, 1);
		arena_purge(0, HAK_OS_LIMIT);
	}
}

/*
 * The next segment to purge, its dirty slices taken out of the free mask; lock held.
 * By decay: not used for decay_ms. By limit: down to half the limit, oldest first, so that the
 * work comes in portions. By trim: everything.
 */
static struct segment *next_to_purge(uint64_t now_ms, enum hak_os_reason why, uint64_t *mask)
{
	struct segment *s = dirty_first;

	if (!s)
		return NULL;
	if (why == HAK_OS_DECAY && now_ms - s->freed_ms < hak_options.decay_ms)
		return NULL;
	if (why == HAK_OS_LIMIT && !arena_excess(2))
		return NULL;
	*mask = s->dirty;
	s->free &= ~*mask;
	s->dirty = 0;
	dirty_unlink(s);
	bin_update(s);
	sub_relaxed(&hakmem_root.now.dirty_bytes, (size_t)__builtin_popcountll(*mask) * HAK_SLICE);
	return s;
}

/* Slices the system refused to take stay dirty. */
static uint64_t purge_runs(const struct segment *s, uint64_t mask, enum hak_os_reason why)
{
	uint64_t refused = 0;

	while (mask) {
		unsigned first = (unsigned)__builtin_ctzll(mask);
		uint64_t rest = ~(mask >> first);
		unsigned n = rest ? (unsigned)__builtin_ctzll(rest) : 64 - first;
		uint64_t run = segment_mask(first, n);

		if (!os_purge(s->base + first * HAK_SLICE, n * HAK_SLICE, why))
			refused |= run;
		mask &= ~run;
	}
	return refused;
}

/* True if anything was given back. now_ms is used for decay only. */
bool arena_purge(uint64_t now_ms, enum hak_os_reason why)
{
	struct segment *s;
	uint64_t mask, refused = 0;
	bool any = false;

	while (!refused) {
		lock_take(&arena_lock);
		s = next_to_purge(now_ms, why, &mask);
		lock_drop(&arena_lock);
		if (!s)
			break;
		refused = purge_runs(s, mask, why);
		any |= refused != mask;
		lock_take(&arena_lock);
		put_back(s, mask & ~refused, false);
		if (refused)
			put_back(s, refused, true);
		add_relaxed(&hakmem_root.now.dirty_bytes,
			    (size_t)__builtin_popcountll(refused) * HAK_SLICE);
		lock_drop(&arena_lock);
	}
	return any;
}

/* Masks, bins and descriptors against each other; returns what is broken. */
static unsigned check_segment(const struct segment *s)
{
	uint64_t used = 0;
	unsigned bad = 0;

	bad += (s->dirty & ~s->free) != 0;
	bad += s->bin != bin_of(s->free);
	for (unsigned i = 0; i < HAK_SEGMENT_SLICES; i++) {
		const struct page *pg = &s->pages[i];

		if (peek(&pg->kind) == PAGE_UNUSED)
			continue;
		bad += pg->start != s->base + i * HAK_SLICE;
		bad += (used & segment_mask(i, pg->slices)) != 0;
		used |= segment_mask(i, pg->slices);
	}
	/* slices being purged right now are in neither set */
	bad += (used & s->free) != 0;
	return bad;
}

unsigned arena_check(void)
{
	unsigned bad = 0;

	lock_take(&arena_lock);
	for (const struct segment *s = all_segments; s; s = s->all_next)
		bad += check_segment(s);
	lock_drop(&arena_lock);
	if (bad)
		hak_say("check: segments break invariants: ", bad, "");
	return bad;
}
