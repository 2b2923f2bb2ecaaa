/*
 * Pages of a heap. Which blocks are free in a page is told by its bit mask, out of band: giving a
 * block back does not touch it, taking goes by address, and a second free of a block finds its
 * bit set.
 */
#include "internal.h"
#include "pagemap.h"

static void list_add(struct page **list, struct page *pg)
{
	pg->prev = NULL;
	pg->next = *list;
	if (pg->next)
		pg->next->prev = pg;
	*list = pg;
}

static void list_remove(struct page **list, struct page *pg)
{
	if (pg->prev)
		pg->prev->next = pg->next;
	else
		*list = pg->next;
	if (pg->next)
		pg->next->prev = pg->prev;
}

static void avail_add(struct heap *h, struct page *pg)
{
	list_add(&h->avail[pg->class], pg);
	poke(&h->xavail, h->xavail | (uint64_t)1 << pg->class);
}

static void avail_remove(struct heap *h, struct page *pg)
{
	list_remove(&h->avail[pg->class], pg);
	if (!h->avail[pg->class])
		poke(&h->xavail, h->xavail & ~((uint64_t)1 << pg->class));
}

static void set_all_free(struct page *pg)
{
	unsigned n = pg->capacity;

	for (unsigned i = 0; i < HAK_PAGE_WORDS && i * 64 < n; i++)
		poke(&pg->bits[i], n - i * 64 >= 64 ? ~(uint64_t)0 : segment_mask(0, n - i * 64));
	pg->nfree = (uint16_t)n;
	pg->hint = 0;
}

/*
 * The last bytes of a page are made untouchable: so many, 0 if the system refuses, or if that were
 * more than a quarter of the page.
 */
static size_t guard_end(const struct page *pg, unsigned slices)
{
	char *end = pg->start + slices * HAK_SLICE;

	if (slices * HAK_SLICE < 4 * HAK_OS_PAGE)
		return 0;
	return os_guard(end - HAK_OS_PAGE, HAK_OS_PAGE) ? HAK_OS_PAGE : 0;
}

/* False: the end of the page stays untouchable, and so the page is of use to its class only. */
static bool unguard_end(const struct page *pg)
{
	return !pg->map_bytes || os_commit(pg->start + pg->bytes - pg->map_bytes, pg->map_bytes);
}

/* A new page of the class on h's avail list; false when out of memory. */
bool page_new(struct heap *h, unsigned class, enum hak_source *source)
{
	unsigned slices = hakmem_root.page_bytes[class] >> HAK_SLICE_SHIFT;
	size_t size = hak_class_bytes[class];
	bool zero, clean;
	struct page *pg;

	if (!arena_alloc(slices, 1, &pg, source, &zero))
		return false;
	clean = zero && *source != HAK_SOURCE_FRESH;
	pg->block_bytes = (uint32_t)size;
	pg->reciprocal = (uint32_t)((((uint64_t)1 << 32) + size - 1) / size);
	pg->map_bytes = hak_options.secure ? guard_end(pg, slices) : 0;
	pg->capacity = (uint16_t)((slices * HAK_SLICE - pg->map_bytes) / size);
	pg->class = (uint8_t) class;
	pg->zero = zero;
	pg->fresh = 0;
	pg->bytes = slices * HAK_SLICE;
	poke(&pg->kind, PAGE_SMALL);
	poke(&pg->xowner, h);
	set_all_free(pg);
	arena_is_over();
	if (zero)
		thin_for_page(h);
	thin_begin(h, pg, clean);
	avail_add(h, pg);
	h->npages++;
	poke(&h->released, 0);
	pagemap_set(pg->start, slices, pg, class);
	add_relaxed(&hakmem_root.class_pages[class], 1);
	hak_probe_hakmem_page_new(class, (uintptr_t)pg->start, pg->bytes, *source);
	return true;
}

#define PREFETCH_LEAST 256U /* bytes; smaller ones the processor fetches in advance by itself */

/* Blocks first .. last leave a page; false if one of them may hold data. */
static bool note_taken(struct heap *h, struct page *pg, size_t first, size_t last)
{
	bool clean = pg->zero && first >= pg->fresh;

	pg->idle = false;
	if (pg->gone)
		thin_touch(h, pg, first, last);
	if (last >= pg->fresh)
		pg->fresh = (uint16_t)(last + 1);
	return clean;
}

/*
 * Takes up to `want` free blocks into out[], lowest address first; returns how many. *clean is
 * cleared if one of them was used before.
 */
