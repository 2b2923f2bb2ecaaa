/*
 * Thread caches behind the hit paths: refill, flush, and how much a cache may hold.
 *
 * A class a new heap has not allocated from yet caches nothing: the first few blocks it frees go
 * home at once, since right beside them is what others are using.
 *
 * From then on a cache starts small and earns its size. Each refill asks for twice as many blocks
 * as the one before, up to batch_max, and a thread that goes on with a heap begins with no more
 * than the one before allocated; an overflow raises the limit by the number of blocks that
 * were flushed and then missed, up to limit_max and within a byte budget, for which another class
 * may lose half of its. A class not used between two ticks loses everything.
 *
 * Budgets: a quarter of HAKMEM_CACHE_BYTES for small classes, the rest for big ones, by thread. A
 * miss of a big class is shared by few blocks: beyond its part it may take from a pool that all
 * threads share, 8 times HAKMEM_CACHE_BYTES.
 *
 * Slots: a class begins with a few in the heap itself. A limit above those moves it to a stack four
 * times as long, in a map of the heap's own, where one follows the other: few OS pages hold those
 * of all classes. A cache never holds more than its slots; see shared.h for the equations.
 */
#include "internal.h"
#include "pagemap.h"

#include <string.h>

#define BATCH_BYTES ((size_t)16 << 10)	    /* 16 KiB: most a refill moves */
#define BATCH_BLOCKS 128U		    /* and most blocks */
#define BIG_BATCH_BYTES ((size_t)128 << 10) /* 128 KiB: the same for big classes */
#define BIG_BATCH_BLOCKS 16U
#define RUN_BATCH_BYTES ((size_t)512 << 10) /* 512 KiB: the same for runs, not touched by it */
#define LIMIT_BYTES ((size_t)16 << 20)	    /* 16 MiB: most one class may hold */
#define LIMIT_BLOCKS 2048U
#define BIG_LEAST 2048U /* bytes, see is_big */
#define SMALL_PART 4U	/* of the budget, for small classes */
#define POOL_TIMES 8U	/* the pool, in budgets of a thread */
#define ONE_WAY 4U	/* see is_one_way */
#define ONE_WAY_LATER 64U
#define AT_ONCE 4U /* blocks freed before the first allocation of their class that go home */
#define FREE_BYTES ((size_t)8 << 10)  /* 8 KiB: limit of a class that flushes in vain */
#define START_BYTES ((size_t)2 << 10) /* 2 KiB: first limit of a class */
#define SLOTS_GROW 4U		      /* a stack's slots, of the one before */

static uint32_t clamp(size_t v, uint32_t low, uint32_t high)
{
	return v < low ? low : v > high ? high : (uint32_t)v;
}

/* A refill brings few blocks of such a class, so each miss counts. */
static bool is_big(unsigned class)
{
	return hak_class_bytes[class] >= BIG_LEAST;
}

static uint32_t batch_max(unsigned class)
{
	if (class_is_run(class))
		return clamp(RUN_BATCH_BYTES / hak_class_bytes[class], 1, HAK_RUNS_MAX);
	if (is_big(class))
		return clamp(BIG_BATCH_BYTES / hak_class_bytes[class], 4, BIG_BATCH_BLOCKS);
	return clamp(BATCH_BYTES / hak_class_bytes[class], 2, BATCH_BLOCKS);
}

/* The first refill of a heap: 256 bytes, of 16 blocks at most. */
static uint32_t batch_start(unsigned class)
{
	return clamp(256 / hak_class_bytes[class], 1, 16);
}

static uint32_t limit_max(unsigned class)
{
	return clamp(LIMIT_BYTES / hak_class_bytes[class], 8, LIMIT_BLOCKS);
}

/* Reached without having been missed: a few blocks make a batch worth sending. */
static uint32_t limit_free(unsigned class)
{
	return clamp(FREE_BYTES / hak_class_bytes[class], 4, BATCH_BLOCKS);
}

