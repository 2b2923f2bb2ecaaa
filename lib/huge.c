/*
 * Huge pages, for a heap that grows and is written to. Those of spans: span.c.
 *
 * Half a segment is as long as a huge page, and as aligned. When the first slice is taken of one
 * that has no memory, all of it gets its memory by one system call, as a huge page if there is one
 * to be had, if
 *   - the halves before it were taken like that, too, and little was given back meanwhile: then the
 *     rest of this one will be used soon;
 *   - of a few OS pages, anywhere in those, nearly all were written to: then this one's will be.
 * Where it turns out otherwise, the rest is unused memory, and goes back as such. A half that gives
 * back any of its memory is plain again.
 */
#include "internal.h"
#include "pagemap.h"

#define LAST 8U			      /* halves that are remembered */
#define LOOKS 2U		      /* at OS pages of each */
#define UNWRITTEN_MOST 3U	      /* of them: of the last half not all is in use yet */
#define WORDS 16U		      /* looked at in an OS page, as long as they are zero */
#define GROWN_LEAST (LAST * HAK_HALF) /* 16 MiB */
#define GIVEN_COUNTS 16U	      /* times as much: who gives back does not grow */
#define USED_PARTS 8U		      /* of what is in use: a half, and what is not touched of it */
#define MARKED_MOST 16384U	      /* halves: each may be a mapping of its own, of 65530 */

static char *xlast[LAST]; /* lock ARENA to write: halves that were opened */
static uint64_t opened;	  /* lock ARENA: how many there were */
static uint64_t xgrown;	  /* lock ARENA to write: their bytes of late, less what was given back */
static uint32_t xmarked;  /* halves that were huge pages once: bits 2 and 3 of a segment's xhuge */
static bool xopening;	  /* set with lock ARENA: a half is getting its memory */
static bool xrefused;	  /* set by who gives it, cleared with lock ARENA: too little is written */

/* Guard pages would divide them, and on larger OS pages they are longer. */
bool huge_wanted(void)
{
	/* NOLINTNEXTLINE(misc-redundant-expression): the two differ elsewhere */
	bool fit = HAK_OS_PAGE == HAK_OS_PAGE_LEAST;

	return fit && hak_options.huge && !hak_options.secure && os_may_fill();
}

static uint64_t half_of(unsigned slice)
{
	return segment_mask(slice / HAK_HALF_SLICES * HAK_HALF_SLICES, HAK_HALF_SLICES);
}

/*
 * Nearly all of what is in use is touched, and would be if this half were: where many threads have
 * pages of many classes, much of those is not yet. And the half's rest may stay unused.
 */
static bool is_worth_it(void)
{
	size_t part = limit_in_use() / USED_PARTS;

	return HAK_HALF <= part && peek(&arena_xuntouched) <= part && HAK_HALF <= limit_room();
}

/*
 * A run is about to be taken of s. True if it opens a half, the one from slice *at on, and that is
 * to be filled: huge_end() has to follow. Lock ARENA held.
 */
bool huge_begin(const struct segment *s, unsigned first, unsigned slices, unsigned *at)
{
	uint64_t half = half_of(first + slices - 1);

	*at = (unsigned)__builtin_ctzll(half);
	if (first % HAK_HALF_SLICES + slices <= HAK_HALF_SLICES && first != *at)
		return false; /* within a half that was opened before */
	if ((s->free & half) != half || s->dirty & half)
		return false;
	poke(&xlast[opened++ % LAST], s->base + *at * HAK_SLICE);
	if (xgrown < 2 * GROWN_LEAST)
		poke(&xgrown, xgrown + HAK_HALF);
	if (peek(&xrefused)) { /* asked again when half of those that are looked at are others */
		poke(&xrefused, false);
		if (xgrown > GROWN_LEAST / 2)
			poke(&xgrown, GROWN_LEAST / 2);
	}
	if (xgrown <= GROWN_LEAST || peek(&xopening) || !huge_wanted() ||
	    peek(&xmarked) >= MARKED_MOST || !is_worth_it())
		return false;
	poke(&xopening, true);
	return true;
}

void huge_end(void)
{
	poke(&xopening, false);
}

