/*
 * Marked blocks: those whose free has to be looked at, since they are sampled or counted by site.
 * Blocks of a class lie in pages of their own, of which the class map knows nothing: so their frees
 * take the slow path like those of large blocks, and the frees of all other blocks cost what they
 * always do. No heap owns these pages, and no cache holds their blocks. Few blocks are sampled, so
 * one lock does for all threads. A large block has its mark at its descriptor.
 */
#include "internal.h"
#include "pagemap.h"

/* As a heap's own lock it is held over system calls, where a new page is needed. */
struct lock marks_lock = {.id = HAK_LOCK_MARKS};

/* lock MARKS */
static struct page *avail[HAK_CLASSES];	 /* pages with free blocks */
static struct mark *spare[HAK_CLASSES];	 /* marks of former pages; class 0: of large blocks */
static uint64_t pages_held, blocks_held; /* for marked_check */

/* Marks for a page with so many blocks; the first holds a link while they are spare. */
static struct mark *marks_new(unsigned class, size_t n)
{
	struct mark *m = spare[class];

	if (!m)
		return meta_alloc(n * sizeof(*m));
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	spare[class] = (struct mark *)(uintptr_t)m->bytes;
	*m = (struct mark){0};
	return m;
}

static void marks_drop(unsigned class, struct mark *m)
{
	m->bytes = (uintptr_t)spare[class];
	spare[class] = m;
}

static void list_add(struct page *pg)
{
	struct page **list = &avail[pg->class];

	pg->prev = NULL;
	pg->next = *list;
	if (pg->next)
		pg->next->prev = pg;
	*list = pg;
}

static void list_remove(struct page *pg)
{
	if (pg->prev)
		pg->prev->next = pg->next;
	else
		avail[pg->class] = pg->next;
	if (pg->next)
		pg->next->prev = pg->prev;
}

static void set_all_free(struct page *pg)
{
	for (size_t i = 0; i < HAK_PAGE_WORDS; i++)
		pg->bits[i] = 0;
	for (size_t k = 0; k < pg->capacity; k++)
		pg->bits[k / 64] |= (uint64_t)1 << k % 64;
	pg->nfree = pg->capacity;
}

static bool page_begin(unsigned class, enum hak_source *source)
{
	unsigned slices = hakmem_root.page_bytes[class] >> HAK_SLICE_SHIFT;
	size_t size = hak_class_bytes[class];
	struct page *pg;
	bool zero;

	if (!arena_alloc(slices, 1, &pg, source, &zero))
		return false;
	pg->block_bytes = (uint32_t)size;
	pg->reciprocal = (uint32_t)((((uint64_t)1 << 32) + size - 1) / size);
	pg->capacity = (uint16_t)(slices * HAK_SLICE / size);
	pg->class = (uint8_t) class;
	pg->zero = 0; /* calloc clears */
	pg->bytes = slices * HAK_SLICE;
	pg->map_bytes = 0;
	pg->marks = marks_new(class, pg->capacity);
	if (!pg->marks) {
		arena_free(&pg, 1);
		return false;
	}
	poke(&pg->xowner, NULL);
	poke(&pg->kind, PAGE_MARKED);
	set_all_free(pg);
	list_add(pg);
	pages_held++;
	pagemap_set(pg->start, slices, pg, 0);
	add_relaxed(&hakmem_root.class_pages[class], 1);
	hak_probe_hakmem_page_new(class, (uintptr_t)pg->start, pg->bytes, *source);
	return true;
}

static void page_end(struct page *pg)
{
	list_remove(pg);
	pages_held--;
	marks_drop(pg->class, pg->marks);
	pg->marks = NULL;
	sub_relaxed(&hakmem_root.class_pages[pg->class], 1);
	hak_probe_hakmem_page_free(pg->class, (uintptr_t)pg->start, pg->bytes, HAK_FLUSH_OVERFLOW);
	arena_free(&pg, 1);
}

static void *take(struct page *pg, const struct mark *m)
{
	size_t i = 0, k;

	while (!pg->bits[i])
		i++;
	k = i * 64 + (size_t)__builtin_ctzll(pg->bits[i]);
	poke(&pg->bits[i], pg->bits[i] & (pg->bits[i] - 1));
	pg->marks[k] = *m;
	blocks_held++;
	if (--pg->nfree == 0)
		list_remove(pg);
	return pg->start + k * pg->block_bytes;
}