static uint32_t limit_start(unsigned class)
{
	return clamp(START_BYTES / hak_class_bytes[class], 2, 32);
}

static struct hak_bin *bin_of(struct heap *h, unsigned class)
{
	return &h->view.bin[class];
}

static uint64_t allocs_of(const struct heap *h, unsigned class)
{
	return hak_bin_allocs(&h->view.bin[class], &h->view.stat[class]);
}

static uint64_t length_of(const struct heap *h, unsigned class)
{
	return hak_bin_length(&h->view.bin[class]);
}

/* Slots of a class in the heap itself, and at most. */
static uint32_t slots_start(unsigned class)
{
	return limit_start(class);
}

static uint32_t slots_max(unsigned class)
{
	uint32_t limit = limit_max(class), batch = batch_max(class);

	return limit > batch ? limit : batch;
}

/* Of the next stack of a class; those short of the highest take two thirds of that together. */
static uint32_t slots_next(unsigned class, uint32_t have, uint32_t want)
{
	uint32_t max = slots_max(class), next = have * SLOTS_GROW > want ? have * SLOTS_GROW : want;

	return next > max / 2 ? max : next;
}

/* Of all stacks there may be in the map, one after the other, each with its slot 0. */
static size_t map_slots(void)
{
	size_t n = 0;

	for (unsigned c = 1; c < HAK_CLASSES; c++)
		n += 2 * slots_max(c);
	return n;
}

static bool need_map(struct heap *h)
{
	size_t bytes = align_up(map_slots() * sizeof(void *), HAK_OS_PAGE);

	if (h->slot_map)
		return true;
	h->slot_map = os_map_guarded(bytes, HAK_OS_META);
	if (!h->slot_map)
		return false;
	add_relaxed(&hakmem_root.now.meta_bytes, bytes);
	return true;
}

/* Moves a class to a longer stack in the map, which has room for it. */
static void move_stack(struct heap *h, unsigned class, uint32_t n)
{
	struct hak_bin *bin = bin_of(h, class);
	size_t length = length_of(h, class);
	void **slots = h->slot_map + h->map_used;

	hak_assert(h->map_used + n < map_slots());
	h->map_used += n + 1;
	memcpy(slots, bin->slots, (length + 1) * sizeof(*slots));
	/* a reader in between finds a length that is off: it sees h busy and reads again */
	count_set(&bin->slots, slots);
	count_set(&bin->top, slots + length);
	count_set(&bin->limit, slots + h->view.stat[class].limit);
	h->slots[class] = n;
}

/* Slots the class has, after an attempt to have `want`. */
static uint32_t get_slots(struct heap *h, unsigned class, uint32_t want)
{
	uint32_t have = h->slots[class];

	if (want > have && have < slots_max(class) && need_map(h))
		move_stack(h, class, slots_next(class, have, want));
	return h->slots[class];
}

static uint64_t xpool; /* bytes that heaps have of the pool */

static uint64_t own_bytes(bool big)
{
	uint64_t small = hak_options.cache_bytes / SMALL_PART;

	return big ? hak_options.cache_bytes - small : small;
}

/* What of such a budget for big classes comes from the pool. */
static uint64_t pool_part(uint64_t budget)
{
	return budget > own_bytes(true) ? budget - own_bytes(true) : 0;
}

static bool fits_budget(const struct heap *h, unsigned class, uint64_t more)
{
	uint64_t old = h->budget_used[is_big(class)];

	if (old + more <= own_bytes(is_big(class)))
		return true;
	return is_big(class) && peek(&xpool) + pool_part(old + more) - pool_part(old) <=
					hak_options.cache_bytes * POOL_TIMES;
}

static void set_limit(struct heap *h, unsigned class, uint32_t limit)
{
	struct hak_bin_stat *st = &h->view.stat[class];
	uint64_t *used = &h->budget_used[is_big(class)], before = *used;
	struct hak_bin *bin = bin_of(h, class);

	*used += (uint64_t)limit * hak_class_bytes[class];
	*used -= (uint64_t)st->limit * hak_class_bytes[class];
	if (is_big(class) && unlikely(pool_part(before) != pool_part(*used)))
		add_relaxed(&xpool, pool_part(*used) - pool_part(before));
	count_set(&st->limit, limit);
	count_set(&bin->limit, bin->slots + limit);
}

