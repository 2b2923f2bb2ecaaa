/*
 * Thread caches behind the hit paths: refill, flush, and how much a cache may hold.
 *
 * A cache starts small and earns its size. Each refill asks for twice as many blocks as the one
 * before, up to batch_max; each overflow raises the limit by a batch, up to limit_max and within
 * the thread's byte budget (HAKMEM_CACHE_BYTES), for which another class may lose half of its.
 * A class not used between two ticks loses everything.
 *
 *   length = base + frees - allocs,  room = limit - base   (types of shared.h)
 */
#include "internal.h"
#include "pagemap.h"

#define BATCH_BYTES ((size_t)16 << 10)	/* 16 KiB: most a refill moves */
#define BATCH_BLOCKS 64U		/* and most blocks */
#define LIMIT_BYTES ((size_t)512 << 10) /* 512 KiB: most one class may hold */
#define LIMIT_BLOCKS 2048U
#define ONE_WAY 4U		      /* see is_one_way */
#define START_BYTES ((size_t)2 << 10) /* 2 KiB: first limit of a class */

static uint32_t clamp(size_t v, uint32_t low, uint32_t high)
{
	return v < low ? low : v > high ? high : (uint32_t)v;
}

static uint32_t batch_max(unsigned class)
{
	return clamp(BATCH_BYTES / hak_class_bytes[class], 2, BATCH_BLOCKS);
}

static uint32_t limit_max(unsigned class)
{
	return clamp(LIMIT_BYTES / hak_class_bytes[class], 8, LIMIT_BLOCKS);
}

static uint32_t limit_start(unsigned class)
{
	return clamp(START_BYTES / hak_class_bytes[class], 2, 32);
}

static uint64_t length_of(const struct heap *h, unsigned class)
{
	const struct hak_bin *bin = &h->view.bin[class];

	return (uint64_t)h->view.stat[class].base + bin->frees - bin->allocs;
}

static void set_room(struct heap *h, unsigned class)
{
	struct hak_bin_stat *st = &h->view.stat[class];

	count_set(&h->view.bin[class].room, (int64_t)st->limit - st->base);
}

static void move_base(struct heap *h, unsigned class, int64_t by)
{
	count_add(&h->view.stat[class].base, by);
	set_room(h, class);
}

static void set_limit(struct heap *h, unsigned class, uint32_t limit)
{
	struct hak_bin_stat *st = &h->view.stat[class];

	h->budget_used += (uint64_t)limit * hak_class_bytes[class];
	h->budget_used -= (uint64_t)st->limit * hak_class_bytes[class];
	count_set(&st->limit, limit);
	set_room(h, class);
}

void cache_init(struct heap *h)
{
	h->view.bin[0].room = INT64_MIN; /* class 0 never hits */
	for (unsigned c = 1; c < HAK_CLASSES; c++) {
		h->view.stat[c].batch = clamp(256 / hak_class_bytes[c], 1, 16);
		set_limit(h, c, limit_start(c));
	}
	for (unsigned c = HAK_CLASSES; c < HAK_CLASS_MAX; c++)
		h->view.bin[c].room = INT64_MIN;
}

/* What the thread did since the class's last probe; the probes' sums stay exact. */
static void take_deltas(struct heap *h, unsigned class, uint64_t *allocs, uint64_t *frees)
{
	const struct hak_bin *bin = &h->view.bin[class];
	struct hak_bin_stat *st = &h->view.stat[class];

	*allocs = bin->allocs - st->seen_allocs;
	*frees = bin->frees - st->seen_frees;
	count_set(&st->seen_allocs, bin->allocs);
	count_set(&st->seen_frees, bin->frees);
}

static void note_flush(struct heap *h, unsigned class, uint32_t given, enum hak_flush_reason reason)
{
	struct hak_bin_stat *st = &h->view.stat[class];
	uint64_t allocs, frees;

	take_deltas(h, class, &allocs, &frees);
	if (!given && !allocs && !frees)
		return;
	count_add(&st->flushes, 1);
	count_add(&st->flush_blocks, given);
	hak_probe_hakmem_flush(class, hak_class_bytes[class], given, allocs, frees, reason);
}

/* The list is longer than frees and allocations allow: some block is in it twice. Which? */
static HAK_COLD void report_cycle(const struct block *head, uint64_t length)
{
	const struct block *b = head, *seen;
	uint64_t i, k;

	for (i = 0; i <= length; i++, b = b->next)
		for (seen = head, k = 0; k < i; k++, seen = seen->next)
			if (seen == b) {
				hak_misuse(b, HAK_MISUSE_DOUBLE_FREE, "free");
				return;
			}
	hak_misuse(head, HAK_MISUSE_CORRUPT, "free");
}