static unsigned take_bits(struct heap *h, struct page *pg, unsigned want, void **out, bool *clean)
{
	size_t first = SIZE_MAX, k = 0;
	unsigned got = 0, was_used = pg->zero ? pg->fresh : pg->capacity;

	for (unsigned i = pg->hint; got < want && i * 64 < pg->capacity; i++) {
		uint64_t w = pg->bits[i];

		while (w && got < want) {
			k = i * 64 + (unsigned)__builtin_ctzll(w);
			if (!got)
				first = k;
			w &= w - 1;
			out[got] = pg->start + k * pg->block_bytes;
			/* soon written to; fetched now they all come at the same time */
			if (k < was_used && pg->block_bytes >= PREFETCH_LEAST)
				__builtin_prefetch(out[got], 1);
			got++;
		}
		poke(&pg->bits[i], w);
		pg->hint = (uint16_t)i;
	}
	pg->nfree = (uint16_t)(pg->nfree - got);
	if (!note_taken(h, pg, first, k))
		*clean = false;
	return got;
}

static void reverse(void **a, unsigned n)
{
	for (unsigned i = 0; i < n / 2; i++) {
		void *p = a[i];

		a[i] = a[n - 1 - i];
		a[n - 1 - i] = p;
	}
}

/*
 * Up to `want` blocks of the class from pages of h; returns how many. The lowest is out[]'s last,
 * the first to be handed out. The blocks themselves are not touched. *clean: all are zero.
 */
unsigned page_take(struct heap *h, unsigned class, unsigned want, void **out, bool *clean)
{
	unsigned got = 0;

	*clean = true;
	while (got < want && h->avail[class]) {
		struct page *pg = h->avail[class];

		got += take_bits(h, pg, want - got, out + got, clean);
		if (pg->nfree)
			break;
		avail_remove(h, pg);
		list_add(&h->full[class], pg);
	}
	reverse(out, got);
	h->out += got;
	h->out_bytes += (uint64_t)got * hak_class_bytes[class];
	return got;
}

/*
 * One block of the class, which has a page with some: whichever `luck`, a random number, says.
 */
void *page_take_any(struct heap *h, unsigned class, uint64_t luck)
{
	struct page *pg = h->avail[class];
	unsigned words = (pg->capacity + 63U) / 64, i = (unsigned)(luck >> 32) % words, turn;
	uint64_t turned;
	size_t k;

	while (!pg->bits[i])
		i = i + 1 < words ? i + 1 : 0;
	turn = luck % 64;
	turned = pg->bits[i] >> turn | (turn ? pg->bits[i] << (64 - turn) : 0);
	k = i * 64 + ((unsigned)__builtin_ctzll(turned) + turn) % 64;
	pg->bits[i] &= ~((uint64_t)1 << k % 64);
	note_taken(h, pg, k, k);
	h->out++;
	h->out_bytes += pg->block_bytes;
	if (--pg->nfree == 0) {
		avail_remove(h, pg);
		list_add(&h->full[class], pg);
	}
	return pg->start + k * pg->block_bytes;
}

static void release(struct heap *h, struct page *pg, enum hak_flush_reason why)
{
	unsigned class = pg->class;

	if (unlikely(!unguard_end(pg)))
		return; /* stays, empty, until next time */
	avail_remove(h, pg);
	thin_leave(h, pg);
	h->npages--;
	poke(&h->released, h->released + 1);
	sub_relaxed(&hakmem_root.class_pages[class], 1);
	hak_probe_hakmem_page_free(class, (uintptr_t)pg->start, pg->bytes, why);
	arena_free(&pg, 1);
}

/* One empty page of one slice is kept per class while it is the class's only one with room. */
static bool worth_keeping(const struct page *pg)
{
	return pg->slices == 1 && !pg->next && !pg->prev;
}

/* Sets the bit of a block; false, and says so, if it cannot be freed. */
HAK_INLINE bool set_free(struct page *pg, void *p)
{
	uint64_t bit;
	size_t k;

	if (unlikely(!page_index(pg, p, &k))) {
		hak_misuse(p, HAK_MISUSE_MISALIGNED, "free");
		return false;
	}
	bit = (uint64_t)1 << (k % 64);
	if (unlikely((pg->bits[k / 64] & bit) || (k < 64 && peek(&pg->xmoving) & bit))) {
		hak_misuse(p, HAK_MISUSE_DOUBLE_FREE, "free");
		return false;
	}
	poke(&pg->bits[k / 64], pg->bits[k / 64] | bit);
	if (k / 64 < pg->hint)
		pg->hint = (uint16_t)(k / 64);
	return true;
}

/* Blocks of a page of h have become free. */
HAK_INLINE void note_given(struct heap *h, struct page *pg, uint32_t given,
			   enum hak_flush_reason why)
{
	bool was_full = pg->nfree == 0;

	h->out -= given;
	h->out_bytes -= (uint64_t)given * pg->block_bytes;
	pg->idle = false;
	pg->nfree = (uint16_t)(pg->nfree + given);
	if (was_full && given) {
		list_remove(&h->full[pg->class], pg);
		avail_add(h, pg);
	}
	if (pg->nfree == pg->capacity && !worth_keeping(pg))
		release(h, pg, why);
}