/* Nothing is cached. */
static void until_first_alloc(struct heap *h, unsigned class)
{
	h->full_again[class] = 0;
	set_limit(h, class, 0);
}

static bool is_before_first_alloc(const struct heap *h, unsigned class)
{
	return h->view.stat[class].limit == 0;
}

/*
 * Another thread's caches: whatever it frees next comes to a slow operation. Its thread alone says
 * how much it may hold, so this is no more than a call, which cache_unhurry takes back.
 */
void cache_hurry(struct heap *h)
{
	for (unsigned c = 1; c < HAK_CLASSES; c++)
		poke(&h->view.bin[c].limit, NULL);
}

/* True if the cache was not full, only looked so. */
bool cache_unhurry(struct heap *h, unsigned class)
{
	struct hak_bin *bin = bin_of(h, class);
	void **limit = bin->slots + h->view.stat[class].limit;

	if (peek(&bin->limit) == limit)
		return false;
	poke(&bin->limit, limit);
	return true;
}

static void *no_block; /* slot 0 of class 0, which never has another */

void cache_init(struct heap *h)
{
	void **slots = h->start_slots;

	h->view.bin[0].top = h->view.bin[0].slots = &no_block;
	h->view.bin[HAK_ASIDE].top = h->view.bin[HAK_ASIDE].slots = &no_block;
	for (unsigned c = 1; c < HAK_CLASSES; c++) {
		h->view.bin[c].top = h->view.bin[c].slots = slots;
		h->slots[c] = slots_start(c);
		slots += slots_start(c) + 1;
		h->view.stat[c].batch = batch_start(c);
		until_first_alloc(h, c);
	}
	hak_assert(slots <= h->start_slots + HAK_START_SLOTS);
}

/* What the thread did since the class's last probe; the probes' sums stay exact. */
static void take_deltas(struct heap *h, unsigned class, uint64_t *allocs, uint64_t *frees)
{
	const struct hak_bin *bin = bin_of(h, class);
	struct hak_bin_stat *st = &h->view.stat[class];
	uint64_t all = allocs_of(h, class);

	*allocs = all - st->seen_allocs;
	*frees = bin->frees - st->seen_frees;
	h->zeroes[class] = 0;
	count_set(&st->seen_allocs, all);
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

/*
 * Gives back all but the `keep` blocks freed last, which are still warm in the CPU's caches.
 * Returns how many.
 */
static uint32_t flush(struct heap *h, unsigned class, uint64_t keep, enum hak_flush_reason reason)
{
	struct hak_bin *bin = bin_of(h, class);
	uint64_t length = length_of(h, class), n;

	if (class == 0 || length <= keep)
		return 0;
	n = length - keep;
	h->flushed[class] = clamp(h->flushed[class] + n, 0, LIMIT_BLOCKS);
	remote_give(h, bin->slots + 1, n, reason);
	memmove(bin->slots + 1, bin->slots + 1 + n, keep * sizeof(void *));
	count_add(&h->view.stat[class].base, -(int64_t)n);
	count_order();
	count_set(&bin->top, bin->slots + keep);
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
		if (c == class || is_big(c) != is_big(class) || limit / 2 < limit_start(c))
			continue;
		set_limit(h, c, limit / 2);
		if (length_of(h, c) > limit / 2)
			flush_and_note(h, c, limit / 2, HAK_FLUSH_BUDGET);
		return true;
	}
	return false;
}

/*
 * How far the limit may rise: to a few blocks for nothing; beyond by as many as were flushed and
 * then taken again, which a longer cache would have spared.
 */
