/*
 * The arena: all segments, their free runs, growth, and giving memory back.
 *
 * One lock, held for a few dozen instructions and never over a system call. Only who needs
 * slices waits for it: slices on their way back while it is held are pushed on a lock-free stack,
 * which the next holder empties; what is to be purged is taken out of the free masks by whoever
 * gets the lock at once, purged without it, and comes back by the same stack.
 */
#include "internal.h"
#include "pagemap.h"

#include <linux/futex.h>

struct lock arena_lock = {.id = HAK_LOCK_ARENA};

uint32_t arena_xshrinks, arena_xover;
uint64_t arena_xuntouched;
struct segment *arena_segments;

/*
 * Of some segments whole halves are free and dirty. They go back first, and alone as long as that
 * is enough: of a half that is in use a part costs a system call for each few slices, a huge page
 * is lost by it, and memory comes back to it page by page.
 */
enum dirty_queue { PARTS, WHOLE, DIRTY_QUEUES };

static struct page *xreturned; /* runs on their way back, any thread */

static struct segment *bins[HAK_RUN_BINS]; /* lock ARENA: by longest free run */
static struct { /* lock ARENA to write: segments with dirty slices, oldest first */
	struct segment *first, *last;
} dirty[DIRTY_QUEUES];
static struct segment *spare_segments; /* lock ARENA: descriptors, by all_next */
static char *last_chunk;	       /* lock ARENA: lowest chunk so far, the next goes below it */
static unsigned level;		       /* lock ARENA: growth level of the next chunk */

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
	int bin = segment_bin(s->free);

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
	else
		poke(&dirty[s->queue].first, s->dirty_next);
	if (s->dirty_next)
		s->dirty_next->dirty_prev = s->dirty_prev;
	else
		dirty[s->queue].last = s->dirty_prev;
	s->queue = -1;
}

static void dirty_append(struct segment *s, enum dirty_queue q)
{
	s->dirty_prev = dirty[q].last;
	s->dirty_next = NULL;
	if (s->dirty_prev)
		s->dirty_prev->dirty_next = s;
	else
		poke(&dirty[q].first, s);
	dirty[q].last = s;
	s->queue = (int8_t)q;
}

/* Dirty slices of halves of which nothing is in use. */
static uint64_t whole_halves(const struct segment *s)
{
	uint64_t whole = 0;

	for (unsigned i = 0; i < HAK_SEGMENT_SLICES; i += HAK_HALF_SLICES) {
		uint64_t half = segment_mask(i, HAK_HALF_SLICES);

		if ((s->free & half) == half)
			whole |= s->dirty & half;
	}
	return whole;
}

static int dirty_queue_of(const struct segment *s)
{
	return !s->dirty ? -1 : whole_halves(s) ? WHOLE : PARTS;
}

/* After a change of what is free or dirty. The youngest: last of its queue. */
static void dirty_update(struct segment *s, bool youngest)
{
	int q = dirty_queue_of(s);

	if (q == s->queue && !(youngest && s->dirty_next))
		return;
	if (s->queue >= 0)
		dirty_unlink(s);
	if (q >= 0)
		dirty_append(s, (enum dirty_queue)q);
}

#define DIRTY_LOOKS 8U /* segments looked at for a run that has memory */

/* Of the segments of a queue that were last freed in the one with the shortest runs that will do.
 */
static struct segment *find_dirty_in(enum dirty_queue q, unsigned slices, int *at)
{
	struct segment *best = NULL;
	unsigned looks = 0;

	for (struct segment *s = dirty[q].last; s && looks < DIRTY_LOOKS;
	     s = s->dirty_prev, looks++) {
		int i = segment_find_in(s->dirty, slices);

		if (i >= 0 && (!best || s->bin < best->bin)) {
			best = s;
			*at = i;
		}
	}
	return best;
}

static struct segment *find_dirty(unsigned slices, int *at)
{
	struct segment *s = find_dirty_in(PARTS, slices, at);

