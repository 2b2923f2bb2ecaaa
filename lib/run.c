/*
 * The classes above a slice: each block is a run of slices, a page of its own without an owner.
 * Whoever flushes it gives it to the arena, where its memory can be purged: no block keeps others'
 * memory from that, as in a page of several.
 */
#include "internal.h"
#include "pagemap.h"

static void *enter(struct page *pg, unsigned class, enum hak_source source, bool clean)
{
	pg->bytes = pg->block_bytes = hak_class_bytes[class];
	pg->class = (uint8_t) class;
	pg->zero = clean;
	pagemap_set(pg->start, pg->slices, pg, class);
	hak_probe_hakmem_page_new(class, (uintptr_t)pg->start, pg->bytes, source);
	return pg->start;
}

/* Up to `want` blocks of the class; how many, 0 when out of memory. *clean: they are zero. */
unsigned run_take(unsigned class, unsigned want, void **out, enum hak_source *source, bool *clean)
{
	unsigned slices = hakmem_root.page_bytes[class] >> HAK_SLICE_SHIFT, got;
	struct page *pages[HAK_RUNS_MAX];

	got = arena_alloc(slices, want < HAK_RUNS_MAX ? want : HAK_RUNS_MAX, pages, source, clean);
	for (unsigned i = 0; i < got; i++)
		out[got - 1 - i] = enter(pages[i], class, *source, *clean);
	add_relaxed(&hakmem_root.class_pages[class], got);
	add_relaxed(&arena_xuntouched, got * (HAK_SLICE / 2));
	arena_is_over();
	return got;
}

/* The page of a block that is a run, NULL if p is none, or not any more. */
static struct page *leave(const void *p, enum hak_flush_reason why)
{
	struct page *pg = pagemap_page(p);

	if (!pg || peek(&pg->kind) != PAGE_RUN || !class_is_run(pg->class) || pg->start != p)
		return NULL;
	poke(&pg->kind, PAGE_UNUSED); /* if it is among these blocks twice it is found so */
	sub_relaxed(&hakmem_root.class_pages[pg->class], 1);
	sub_relaxed(&arena_xuntouched, HAK_SLICE / 2);
	hak_probe_hakmem_page_free(pg->class, (uintptr_t)pg->start, pg->bytes, why);
	return pg;
}

/* The first of n blocks, and those after it, as far as they are runs. Returns how many. */
unsigned run_give(void **blocks, uint64_t n, enum hak_flush_reason why)
{
	struct page *pages[HAK_RUNS_MAX];
	unsigned given = 0;

	while (given < n && given < HAK_RUNS_MAX && (pages[given] = leave(blocks[given], why)))
		given++;
	if (given)
		arena_free(pages, given);
	return given;
}