static uint32_t limit_earned(struct heap *h, unsigned class)
{
	uint32_t old = h->view.stat[class].limit, batch = batch_max(class);
	uint32_t free = limit_free(class), regret = h->regret[class];

	if (old < free)
		return old + batch < free ? old + batch : free;
	if (!regret)
		return old;
	h->regret[class] = 0;
	return clamp((size_t)old + (regret < batch ? batch : regret), 0, limit_max(class));
}

static bool raise_limit(struct heap *h, unsigned class, uint32_t limit)
{
	uint32_t old = h->view.stat[class].limit;
	uint64_t more;

	if (limit <= old)
		return false;
	limit = clamp(limit, 0, get_slots(h, class, limit));
	if (limit <= old)
		return false;
	more = (uint64_t)(limit - old) * hak_class_bytes[class];
	while (!fits_budget(h, class, more)) {
		bool *cramped = &h->cramped[is_big(class)];

		if (*cramped || !cut_other(h, class)) {
			*cramped = true;
			return false;
		}
	}
	set_limit(h, class, limit);
	return true;
}

/* A page of h has blocks of the class, from the nearest place there is. False: out of memory. */
bool cache_find_page(struct heap *h, unsigned class, enum hak_source *source)
{
	*source = HAK_SOURCE_PAGE;
	if (peek(&h->xqueue)) {
		bool had = h->avail[class] != NULL;

		remote_drain(h);
		if (!had && h->avail[class])
			*source = HAK_SOURCE_REMOTE;
	}
	if (!h->avail[class] && heap_steal(h, class))
		*source = HAK_SOURCE_ADOPTED;
	return h->avail[class] || page_new(h, class, source);
}

/* Whether the program may leave the next blocks as they come: it did with most before. */
static void note_zeroes(struct heap *h, unsigned class)
{
	uint64_t bit = (uint64_t)1 << class;
	uint64_t allocs = allocs_of(h, class) - h->view.stat[class].seen_allocs;

	if (2 * (uint64_t)h->zeroes[class] > allocs)
		h->left_zero |= bit;
	else
		h->left_zero &= ~bit;
}

/* Blocks for an empty cache. */
static uint32_t gather(struct heap *h, unsigned class, uint32_t want, enum hak_source *source)
{
	uint32_t got;
	bool clean;
	void **out;

	want = clamp(want, 1, get_slots(h, class, want));
	out = bin_of(h, class)->slots + 1;
	if (class_is_run(class)) {
		want = run_take(class, want, out, source, &clean);
		if (want && clean)
			thin_for_page(h);
		h->fresh_at[class] = clean ? bin_of(h, class)->frees + 1 : 0;
		return want;
	}
	note_zeroes(h, class);
	got = transfer_take(h, class, want, out);
	if (got) {
		*source = HAK_SOURCE_REMOTE;
		h->fresh_at[class] = 0;
		return got;
	}
	if (!cache_find_page(h, class, source))
		return 0;
	want = page_take(h, class, want, out, &clean);
	h->fresh_at[class] = clean ? bin_of(h, class)->frees + 1 : 0;
	return want;
}

/*
 * The block of the class just allocated, to be zero, was never used before: it came with a refill
 * of such blocks only, and none was freed into the cache since.
 */
bool cache_was_fresh(unsigned class)
{
	struct heap *h = hak_thread.heap;

	if (h->fresh_at[class] != h->view.bin[class].frees + 1)
		return false;
	h->zeroes[class]++;
	return true;
}

/* Blocks had to be fetched: as far as some were flushed before, the cache was too short. */
static void note_missed(struct heap *h, unsigned class, uint32_t got)
{
	uint32_t both = got < h->flushed[class] ? got : h->flushed[class];

	h->flushed[class] -= both;
	h->missed[class] |= both != 0;
	h->regret[class] = clamp((size_t)h->regret[class] + both, 0, LIMIT_BLOCKS);
}