	return s ? s : find_dirty_in(WHOLE, slices, at);
}

/*
 * Memory that is there before memory that is not; then the smallest sufficient run first, so that
 * long runs stay whole.
 */
static struct segment *find_segment(unsigned slices, int *at)
{
	unsigned bin = 31 - (unsigned)__builtin_clz(slices);
	struct segment *in = find_dirty(slices, at);

	if (in)
		return in;

	for (; bin < HAK_RUN_BINS; bin++)
		for (struct segment *s = bins[bin]; s; s = s->next)
			if ((*at = segment_find(s, slices)) >= 0)
				return s;
	return NULL;
}

static int64_t bytes_of(uint64_t mask)
{
	return (int64_t)((size_t)__builtin_popcountll(mask) * HAK_SLICE);
}

/* Lock held; others read at any time. */
static void gauge(__u64 *g, int64_t by)
{
	poke(g, peek(g) + (uint64_t)by);
}

static struct page *cut(struct segment *s, unsigned at, unsigned slices, uint64_t *dirty_bytes)
{
	struct page *pg = &s->pages[at];
	uint64_t mask = segment_mask(at, slices);
	uint64_t had = s->dirty & mask;

	*dirty_bytes = had == mask ? slices * HAK_SLICE : (uint64_t)bytes_of(had);
	s->free &= ~mask;
	s->dirty &= ~mask;
	s->zero &= ~mask;
	dirty_update(s, false);
	bin_update(s);
	gauge(&hakmem_root.now.used_bytes, (int64_t)(slices * HAK_SLICE));
	if (had)
		gauge(&hakmem_root.now.dirty_bytes, -(int64_t)*dirty_bytes);
	poke(&pg->kind, PAGE_RUN);
	pg->slices = (uint16_t)slices;
	return pg;
}

/* Descriptors not in use, linked by all_next, are kept for the next segments. */
static void spare_descriptors(struct segment *list)
{
	while (list) {
		struct segment *s = list;

		list = s->all_next;
		lock_take(&arena_lock);
		s->all_next = spare_segments;
		spare_segments = s;
		lock_drop(&arena_lock);
	}
}