/* Cuts the list after `keep` blocks; the rest, *n blocks, is returned. */
static struct block *cut_list(struct hak_bin *bin, uint64_t keep, uint64_t length, uint64_t *n)
{
	struct block **cut = (struct block **)&bin->head, *list, *b;
	uint64_t i, rest = 0;

	for (i = 0; i < keep && *cut; i++)
		cut = &(*cut)->next;
	list = *cut;
	for (b = list; b && rest < length - keep; b = b->next)
		rest++;
	if (unlikely(b != NULL)) {
		report_cycle(bin->head, length);
		list = NULL; /* HAKMEM_ABORT=0: the blocks are lost, not handed out twice */
	}
	*cut = NULL;
	*n = rest;
	return list;
}

/*
 * Gives back all but the `keep` blocks freed last, which are still warm in the CPU's caches.
 * Returns how many.
 */
static uint32_t flush(struct heap *h, unsigned class, uint64_t keep, enum hak_flush_reason reason)
{
	uint64_t length = length_of(h, class), n;
	struct block *list;

	if (class == 0 || length <= keep)
		return 0;
	list = cut_list(&h->view.bin[class], keep, length, &n);
	move_base(h, class, -(int64_t)n);
	remote_give_list(h, list, reason);
	return (uint32_t)n;
}

static void flush_and_note(struct heap *h, unsigned class, uint64_t keep,
			   enum hak_flush_reason reason)
{
	note_flush(h, class, flush(h, class, keep, reason), reason);
}

/* Another class gives up half of its limit; false if none has more than its start. */
static bool cut_other(struct heap *h, unsigned class)
{
	for (unsigned i = 1; i < HAK_CLASSES; i++) {
		unsigned c = 1 + h->victim % (HAK_CLASSES - 1);
		uint32_t limit = h->view.stat[c].limit;

		h->victim = c;
		if (c == class || limit / 2 < limit_start(c))
			continue;
		set_limit(h, c, limit / 2);
		if (length_of(h, c) > limit / 2)
			flush_and_note(h, c, limit / 2, HAK_FLUSH_BUDGET);
		return true;
	}
	return false;
}

static bool raise_limit(struct heap *h, unsigned class)
{
	uint32_t old = h->view.stat[class].limit, max = limit_max(class);
	uint32_t limit = old + batch_max(class);
	uint64_t more;

	if (limit > max)
		limit = max;
	if (limit <= old)
		return false;
	more = (uint64_t)(limit - old) * hak_class_bytes[class];
	while (h->budget_used + more > hak_options.cache_bytes)
		if (!cut_other(h, class))
			return false;
	set_limit(h, class, limit);
	return true;
}

/* Blocks for an empty cache, from the nearest place that has some. */
static uint32_t gather(struct heap *h, unsigned class, uint32_t want, enum hak_source *source)
{
	struct block *list = NULL;
	uint32_t got;

	*source = HAK_SOURCE_PAGE;
	if (peek(&h->xqueue)) {
		bool had = h->avail[class] != NULL;

		remote_drain(h);
		if (!had && h->avail[class])
			*source = HAK_SOURCE_REMOTE;
	}
	if (!h->avail[class] && heap_adopt_any(h))
		*source = HAK_SOURCE_ADOPTED;
	if (!h->avail[class] && !page_new(h, class, source))
		return 0;
	got = page_take(h, class, want, &list);
	count_set(&h->view.bin[class].head, (void *)list);
	return got;
}

/* The cache of the class is empty: fills it and takes one. NULL when out of memory. */
void *cache_refill_alloc(struct heap *h, unsigned class)
{
	struct hak_bin *bin = &h->view.bin[class];
	struct hak_bin_stat *st = &h->view.stat[class];
	enum hak_source source;
	uint64_t allocs, frees;
	struct block *b;
	uint32_t got;

	got = gather(h, class, st->batch, &source);
	if (!got)
		return NULL;
	/* the list was empty, so its length was 0: base starts over from the counters */
	count_set(&st->base, (int64_t)(bin->allocs - bin->frees));
	move_base(h, class, got);
	b = bin->head;
	bin->head = b->next;
	count_add(&bin->allocs, 1);
	if (st->batch < batch_max(class))
		count_set(&st->batch, clamp((size_t)st->batch * 2, 1, batch_max(class)));
	take_deltas(h, class, &allocs, &frees);
	count_add(&st->refills, 1);
	count_add(&st->refill_blocks, got);
	hak_probe_hakmem_refill(class, hak_class_bytes[class], got, allocs, frees, source);
	return b;
}