/* The cache of the class is empty: fills it and takes one. NULL when out of memory. */
void *cache_refill_alloc(struct heap *h, unsigned class)
{
	struct hak_bin *bin = bin_of(h, class);
	struct hak_bin_stat *st = &h->view.stat[class];
	enum hak_source source;
	uint64_t allocs, frees;
	uint32_t got;
	void *p;

	got = gather(h, class, st->batch, &source);
	if (!got)
		return NULL;
	if (unlikely(is_before_first_alloc(h, class)))
		set_limit(h, class, limit_start(class));
	p = bin->slots[got];
	count_set(&bin->top, bin->slots + got - 1);
	count_order();
	count_add(&st->base, got);
	note_missed(h, class, got);
	if (st->batch < batch_max(class))
		count_set(&st->batch, clamp((size_t)st->batch * 2, 1, batch_max(class)));
	take_deltas(h, class, &allocs, &frees);
	count_add(&st->refills, 1);
	count_add(&st->refill_blocks, got);
	hak_probe_hakmem_refill(class, hak_class_bytes[class], got, allocs, frees, source);
	return p;
}

/*
 * A class this thread only frees: its blocks are of no use here. The cache is as long as a good
 * batch for their owners, and is emptied whole.
 */
static uint32_t flush_one_way(struct heap *h, unsigned class)
{
	struct hak_bin_stat *st = &h->view.stat[class];

	if (st->limit < batch_max(class) && raise_limit(h, class, batch_max(class)))
		return 0;
	if (st->limit > batch_max(class))
		set_limit(h, class, batch_max(class));
	return flush(h, class, 0, HAK_FLUSH_OVERFLOW);
}

/*
 * True when the cache filled up several times while nothing was taken out. Where flushed blocks
 * were missed lately it takes more: frees may only have come in a burst.
 */
static bool is_one_way(struct heap *h, unsigned class)
{
	uint64_t allocs = allocs_of(h, class);

	if (allocs != h->seen_full[class]) {
		h->seen_full[class] = allocs;
		h->full_again[class] = 0;
		return false;
	}
	if (h->full_again[class] < ONE_WAY_LATER)
		h->full_again[class]++;
	return h->full_again[class] >= (h->missed[class] ? ONE_WAY_LATER : ONE_WAY);
}

static void push(struct heap *h, void *p, unsigned class)
{
	struct hak_bin *bin = bin_of(h, class);

	bin->top[1] = p;
	count_set(&bin->top, bin->top + 1);
	count_order();
	count_add(&bin->frees, 1);
}

/* The class has not been allocated from. False: enough was freed that batches are worth it. */
static bool send_home(struct heap *h, void *p, unsigned class)
{
	if (++h->full_again[class] > AT_ONCE) {
		h->full_again[class] = 0;
		set_limit(h, class, limit_start(class));
		return false;
	}
	push(h, p, class);
	flush_and_note(h, class, 0, HAK_FLUSH_OVERFLOW);
	return true;
}

/* Room for one more block in a full cache: a higher limit, or a flush of the older half. */
void cache_free_full(struct heap *h, void *p, unsigned class)
{
	uint32_t given = 0;

	if (is_before_first_alloc(h, class)) {
		if (!send_home(h, p, class))
			push(h, p, class);
		return;
	}
	if (is_one_way(h, class))
		given = flush_one_way(h, class);
	else if (!raise_limit(h, class, limit_earned(h, class)))
		given = flush(h, class, h->view.stat[class].limit / 2, HAK_FLUSH_OVERFLOW);
	push(h, p, class);
	if (given)
		note_flush(h, class, given, HAK_FLUSH_OVERFLOW);
}

/* Without a cache, a block taken out of its page is allocated at once. */
void cache_count_alloc(struct heap *h, unsigned class, enum hak_source source)
{
	struct hak_bin_stat *st = &h->view.stat[class];
	uint64_t allocs, frees;

	count_add(&st->base, 1);
	count_add(&st->refills, 1);
	count_add(&st->refill_blocks, 1);
	take_deltas(h, class, &allocs, &frees);
	hak_probe_hakmem_refill(class, hak_class_bytes[class], 1, allocs, frees, source);
}