/* n blocks that lie in a page of h become free in it. */
void page_give(struct heap *h, struct page *pg, void **blocks, uint32_t n,
	       enum hak_flush_reason why)
{
	uint32_t given = 0;

	for (uint32_t i = 0; i < n; i++)
		given += set_free(pg, blocks[i]);
	note_given(h, pg, given, why);
}

/* The same for blocks 64 * word + i where bit i of mask is set. False: some of them do not exist.
 */
bool page_give_mask(struct heap *h, struct page *pg, size_t word, uint64_t mask,
		    enum hak_flush_reason why)
{
	size_t capacity = pg->capacity;
	uint64_t twice;

	if (unlikely(capacity - word * 64 < 64 && mask >> (capacity - word * 64)))
		return false;
	twice = (pg->bits[word] | (word ? 0 : peek(&pg->xmoving))) & mask;
	if (unlikely(twice)) {
		size_t k = word * 64 + (size_t)__builtin_ctzll(twice);

		hak_misuse(pg->start + k * pg->block_bytes, HAK_MISUSE_DOUBLE_FREE, "free");
		mask &= ~twice;
	}
	poke(&pg->bits[word], pg->bits[word] | mask);
	if (word < pg->hint)
		pg->hint = (uint16_t)word;
	note_given(h, pg, (uint32_t)__builtin_popcountll(mask), why);
	return true;
}

void page_release_empty(struct heap *h, enum hak_flush_reason why)
{
	for (unsigned c = 1; c < HAK_CLASSES; c++) {
		struct page *next;

		for (struct page *pg = h->avail[c]; pg; pg = next) {
			next = pg->next;
			if (pg->nfree == pg->capacity)
				release(h, pg, why);
		}
	}
}

#define SCAN_PAGES 4U /* pages of a living heap looked at for one to take */

/* A living heap parts with a page at least half free, and not with its only one. */
static struct page *page_to_spare(const struct heap *from, unsigned class)
{
	struct page *pg = from->avail[class];
	unsigned n = 0;

	if (!pg || peek(&from->view.state) == HAK_HEAP_IDLE)
		return pg;
	if (!pg->next)
		return NULL;
	for (; pg && n < SCAN_PAGES; pg = pg->next, n++)
		if (pg->nfree >= pg->capacity / 2)
			return pg;
	return NULL;
}

/* A page of the class moves from one heap to another, both locked; its blocks in use, or -1. */
int64_t page_steal(struct heap *to, struct heap *from, unsigned class)
{
	struct page *pg = page_to_spare(from, class);
	unsigned out;

	if (!pg)
		return -1;
	out = pg->capacity - pg->nfree;
	avail_remove(from, pg);
	thin_leave(from, pg);
	thin_join(to, pg);
	from->npages--;
	from->out -= out;
	from->out_bytes -= (uint64_t)out * pg->block_bytes;
	/* a thread that reads the old owner sends there; its queue is forwarded */
	poke(&pg->xowner, to);
	avail_add(to, pg);
	to->npages++;
	to->out += out;
	to->out_bytes += (uint64_t)out * pg->block_bytes;
	return out;
}

static unsigned check_page(const struct page *pg, const struct heap *h, bool full)
{
	unsigned bits = 0, bad = 0;

	for (unsigned i = 0; i * 64 < pg->capacity; i++) {
		bits += (unsigned)__builtin_popcountll(pg->bits[i]);
		bad += i < pg->hint && pg->bits[i];
	}
	bad += bits != pg->nfree;
	bad += (peek(&pg->xmoving) & pg->bits[0]) != 0;
	bad += full != (pg->nfree == 0);
	bad += pg->kind != PAGE_SMALL || peek(&pg->xowner) != h;
	bad += pagemap_page(pg->start) != pg || pagemap_class(pg->start) != pg->class;
	return bad;
}

/* Pages of a heap nobody else is using; returns the number of broken invariants. */
unsigned page_check(const struct heap *h)
{
	uint64_t pages = 0, out = 0;
	unsigned bad = 0;

	for (unsigned c = 1; c < HAK_CLASSES; c++) {
		for (int full = 0; full < 2; full++) {
			for (const struct page *pg = full ? h->full[c] : h->avail[c]; pg;
			     pg = pg->next) {
				bad += check_page(pg, h, full) + (pg->class != c);
				out += pg->capacity - pg->nfree;
				pages++;
			}
		}
	}
	for (unsigned c = 1; c < HAK_CLASSES; c++)
		bad += (h->avail[c] != NULL) != (h->xavail >> c & 1);
	return bad + (pages != h->npages) + (out != h->out);
}
