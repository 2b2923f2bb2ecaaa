/*
 * Huge pages for spans of their own, see large.c.
 *
 * What the last span of about the same length holds, or held when it was freed, tells what the next
 * one will: one that malloc maps is of huge pages if that was written to. Without one, the last of
 * any length does, if it was not much shorter; without any, it is as the heap. A span that realloc
 * makes longer tells for itself. Never for calloc: who wants zeroes may leave them.
 */
#include "internal.h"

#define SPAN_LEAST (4 * HAK_HALF) /* 8 MiB: a huge page at its end is a quarter at most */
#define GROWN_TIMES 4U		  /* longer than before, at most */
#define FIRST_PART 4U		  /* of what is in use: a span without one before */
#define LENGTHS 8U		  /* of 8, 16, 32 .. 1024 MiB and more */

/*
 * The last span of each length. Any thread writes, the words are not of one instant: at worst OS
 * pages are asked about that are not of the span, and the next one gets the other kind of pages.
 */
static struct {
	char *xstart;  /* NULL: it is free, or somewhere else */
	size_t xbytes; /* of it that the program may have written to; 0: there was none */
	bool xdense;   /* when it was freed */
} last[LENGTHS];
static uint32_t xlatest; /* index of the one that was remembered last */

static unsigned length_of(size_t bytes)
{
	unsigned i = 63 - (unsigned)__builtin_clzll(bytes / SPAN_LEAST | 1);

	return i < LENGTHS ? i : LENGTHS - 1;
}

static void remember(const struct page *pg, size_t bytes)
{
	unsigned i = length_of(pg->map_bytes);

	poke(&last[i].xbytes, bytes);
	poke(&last[i].xstart, pg->start);
	poke(&xlatest, i);
}

/* Index of the span, LENGTHS if it is not remembered. */
static unsigned index_of(const char *start)
{
	unsigned i = 0;

	while (i < LENGTHS && peek(&last[i].xstart) != start)
		i++;
	return i;
}

static void forget(unsigned i, bool dense)
{
	poke(&last[i].xdense, dense);
	poke(&last[i].xstart, NULL);
}

static bool was_dense(unsigned i)
{
	const char *start = peek(&last[i].xstart);

	return start ? huge_is_dense(start, peek(&last[i].xbytes)) : peek(&last[i].xdense);
}

static bool will_be_dense(size_t bytes)
{
	unsigned i = length_of(bytes);

	if (!peek(&last[i].xbytes))
		i = peek(&xlatest);
	if (peek(&last[i].xbytes))
		return bytes / GROWN_TIMES <= peek(&last[i].xbytes) && was_dense(i);
	return bytes <= peek(&hakmem_root.now.used_bytes) / FIRST_PART && huge_heap_grows();
}

static bool is_long(const struct page *pg)
{
	return pg->map_bytes >= SPAN_LEAST && huge_wanted();
}

static void be_huge(struct page *pg)
{
	os_huge(pg->start, pg->map_bytes);
	pg->span_pages = SPAN_HUGE;
}

/* It was mapped, for who will write to it: not for calloc. */
void span_mapped(struct page *pg)
{
	if (!is_long(pg))
		return;
	if (will_be_dense(pg->map_bytes))
		be_huge(pg);
	remember(pg, pg->map_bytes);
}

/*
 * It became longer than the part that was the program's until now, and may have moved from
 * somewhere else. Who filled that goes on. All of it: several mappings could not be moved as one.
 */
void span_grown(struct page *pg, size_t part, const char *from)
{
	unsigned i = index_of(from);
	bool dense = (i < LENGTHS || is_long(pg)) && huge_is_dense(pg->start, part);

	if (i < LENGTHS)
		forget(i, dense);
	if (!is_long(pg))
		return;
	if (dense && pg->map_bytes / GROWN_TIMES <= part) {
		be_huge(pg);
	} else if (pg->span_pages == SPAN_HUGE) {
		os_plain(pg->start, pg->map_bytes);
		pg->span_pages = SPAN_PLAIN;
	}
	remember(pg, part);
}

/* It is about to be free. */
void span_freed(const struct page *pg)
{
	unsigned i = index_of(pg->start);

	if (unlikely(i < LENGTHS))
		forget(i, huge_is_dense(pg->start, peek(&last[i].xbytes)));
}

/* It became shorter. */
void span_cut(const struct page *pg)
{
	unsigned i = index_of(pg->start);

	if (i < LENGTHS && pg->map_bytes < peek(&last[i].xbytes))
		poke(&last[i].xbytes, pg->map_bytes);
}

/*
 * The system took this of a span of huge pages. Of one that reached beyond it would keep all until
 * it is short of memory, see huge_leave(): those are split.
 */
void span_gone(char *start, size_t bytes)
{
	char *end = start + bytes;

	if ((uintptr_t)start % HAK_HALF)
		os_split(start - HAK_OS_PAGE_LEAST);
	if ((uintptr_t)end % HAK_HALF)
		os_split(end);
}

/* Of a span that may be grown: the system moves whole huge pages to places as aligned only. */
size_t span_alignment(size_t bytes)
{
	return bytes >= SPAN_LEAST && huge_wanted() ? HAK_HALF : HAK_SLICE;
}