/* A free block goes past the cache, to be given back some time. */
void cache_count_free(struct heap *h, unsigned class)
{
	count_add(&h->view.stat[class].base, -1);
	count_order();
	count_add(&h->view.bin[class].frees, 1);
}

void cache_count_given(struct heap *h, unsigned class, enum hak_flush_reason reason)
{
	note_flush(h, class, 1, reason);
}

void cache_flush_all(struct heap *h, enum hak_flush_reason reason)
{
	secure_flush(h);
	for (unsigned c = 0; c < HAK_CLASSES; c++)
		flush_and_note(h, c, 0, reason);
	/* what the heap has of the pool is for others */
	for (unsigned c = HAK_CLASSES; --c && pool_part(h->budget_used[true]);)
		if (h->view.stat[c].limit > limit_start(c))
			set_limit(h, c, limit_start(c));
}

/*
 * The thread ends, its caches are empty. The first refills of the next one bring no more blocks
 * than this one has allocated: what a short life does not use, it has to give back.
 */
void cache_next_thread(struct heap *h)
{
	for (unsigned c = 1; c < HAK_CLASSES; c++) {
		uint64_t allocs = allocs_of(h, c), lived = allocs - h->seen_end[c];

		h->seen_end[c] = allocs;
		if (lived < h->view.stat[c].batch)
			count_set(&h->view.stat[c].batch,
				  clamp((size_t)lived, batch_start(c), batch_max(c)));
	}
}

/* Classes nobody used since the last call lose their blocks and start over. */
void cache_flush_idle(struct heap *h)
{
	h->cramped[false] = h->cramped[true] = false;
	for (unsigned c = 1; c < HAK_CLASSES; c++) {
		uint64_t used = allocs_of(h, c) + h->view.bin[c].frees;

		if (used == h->seen_tick[c] && length_of(h, c)) {
			flush_and_note(h, c, 0, HAK_FLUSH_TRIM);
			set_limit(h, c, limit_start(c));
		}
		h->seen_tick[c] = used;
		h->flushed[c] /= 2;
		h->missed[c] = false;
	}
}

/*
 * The process gives memory back. A class this thread has not allocated from since the last time
 * keeps no blocks: each of them may be the only one that holds a whole page.
 */
void cache_flush_shrinking(struct heap *h)
{
	for (unsigned c = 1; c < HAK_CLASSES; c++) {
		uint64_t allocs = allocs_of(h, c);

		if (allocs == h->seen_shrink[c] && length_of(h, c)) {
			flush_and_note(h, c, 0, HAK_FLUSH_TRIM);
			set_limit(h, c, limit_start(c));
		}
		h->seen_shrink[c] = allocs;
	}
}

/* Class 0 holds no blocks: its base moves with the counts. */
void cache_large_alloc(struct heap *h, size_t bytes, bool hit)
{
	count_add(&h->view.stat[0].base, 1);
	count_add(&h->view.large_alloc_bytes, bytes);
	if (hit)
		count_add(&h->view.large_cache_hits, 1);
}

void cache_large_free(struct heap *h, size_t bytes)
{
	count_add(&h->view.stat[0].base, -1);
	count_order();
	count_add(&h->view.bin[0].frees, 1);
	count_add(&h->view.large_free_bytes, bytes);
}

/* A cache nobody else is using: within its slots, and every block of its own class. */
unsigned cache_check(const struct heap *h)
{
	unsigned bad = 0;

	for (unsigned c = 1; c < HAK_CLASSES; c++) {
		const struct hak_bin *bin = &h->view.bin[c];
		void **limit = peek(&bin->limit); /* NULL: whoever hurries it, at any time */
		uint64_t length = length_of(h, c);

		bad += bin->slots[0] != NULL;
		bad += length > h->slots[c];
		for (uint64_t i = 1; i <= length; i++)
			bad += pagemap_class(bin->slots[i]) != c;
		bad += limit && limit != bin->slots + h->view.stat[c].limit;
	}
	return bad;
}
