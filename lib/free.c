/* What is not a cache hit: the slow halves of malloc and free, and pointers looked up whole. */
#include "cache.h"

/* The thread's cache of the class is empty, or it has no heap yet. */
HAK_COLD void *alloc_slow(size_t bytes, struct hak_bin *bin)
{
	unsigned class = (unsigned)(bin - hak_thread.heap->view.bin);
	struct heap *h = heap_enter();
	void *p = NULL;

	if (h) {
		p = cache_pop(&h->view.bin[class]); /* a heap just taken over may have some */
		if (!p)
			p = cache_refill_alloc(h, class);
		heap_leave(h);
	}
	return p ? p : hak_oom(bytes, h ? HAK_OOM_NO_MEMORY : HAK_OOM_NO_METADATA);
}

static struct page *large_count_alloc(struct heap *h, size_t bytes, size_t alignment, bool *hit)
{
	struct page *pg = large_alloc(h, bytes, alignment, hit);

	if (pg)
		cache_large_alloc(h, pg->bytes, *hit);
	return pg;
}

/* alignment: 0 or a power of two. Also serves small sizes with an alignment above a slice. */
HAK_NOINLINE void *alloc_large(size_t bytes, size_t alignment)
{
	struct page *pg = NULL;
	struct heap *h;
	bool hit = false;

	if (unlikely(bytes > PTRDIFF_MAX || alignment > PTRDIFF_MAX))
		return hak_oom(bytes, HAK_OOM_TOO_LARGE);
	h = heap_enter_light();
	if (likely(h != NULL)) {
		pg = large_count_alloc(h, bytes, alignment, &hit);
		heap_leave_light(h);
		return pg ? pg->start : hak_oom(bytes, HAK_OOM_NO_MEMORY);
	}
	h = heap_enter();
	if (h) {
		pg = large_count_alloc(h, bytes, alignment, &hit);
		heap_leave(h);
	}
	return pg ? pg->start : hak_oom(bytes, h ? HAK_OOM_NO_MEMORY : HAK_OOM_NO_METADATA);
}

static bool is_live_large(const struct page *pg)
{
	unsigned kind = peek(&pg->kind);

	return kind == PAGE_RUN || kind == PAGE_MAPPED;
}

/* Why p, whose class is 0, is not the start of a live large block. pg: what the pagemap says. */
static enum hak_misuse why_not_large(const struct page *pg)
{
	if (!pg)
		return HAK_MISUSE_FOREIGN;
	return is_live_large(pg) ? HAK_MISUSE_MISALIGNED : HAK_MISUSE_DOUBLE_FREE;
}

static void free_large(struct heap *h, void *p)
{
	struct page *pg = pagemap_page(p);

	if (unlikely(!pg || pg->start != p || !is_live_large(pg))) {
		hak_misuse(p, why_not_large(pg), "free");
		return;
	}
	cache_large_free(h, pg->bytes);
	large_free(h, pg);
}

HAK_COLD void free_slow(void *p)
{
	unsigned class = pagemap_class(p);
	struct heap *h;

	if (!p)
		return;
	if (class == 0 && (h = heap_enter_light())) {
		free_large(h, p);
		heap_leave_light(h);
		return;
	}
	h = heap_enter();
	if (!h)
		return; /* no memory for a heap: the block is lost, the program goes on */
	if (class == 0)
		free_large(h, p);
	else if (*h->view.bin[class].top == p)
		hak_misuse(p, HAK_MISUSE_DOUBLE_FREE, "free");
	else if (!cache_push(&h->view.bin[class], p))
		cache_free_full(h, p, class);
	heap_leave(h);
}

/* 0 for NULL and for what is not a block of ours. */
size_t usable_size(const void *p)
{
	const struct page *pg = pagemap_page(p);

	if (!pg)
		return 0;
	if (peek(&pg->kind) == PAGE_SMALL)
		return pg->block_bytes;
	return pg->start == p && is_live_large(pg) ? pg->bytes : 0;
}