/*
 * A class this thread only frees: its blocks are of no use here. The cache is as long as a good
 * batch for their owners, and is emptied whole.
 */
static uint32_t flush_one_way(struct heap *h, unsigned class)
{
	struct hak_bin_stat *st = &h->view.stat[class];

	if (st->limit < batch_max(class) && raise_limit(h, class))
		return 0;
	if (st->limit > batch_max(class))
		set_limit(h, class, batch_max(class));
	return flush(h, class, 0, HAK_FLUSH_OVERFLOW);
}

/* True when the cache filled up several times while nothing was taken out. */
static bool is_one_way(struct heap *h, unsigned class)
{
	uint64_t allocs = h->view.bin[class].allocs;

	if (allocs != h->seen_full[class]) {
		h->seen_full[class] = allocs;
		h->full_again[class] = 0;
		return false;
	}
	if (h->full_again[class] < ONE_WAY)
		h->full_again[class]++;
	return h->full_again[class] >= ONE_WAY;
}

/* Room for one more block in a full cache: a higher limit, or a flush of the older half. */
void cache_free_full(struct heap *h, void *p, unsigned class)
{
	struct hak_bin *bin = &h->view.bin[class];
	uint32_t given = 0;

	if (is_one_way(h, class))
		given = flush_one_way(h, class);
	else if (!raise_limit(h, class))
		given = flush(h, class, h->view.stat[class].limit / 2, HAK_FLUSH_OVERFLOW);
	((struct block *)p)->next = bin->head;
	bin->head = p;
	count_add(&bin->frees, 1);
	if (given)
		note_flush(h, class, given, HAK_FLUSH_OVERFLOW);
}

void cache_flush_all(struct heap *h, enum hak_flush_reason reason)
{
	for (unsigned c = 0; c < HAK_CLASSES; c++)
		flush_and_note(h, c, 0, reason);
}

/* Classes nobody used since the last call lose their blocks and start over. */
void cache_flush_idle(struct heap *h)
{
	for (unsigned c = 1; c < HAK_CLASSES; c++) {
		const struct hak_bin *bin = &h->view.bin[c];
		uint64_t used = bin->allocs + bin->frees;

		if (used == h->seen_tick[c] && length_of(h, c)) {
			flush_and_note(h, c, 0, HAK_FLUSH_TRIM);
			set_limit(h, c, limit_start(c));
		}
		h->seen_tick[c] = used;
	}
}

/*
 * The process gives memory back. A class this thread has not allocated from since the last time
 * keeps no blocks: each of them may be the only one that holds a whole page.
 */
void cache_flush_shrinking(struct heap *h)
{
	for (unsigned c = 1; c < HAK_CLASSES; c++) {
		uint64_t allocs = h->view.bin[c].allocs;

		if (allocs == h->seen_shrink[c] && length_of(h, c)) {
			flush_and_note(h, c, 0, HAK_FLUSH_TRIM);
			set_limit(h, c, limit_start(c));
		}
		h->seen_shrink[c] = allocs;
	}
}

/*
 * A thread that vanished in a fork may have been between its list and its counter. The list is
 * what there is; base follows. The counters stay as they are, one operation off at most.
 */
void cache_recount(struct heap *h)
{
	for (unsigned c = 1; c < HAK_CLASSES; c++) {
		uint64_t n = 0, most = length_of(h, c) + 2;

		for (const struct block *b = h->view.bin[c].head; b && n < most; b = b->next)
			n++;
		move_base(h, c, (int64_t)(n - length_of(h, c)));
	}
}

void cache_large_alloc(struct heap *h, size_t bytes, bool hit)
{
	count_add(&h->view.bin[0].allocs, 1);
	count_add(&h->view.large_alloc_bytes, bytes);
	if (hit)
		count_add(&h->view.large_cache_hits, 1);
}

void cache_large_free(struct heap *h, size_t bytes)
{
	count_add(&h->view.bin[0].frees, 1);
	count_add(&h->view.large_free_bytes, bytes);
}

/* A cache nobody else is using: its list has the length the counters say, of its own class. */
unsigned cache_check(const struct heap *h)
{
	unsigned bad = 0;

	for (unsigned c = 1; c < HAK_CLASSES; c++) {
		uint64_t n = 0, length = length_of(h, c);

		for (const struct block *b = h->view.bin[c].head; b && n <= length; b = b->next) {
			bad += pagemap_class(b) != c;
			n++;
		}
		bad += n != length;
		bad += h->view.bin[c].room != (int64_t)h->view.stat[c].limit - h->view.stat[c].base;
	}
	return bad;
}