/* The arena gives back so many bytes; lock ARENA held. */
void huge_note_given(size_t bytes)
{
	uint64_t less = GIVEN_COUNTS * bytes;

	poke(&xgrown, xgrown > less ? xgrown - less : 0);
}

static bool holds_data(const char *os_page)
{
	for (unsigned i = 0; i < WORDS; i++)
		if (os_holds_data(os_page + i * (HAK_OS_PAGE_LEAST / WORDS)))
			return true;
	return false;
}

/* Whether the program, or we for it, wrote to an OS page of the arena. */
static bool is_written(const char *p)
{
	const struct page *pg = pagemap_page(p);

	return pg && ((peek(&pg->kind) == PAGE_SMALL && peek(&pg->xfilled)) || holds_data(p));
}

/* An OS page of so many bytes, another one each time: multiples of a large odd number. */
static const char *any_of(const char *p, size_t bytes)
{
	static uint32_t xturn;
	uint32_t luck = __atomic_add_fetch(&xturn, 1, __ATOMIC_RELAXED) * 2654435769U;

	return p + ((uint64_t)luck * (bytes / HAK_OS_PAGE_LEAST) >> 32) * HAK_OS_PAGE_LEAST;
}

/* A few OS pages of the halves that were opened before this one, NULL: of the last ones. */
static bool are_written(const char *half)
{
	unsigned not = 0;

	for (unsigned i = 0; i < LAST * LOOKS && not <= UNWRITTEN_MOST; i++) {
		const char *p = peek(&xlast[i % LAST]);

		not += p != half && !is_written(any_of(p, HAK_HALF));
	}
	return not <= UNWRITTEN_MOST;
}

/* Whether nearly all of so many bytes was written to, as a few OS pages of it are. */
bool huge_is_dense(const char *p, size_t bytes)
{
	unsigned not = 0;

	for (unsigned i = 0; i < LAST * LOOKS && not <= UNWRITTEN_MOST; i++)
		not += !holds_data(any_of(p, bytes));
	return not <= UNWRITTEN_MOST;
}

/* Whether the heap would get huge pages for what it takes next. */
bool huge_heap_grows(void)
{
	return peek(&xgrown) > GROWN_LEAST && are_written(NULL);
}

/* The half of s from slice `at` on gets its memory. False: it does not. Lock ARENA is not held. */
bool huge_fill(struct segment *s, unsigned at)
{
	uint8_t bit = (uint8_t)(1U << at / HAK_HALF_SLICES), was;
	char *half = s->base + at * HAK_SLICE;

	if (!are_written(half)) {
		poke(&xrefused, true);
		return false;
	}
	/* refused: it comes when it is touched, all at once or not; some may have come */
	os_huge(half, HAK_HALF);
	os_fill(half, HAK_HALF, HAK_OS_ARENA);
	was = __atomic_fetch_or(&s->xhuge, bit | bit << 2, __ATOMIC_RELAXED);
	if (!(was & bit << 2))
		add_relaxed(&xmarked, 1);
	return true;
}

/* The segment's address space is about to go. */
void huge_forget(struct segment *s)
{
	uint8_t was = __atomic_exchange_n(&s->xhuge, 0, __ATOMIC_RELAXED);

	sub_relaxed(&xmarked, (uint32_t)__builtin_popcount(was >> 2));
}

/*
 * Memory of these slices is about to be given back, or a part of it. Of a huge page that loses
 * parts the system keeps all, and only does not count it any more, until it is short of memory: so
 * it is split before. Any thread.
 */
void huge_leave(struct segment *s, uint64_t slices)
{
	for (unsigned i = 0; i < HAK_SEGMENT / HAK_HALF; i++) {
		uint8_t bit = (uint8_t)(1U << i);
		uint64_t half = half_of(i * HAK_HALF_SLICES), part = slices & half;

		if (likely(!(peek(&s->xhuge) & bit)) || !part ||
		    !(__atomic_fetch_and(&s->xhuge, (uint8_t)~bit, __ATOMIC_RELAXED) & bit))
			continue;
		os_plain(s->base + i * HAK_HALF, HAK_HALF);
		if (part != half)
			os_split(s->base + (size_t)__builtin_ctzll(part) * HAK_SLICE);
	}
}