/* Descriptors of n new segments, linked by all_next. */
static void add_chunk(char *chunk, struct segment *list, size_t n)
{
	lock_take(&arena_lock);
	for (size_t i = n; i-- > 0;) {
		struct segment *s = list;

		list = s->all_next;
		s->base = chunk + i * HAK_SEGMENT;
		s->free = ~(uint64_t)0;
		s->bin = s->queue = -1;
		s->all_next = arena_segments;
		arena_segments = s;
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

/*
 * Descriptors of n segments, linked by all_next; those of segments given up first. NULL when out
 * of memory.
 */
static struct segment *new_descriptors(size_t n)
{
	struct segment *list = NULL, *s;

	for (size_t i = 0; i < n; i++) {
		lock_take(&arena_lock);
		s = spare_segments;
		if (s)
			spare_segments = s->all_next;
		lock_drop(&arena_lock);
		if (!s)
			s = meta_alloc(sizeof(*s));
		if (!s) {
			spare_descriptors(list);
			return NULL;
		}
		s->all_next = list;
		list = s;
	}
	return list;
}

/* Called without the lock; two threads may both grow, and both chunks are used. */
static bool grow(void)
{
	unsigned lv = peek(&level);
	char *below = peek(&last_chunk);

	for (;; lv--) {
		size_t bytes = HAK_SEGMENT << lv, n = (size_t)1 << lv;
		struct segment *list = new_descriptors(n);
		char *chunk = list ? map_chunk(bytes, below) : NULL;

		if (chunk)
			chunk = pagemap_claim(chunk, bytes, HAK_SEGMENT, HAK_OS_ARENA);
		if (chunk) {
			add_chunk(chunk, list, n);
			hak_probe_hakmem_arena_grow(bytes, lv);
			return true;
		}
		spare_descriptors(list);
		if (lv == 0)
			return false;
	}
}

static void describe(struct page *pg, struct segment *s, unsigned at)
{
	pg->segment = s;
	pg->slice = (uint8_t)at;
	pg->start = s->base + at * HAK_SLICE;
}

/* Of what exceeds the limit, whether anything can go now. */
static bool can_purge(void)
{
	const struct hak_gauges *g = &hakmem_root.now;

	return peek(&g->cached_bytes) || peek(&g->returned_bytes) || peek(&dirty[WHOLE].first) ||
	       limit_parts_too(4);
}

/*
 * Whether unused memory exceeds what may stay. Who is about to leave the allocator gives it back
 * then, when no heap is locked: a system call takes longer than any of our critical sections, and a
 * thread may be put to sleep in it.
 */
bool arena_is_over(void)
{
	if (likely(!limit_excess(4)) || !can_purge())
		return false;
	poke(&arena_xover, 1);
	return true;
}

/* What a run on its way back is, in its descriptor's `zero`. */
enum slices_are { SLICES_DIRTY, SLICES_CLEAN, SLICES_FILLED /* dirty and zero */ };

static void push_returned(struct page *pg, enum slices_are what)
{
	struct page *head = peek(&xreturned);

	pg->zero = (uint8_t)what;
	if (what != SLICES_CLEAN)
		add_relaxed(&hakmem_root.now.returned_bytes, pg->slices * HAK_SLICE);
	do
		pg->next = head;
	/* release: the taker sees the descriptor */
	while (!__atomic_compare_exchange_n(&xreturned, &head, pg, true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED));
}

/* Slices of pg become free, dirty unless the system took them; lock held. Bytes now dirty. */
static int64_t put(const struct page *pg, uint64_t now_ms)
{
	struct segment *s = pg->segment;
	uint64_t mask = segment_mask(pg->slice, pg->slices);

	s->free |= mask;
	if (pg->zero == SLICES_FILLED)
		s->zero |= mask;
	if (pg->zero != SLICES_CLEAN) {
		s->dirty |= mask;
		s->freed_ms = now_ms;
	}
	dirty_update(s, pg->zero != SLICES_CLEAN);
	bin_update(s);
	return pg->zero == SLICES_CLEAN ? 0 : (int64_t)(pg->slices * HAK_SLICE);
}

/* Slices on the stack become free; lock held. */
static void take_returned(void)
{
	int64_t used = 0, backed = 0;
	struct page *pg, *next;
	uint64_t now;

	if (!peek(&xreturned))
		return;
	now = os_now_ms();
	for (pg = swap_acq_rel(&xreturned, NULL); pg; pg = next) {
		next = pg->next;
		used += (int64_t)(pg->slices * HAK_SLICE);
		backed += put(pg, now);
	}
	gauge(&hakmem_root.now.used_bytes, -used);
	gauge(&hakmem_root.now.dirty_bytes, backed);
	sub_relaxed(&hakmem_root.now.returned_bytes, (uint64_t)backed);
}

/* Straight to the free slices if nobody is there, else by the stack. */
static void give(struct page **pages, unsigned n)
{
	int64_t backed = 0;
	uint64_t now;

	if (!lock_try(&arena_lock)) {
		for (unsigned i = 0; i < n; i++)
			push_returned(pages[i], SLICES_DIRTY);
		return;
	}
	now = os_now_ms();
	for (unsigned i = 0; i < n; i++) {
		pages[i]->zero = SLICES_DIRTY;
		backed += put(pages[i], now);
	}
	gauge(&hakmem_root.now.used_bytes, -backed);
	gauge(&hakmem_root.now.dirty_bytes, backed);
	lock_drop(&arena_lock);
}

/* Half a segment that is about to get its memory, see huge.c. */
struct half {
	struct segment *of; /* NULL: there is none */
	unsigned at;	    /* its first slice */
	struct page *rest;  /* what nobody asked for */
};

/*
 * Up to `want` free runs, all of them zero or none; how many there were. *fresh: bytes of them
 * that have no memory yet. Lock held.
 */
static unsigned cut_some(unsigned slices, unsigned want, struct page **out, bool *zero,
			 size_t *fresh, struct half *half)
{
	unsigned got = 0;

	*fresh = 0;
	*half = (struct half){0};
	while (got < want) {
		uint64_t backed;
		unsigned opens;
		int at;
		struct segment *s = find_segment(slices, &at);
		bool reads_zero = s && !(s->dirty & ~s->zero & segment_mask((unsigned)at, slices));

		if (!s || (got && reads_zero != *zero))
			break;
		*zero = reads_zero;
		if (huge_begin(s, (unsigned)at, slices, &opens))
			*half = (struct half){s, opens, NULL};
		out[got] = cut(s, (unsigned)at, slices, &backed);
		*fresh += slices * HAK_SLICE - backed;
		describe(out[got++], s, (unsigned)at);
	}
	return got;
}

/*
 * Until the half has its memory, its rest is in nobody's books, like what is purged. Without a rest
 * it is one long block, of which nobody knows how it is used. Lock held.
 */
static void half_take(struct half *half)
{
	struct segment *s = half->of;
	uint64_t mask = s->free & segment_mask(half->at, HAK_HALF_SLICES), backed;
	unsigned first;

	if (!mask) {
		huge_end();
		half->of = NULL;
		return;
	}
	first = (unsigned)__builtin_ctzll(mask);
	half->rest = cut(s, first, bits_set_from(mask, first), &backed);
	describe(half->rest, s, first);
	poke(&half->rest->kind, PAGE_UNUSED);
	arena_purge_begins();
}

/* Bytes that came so of what was asked for. */
static size_t half_fill(const struct half *half)
{
	bool filled = huge_fill(half->of, half->at);
	size_t rest = half->rest->slices * HAK_SLICE;

	huge_end();
	push_returned(half->rest, filled ? SLICES_FILLED : SLICES_CLEAN);
	arena_purge_ends();
	if (!filled)
		return 0;
	limit_note_taken(HAK_HALF);
	return HAK_HALF - rest;
}

/*
 * Up to `want` runs of slices as pages of kind PAGE_RUN, not yet in the pagemap; how many, 0 when
 * out of memory. The arena grows for one only. *zero: their memory is. *source: FRESH (they have
 * memory), ARENA (clean) or OS (arena grew).
 */
unsigned arena_alloc(unsigned slices, unsigned want, struct page **out, enum hak_source *source,
		     bool *zero)
{
	bool grown = false;

	for (;;) {
		struct half half;
		unsigned got;
		size_t fresh;

		lock_take(&arena_lock);
		take_returned();
		got = cut_some(slices, grown ? 1 : want, out, zero, &fresh, &half);
		if (half.of)
			half_take(&half);
		lock_drop(&arena_lock);
		if (half.of)
			fresh -= half_fill(&half);
		if (got) {
			if (fresh)
				limit_note_taken(fresh);
			*source = !*zero || !fresh ? HAK_SOURCE_FRESH
				  : grown	   ? HAK_SOURCE_OS
						   : HAK_SOURCE_ARENA;
			return got;
		}
		if (!grow())
			return 0;
		grown = true;
	}
}

/* The pagemap goes on knowing a page, so that a second free of its blocks is seen to be one. */
void arena_free(struct page **pages, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct page *pg = pages[i];

		if (pg->class)
			pagemap_set(pg->start, pg->slices, pg, 0);
		poke(&pg->kind, PAGE_UNUSED);
	}
	give(pages, n);
	if (arena_is_over())
		add_relaxed(&arena_xshrinks, 1);
}

/* Not used for decay_ms. */
static bool is_old(const struct segment *s, uint64_t now_ms)
{
	return s && now_ms - s->freed_ms >= hak_options.decay_ms;
}

/*
 * What goes next, and of which segment, NULL: nothing. By limit: whole halves, oldest first and
 * down to three quarters of it, so that the work comes in portions. By decay: all of a segment. By
 * trim: everything.
 */
static struct segment *choose(uint64_t now_ms, enum hak_os_reason why, uint64_t *mask)
{
	struct segment *parts = dirty[PARTS].first, *whole = dirty[WHOLE].first, *s;

	if (why == HAK_OS_DECAY)
		s = is_old(whole, now_ms) ? whole : is_old(parts, now_ms) ? parts : NULL;
	else if (why != HAK_OS_LIMIT)
		s = whole ? whole : parts;
	else if (!limit_excess(3))
		s = NULL;
	else
		s = whole ? whole : limit_parts_too(3) ? parts : NULL;
	if (s)
		*mask = why == HAK_OS_LIMIT && s == whole ? whole_halves(s) : s->dirty;
	return s;
}

/* Dirty slices to purge, taken out of the free mask, and their segment; lock held. */
static struct segment *next_to_purge(uint64_t now_ms, enum hak_os_reason why, uint64_t *mask)
{
	struct segment *s = choose(now_ms, why, mask);

	if (!s)
		return NULL;
	s->free &= ~*mask;
	s->dirty &= ~*mask;
	s->zero &= ~*mask;
	huge_note_given((size_t)bytes_of(*mask));
	dirty_update(s, false);
	bin_update(s);
	gauge(&hakmem_root.now.dirty_bytes, -bytes_of(*mask));
	gauge(&hakmem_root.now.used_bytes, bytes_of(*mask));
	return s;
}

/*
 * What is on its way to the system is in nobody's books and under no lock: fork waits for it, or
 * the child would never have it again.
 */
#define FORK_WAITS ((uint32_t)1 << 31)
static uint32_t xpurging; /* by how many threads; or with the bit above */
static __thread uint32_t purging_here __attribute__((tls_model("initial-exec")));

/* The lock of what is taken out is held. */
void arena_purge_begins(void)
{
	purging_here++;
	add_relaxed(&xpurging, 1);
}

/* It is gone, or back. */
void arena_purge_ends(void)
{
	/* release: who forks sees what came back */
	if (__atomic_sub_fetch(&xpurging, 1, __ATOMIC_RELEASE) & FORK_WAITS)
		os_futex(&xpurging, FUTEX_WAKE_PRIVATE, 1);
	purging_here--;
}

/* No purge is under way, but for one that a signal handler forks in. Both locks are held. */
void arena_fork_before(void)
{
	uint32_t n;

	while ((n = __atomic_or_fetch(&xpurging, FORK_WAITS, __ATOMIC_ACQUIRE)) - FORK_WAITS >
	       purging_here)
		os_futex(&xpurging, FUTEX_WAIT_PRIVATE, n);
	__atomic_fetch_and(&xpurging, ~FORK_WAITS, __ATOMIC_RELAXED);
}

/* Slices the system refused to take stay dirty. Returns the bytes it took. */
static size_t purge_runs(struct segment *s, uint64_t mask, enum hak_os_reason why)
{
	size_t purged = 0;

	huge_leave(s, mask);
	while (mask) {
		unsigned first = (unsigned)__builtin_ctzll(mask);
		unsigned n = bits_set_from(mask, first);
		struct page *pg = &s->pages[first];
		bool done = os_purge(s->base + first * HAK_SLICE, n * HAK_SLICE, why);

		describe(pg, s, first);
		pg->slices = (uint16_t)n;
		push_returned(pg, done ? SLICES_CLEAN : SLICES_DIRTY);
		if (done)
			purged += n * HAK_SLICE;
		mask &= ~segment_mask(first, n);
	}
	return purged;
}

/*
 * The lock, for who can do without: a trim insists. What exceeds the limit is left to whoever has
 * it, who looks at arena_xover when he leaves. seq_cst: he sees it, or else the lock is free now.
 */
bool arena_lock_to_purge(struct lock *l, enum hak_os_reason why)
{
	if (why == HAK_OS_TRIM) {
		lock_take(l);
		return true;
	}
	if (lock_try(l))
		return true;
	if (why != HAK_OS_LIMIT)
		return false;
	__atomic_store_n(&arena_xover, 1, __ATOMIC_SEQ_CST);
	return lock_try(l);
}

/* One segment's worth; bytes given to the system, 0 if there is nothing (more) to do. */
static size_t purge_one(uint64_t now_ms, enum hak_os_reason why)
{
	struct segment *s;
	uint64_t mask;
	size_t bytes;

	do {
		if (!arena_lock_to_purge(&arena_lock, why))
			return 0;
		take_returned();
		s = next_to_purge(now_ms, why, &mask);
		if (s)
			arena_purge_begins();
		lock_drop(&arena_lock);
		/* again if somebody pushed and, finding the lock held, left it to us; seq_cst: not
		   read before others can see the lock free */
	} while (!s && why == HAK_OS_LIMIT && load_seq_cst(&xreturned) && limit_excess(4));
	if (!s)
		return 0;
	bytes = purge_runs(s, mask, why);
	arena_purge_ends();
	if (why == HAK_OS_LIMIT)
		limit_note_given(bytes);
	return bytes;
}

/* True if anything was given back. now_ms is used for decay only. */
bool arena_purge(uint64_t now_ms, enum hak_os_reason why)
{
	bool any = false;

	limit_ease(now_ms, why);
	while (purge_one(now_ms, why))
		any = true;
	return any;
}

/* Takes a segment without a page out of the arena; lock held. NULL: there is none. */
static struct segment *take_unused(void)
{
	for (struct segment **at = &arena_segments; *at; at = &(*at)->all_next) {
		struct segment *s = *at;

		if (~s->free)
			continue;
		gauge(&hakmem_root.now.dirty_bytes, -bytes_of(s->dirty));
		s->free = s->dirty = s->zero = 0;
		huge_forget(s);
		dirty_update(s, false);
		bin_update(s);
		*at = s->all_next;
		s->all_next = NULL;
		return s;
	}
	return NULL;
}

/* Segments without a page go back to the system, address space and all. True if any did. */
bool arena_unmap_unused(void)
{
	bool any = false;

	for (;;) {
		struct segment *s;

		lock_take(&arena_lock);
		take_returned();
		s = take_unused();
		if (s)
			arena_purge_begins();
		lock_drop(&arena_lock);
		if (!s)
			return any;
		/* before others can map something there */
		pagemap_set(s->base, HAK_SEGMENT_SLICES, NULL, 0);
		sub_relaxed(&hakmem_root.now.arena_bytes, HAK_SEGMENT);
		os_unmap(s->base, HAK_SEGMENT, HAK_OS_TRIM);
		arena_purge_ends();
		spare_descriptors(s);
		any = true;
	}
}

/* Masks, bins and descriptors against each other; returns what is broken. */
static unsigned check_segment(const struct segment *s)
{
	uint64_t used = 0;
	unsigned bad = 0;

	bad += (s->dirty & ~s->free) != 0;
	bad += (s->zero & ~s->dirty) != 0;
	bad += s->bin != segment_bin(s->free);
	bad += s->queue != dirty_queue_of(s);
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

/* Segments that say they are on a dirty queue, less those that are. */
static unsigned check_queues(void)
{
	unsigned n = 0;

	for (const struct segment *s = arena_segments; s; s = s->all_next)
		n += s->queue >= 0;
	for (unsigned q = 0; q < DIRTY_QUEUES; q++)
		for (const struct segment *s = dirty[q].first; s; s = s->dirty_next)
			n -= s->queue == (int)q;
	return n;
}

unsigned arena_check(void)
{
	unsigned bad = 0;

	lock_take(&arena_lock);
	take_returned();
	for (const struct segment *s = arena_segments; s; s = s->all_next)
		bad += check_segment(s);
	bad += check_queues() != 0;
	lock_drop(&arena_lock);
	if (bad)
		hak_say("check: segments break invariants: ", bad, "");
	return bad;
}
