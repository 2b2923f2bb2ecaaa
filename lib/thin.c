/*
 * One live block keeps its whole page from the arena, and so blocks that stay can hold many times
 * their size. The free parts of such a page, whole grains of it, give their memory to the system
 * while the page stays in its heap. A grain is an OS page, or two if the page has more than 64; a
 * bit in page.gone says that nothing of it was touched since it was without memory.
 *
 * This happens when free blocks in a heap's pages have memory of more than a quarter of its blocks
 * in use and a constant, and it asks for a new page or run nevertheless: none of its free blocks
 * are of the class that it needs. And by decay, to pages from which no block was taken and to which
 * none came back for a while.
 *
 * The other way round, grains of small blocks that are about to be handed out get their memory by
 * one system call, not by page faults.
 */
#include "internal.h"

#define GRAINS 64U
#define AHEAD_MAX 16U /* grains */
#define FILL_MOST \
	((size_t)8 << 10) /* 8 KiB: of larger blocks programs often use the beginning only */
#define KEEP_PART 4U	  /* of HAKMEM_KEEP_BYTES, that one heap may have in free blocks */
#define WORTH_PART 16U	  /* of a page: least to give back */

_Static_assert(HAK_PAGE_SLICES_MAX *HAK_SLICE <= 2 * GRAINS * HAK_OS_PAGE, "two OS pages at most");

static unsigned grain_shift(const struct page *pg)
{
	return (unsigned)__builtin_ctzll(HAK_OS_PAGE) + (pg->bytes > GRAINS * HAK_OS_PAGE);
}

static uint64_t bits_between(size_t first, size_t last)
{
	return ~(uint64_t)0 >> (63 - last) & ~(uint64_t)0 << first;
}

/* Grains that blocks first .. last have a part in. */
static uint64_t grains_of(const struct page *pg, size_t first, size_t last)
{
	unsigned shift = grain_shift(pg);

	return bits_between(first * pg->block_bytes >> shift,
			    ((last + 1) * pg->block_bytes - 1) >> shift);
}

static uint64_t all_grains(const struct page *pg)
{
	return bits_between(0, (pg->bytes - 1) >> grain_shift(pg));
}

static uint64_t bytes_in(const struct page *pg, uint64_t grains)
{
	return (uint64_t)__builtin_popcountll(grains) << grain_shift(pg);
}

static void count_gone(struct heap *h, const struct page *pg, uint64_t grains)
{
	uint64_t bytes = bytes_in(pg, grains);

	if (!bytes)
		return;
	h->gone += bytes;
	add_relaxed(&hakmem_root.class_gone[pg->class], bytes);
	add_relaxed(&arena_xuntouched, bytes);
}

static void count_back(struct heap *h, const struct page *pg, uint64_t grains)
{
	uint64_t bytes = bytes_in(pg, grains);

	if (!bytes)
		return;
	h->gone -= bytes;
	sub_relaxed(&hakmem_root.class_gone[pg->class], bytes);
	sub_relaxed(&arena_xuntouched, bytes);
}

/*
 * The program will write to all of these blocks. Not where it asked for zeroes before: then it may
 * leave them as they are.
 */
static bool will_be_filled(const struct heap *h, const struct page *pg)
{
	return pg->block_bytes <= FILL_MOST && !(h->left_zero >> pg->class & 1);
}

/* A grain for each full page of the class that h has: of what it uses a sixteenth. */
static uint8_t ahead(const struct heap *h, const struct page *of)
{
	uint8_t n = 0;

	if (hak_options.secure || !will_be_filled(h, of))
		return 0;
	for (const struct page *pg = h->full[of->class]; pg && n < AHEAD_MAX; pg = pg->next)
		n++;
	return n;
}

/* A new page; clean: it has no memory yet. */
void thin_begin(struct heap *h, struct page *pg, bool clean)
{
	pg->gone = clean ? all_grains(pg) : 0;
	pg->ahead = clean ? ahead(h, pg) : 0;
	pg->idle = false;
	poke(&pg->xfilled, !pg->zero || will_be_filled(h, pg));
	thin_join(h, pg);
}

/* A page comes to h, or leaves it, with its blocks in use. */
void thin_join(struct heap *h, const struct page *pg)
{
	h->held += pg->bytes;
	count_gone(h, pg, pg->gone);
}

void thin_leave(struct heap *h, const struct page *pg)
{
	h->held -= pg->bytes;
	count_back(h, pg, pg->gone);
}

/*
 * The first grains of `back` and those after them, as far as experience with the class says that
 * they will be used soon, get memory by one system call instead of by a page fault each; up to the
 * first that has some, which may be the program's. Those that were filled.
 */