/* A block of the class with such a mark; NULL when out of memory. */
void *marked_take(unsigned class, const struct mark *m, enum hak_source *source)
{
	void *p = NULL;

	lock_take(&marks_lock);
	*source = HAK_SOURCE_PAGE;
	if (avail[class] || page_begin(class, source))
		p = take(avail[class], m);
	lock_drop(&marks_lock);
	if (*source != HAK_SOURCE_PAGE)
		arena_is_over();
	return p;
}

/*
 * p, in a marked page, is about to be freed: what its mark was. False, reported, if it is not a
 * live block: of two threads that free it one comes second. It stays allocated until marked_give.
 */
bool marked_claim(struct page *pg, void *p, struct mark *m)
{
	enum hak_misuse why = HAK_MISUSE_DOUBLE_FREE; /* also if the page is gone by now */
	bool live = false;
	size_t k = 0;

	lock_take(&marks_lock);
	if (unlikely(pg->kind == PAGE_MARKED && !page_index(pg, p, &k))) {
		why = HAK_MISUSE_MISALIGNED;
	} else if (likely(pg->kind == PAGE_MARKED)) {
		*m = pg->marks[k];
		live = m->live;
		pg->marks[k] = (struct mark){0};
	}
	lock_drop(&marks_lock);
	if (unlikely(!live))
		hak_misuse(p, why, "free");
	return live;
}

/* An empty page stays while it is the only one of its class with room. */
static bool worth_keeping(const struct page *pg)
{
	return pg->slices == 1 && !pg->next && !pg->prev;
}

void marked_give(struct page *pg, void *p)
{
	size_t k;

	lock_take(&marks_lock);
	hak_assert(page_index(pg, p, &k));
	poke(&pg->bits[k / 64], pg->bits[k / 64] | (uint64_t)1 << k % 64);
	blocks_held--;
	if (pg->nfree++ == 0)
		list_add(pg);
	if (pg->nfree == pg->capacity && !worth_keeping(pg))
		page_end(pg);
	lock_drop(&marks_lock);
}

/* 0 if p is not a live block of the page. */
size_t marked_usable(const struct page *pg, const void *p)
{
	size_t k;

	if (!page_index(pg, p, &k) || peek(&pg->bits[k / 64]) >> k % 64 & 1)
		return 0;
	return pg->block_bytes;
}

/* A large block gets a mark, or another one; false when out of memory. */
bool marked_set_large(struct page *pg, const struct mark *m)
{
	struct mark *mine;

	lock_take(&marks_lock);
	mine = pg->marks ? pg->marks : marks_new(0, 1);
	if (mine) {
		*mine = *m;
		poke(&pg->marks, mine);
	}
	lock_drop(&marks_lock);
	return mine != NULL;
}

/* It has none any more; false if it had none. */
bool marked_clear_large(struct page *pg, struct mark *m)
{
	struct mark *mine;

	lock_take(&marks_lock);
	mine = pg->marks;
	if (mine) {
		*m = *mine;
		poke(&pg->marks, NULL);
		marks_drop(0, mine);
	}
	lock_drop(&marks_lock);
	return mine != NULL;
}

/* The record of the profile that is of this block, which is live and marked. */
void marked_record(struct page *pg, const void *p, uint32_t record)
{
	size_t k = 0;

	lock_take(&marks_lock);
	if (pg->kind != PAGE_MARKED || page_index(pg, p, &k))
		pg->marks[k].record = record;
	lock_drop(&marks_lock);
}

static unsigned check_page(const struct page *pg)
{
	unsigned free = 0, bad = 0;

	for (size_t k = 0; k < pg->capacity; k++) {
		bool is_free = pg->bits[k / 64] >> k % 64 & 1;

		free += is_free;
		bad += is_free && pg->marks[k].live;
	}
	bad += free != pg->nfree || !free;
	bad += pg->kind != PAGE_MARKED || pagemap_page(pg->start) != pg ||
	       pagemap_class(pg->start) != 0;
	return bad;
}

/* Pages with room; returns the number of broken invariants. */
unsigned marked_check(void)
{
	unsigned bad = 0;
	uint64_t n = 0;

	lock_take(&marks_lock);
	for (unsigned c = 1; c < HAK_CLASSES; c++)
		for (const struct page *pg = avail[c]; pg; pg = pg->next, n++)
			bad += check_page(pg) + (pg->class != c);
	bad += n > pages_held;
	lock_drop(&marks_lock);
	if (bad)
		hak_say("check: marked pages break invariants: ", bad, "");
	return bad;
}