static uint64_t fill(struct page *pg, uint64_t back)
{
	unsigned shift = grain_shift(pg), from = (unsigned)__builtin_ctzll(back);
	unsigned to = 63 - (unsigned)__builtin_clzll(back) + pg->ahead;
	uint64_t wanted = bits_between(from, to < GRAINS ? to : GRAINS - 1);
	unsigned n = bits_set_from(pg->gone & wanted, from);

	if (n < 2 ||
	    !os_fill(pg->start + ((size_t)from << shift), (size_t)n << shift, HAK_OS_ARENA))
		return 0;
	poke(&pg->xfilled, true);
	return bits_between(from, from + n - 1);
}

/* Blocks first .. last of a page, or some of them, are about to be used. */
void thin_touch(struct heap *h, struct page *pg, size_t first, size_t last)
{
	uint64_t back = pg->gone & grains_of(pg, first, last);

	if (!back)
		return;
	if (will_be_filled(h, pg))
		back |= fill(pg, back);
	pg->gone &= ~back;
	count_back(h, pg, back);
}

/* Grains in which every block is free. */
static uint64_t free_grains(const struct page *pg)
{
	uint64_t grains = all_grains(pg);

	for (size_t i = 0; i * 64 < pg->capacity && grains; i++) {
		size_t n = pg->capacity - i * 64;
		uint64_t used =
			~pg->bits[i] & (n < 64 ? segment_mask(0, (unsigned)n) : ~(uint64_t)0);

		for (; used; used &= used - 1) {
			size_t k = i * 64 + (size_t)__builtin_ctzll(used);

			grains &= ~grains_of(pg, k, k);
		}
	}
	return grains;
}

/* False if the system refuses. */
static bool give_grains(struct heap *h, struct page *pg, uint64_t grains, enum hak_os_reason why)
{
	unsigned shift = grain_shift(pg);

	huge_leave(pg->segment, segment_mask(pg->slice, pg->slices));
	poke(&pg->xfilled, false);
	while (grains) {
		unsigned first = (unsigned)__builtin_ctzll(grains);
		unsigned n = bits_set_from(grains, first);
		uint64_t run = bits_between(first, first + n - 1);

		if (!os_purge(pg->start + ((size_t)first << shift), (size_t)n << shift, why))
			return false;
		pg->gone |= run;
		pg->ahead = 0; /* its class does not grow */
		count_gone(h, pg, run);
		grains &= ~run;
	}
	return true;
}

static bool thin_page(struct heap *h, struct page *pg, enum hak_os_reason why)
{
	size_t room = (size_t)pg->nfree * pg->block_bytes;
	uint64_t grains;

	/* blocks smaller than a grain, half of them in use: hardly a grain is free */
	if (pg->block_bytes < HAK_OS_PAGE && room < pg->bytes / 2)
		return true;
	grains = free_grains(pg) & ~pg->gone;
	return bytes_in(pg, grains) < pg->bytes / WORTH_PART || give_grains(h, pg, grains, why);
}

/* The pages of a heap; by decay those that were not in use since the last time. */
void thin_all(struct heap *h, enum hak_os_reason why)
{
	for (unsigned c = 1; c < HAK_FIRST_RUN; c++) {
		for (struct page *pg = h->avail[c]; pg; pg = pg->next) {
			bool idle = pg->idle;

			pg->idle = true;
			if ((idle || why != HAK_OS_DECAY) && !thin_page(h, pg, why))
				return;
		}
	}
	h->thin_least = 0;
}

/* Bytes of free blocks that have memory, about. */
static uint64_t slack(const struct heap *h)
{
	uint64_t without = h->out_bytes + h->gone;

	return h->held > without ? h->held - without : 0;
}

/* h takes a page, or runs, that cost memory. */
void thin_for_page(struct heap *h)
{
	uint64_t keep = hak_options.keep_bytes / KEEP_PART, now = slack(h);

	if (now <= keep + h->out_bytes / 4 || now < h->thin_least)
		return;
	thin_all(h, HAK_OS_LIMIT);
	/* what could not be given back is looked at again when there is that much more */
	now = slack(h);
	h->thin_least = now + (now / 4 > HAK_SEGMENT ? now / 4 : HAK_SEGMENT);
}

/* Sums, and that no block in use is without memory; returns what is broken. */
unsigned thin_check(const struct heap *h)
{
	uint64_t held = 0, gone = 0, out = 0;
	unsigned bad = 0;

	for (unsigned c = 1; c < HAK_FIRST_RUN; c++) {
		for (int full = 0; full < 2; full++) {
			for (const struct page *pg = full ? h->full[c] : h->avail[c]; pg;
			     pg = pg->next) {
				held += pg->bytes;
				gone += bytes_in(pg, pg->gone);
				out += (uint64_t)(pg->capacity - pg->nfree) * pg->block_bytes;
				bad += (pg->gone & ~free_grains(pg)) != 0;
			}
		}
	}
	return bad + (held != h->held) + (gone != h->gone) + (out != h->out_bytes);
}
