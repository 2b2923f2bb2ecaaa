/* What is not a cache hit: the slow halves of malloc and free, and pointers looked up whole. */
#include "cache.h"

/* *why: what to report for NULL. */
static void *small_alloc(unsigned class, enum hak_oom_reason *why)
{
	struct heap *h = heap_enter();
	void *p;

	*why = HAK_OOM_NO_METADATA;
	if (!h)
		return NULL;
	*why = HAK_OOM_NO_MEMORY;
	p = cache_pop(&h->view.bin[class]); /* a heap just taken over may have some */
	if (!p)
		p = cache_refill_alloc(h, class);
	heap_leave(h);
	return p;
}

/* The thread's cache of the class is empty, or it has no heap yet. */
HAK_COLD void *alloc_slow(size_t bytes, struct hak_bin *bin)
{
	unsigned class = (unsigned)(bin - hak_thread.heap->view.bin);
	enum hak_oom_reason why;
	void *p;

	if (unlikely(is_secure()))
		return secure_alloc(bytes, 0);
	p = small_alloc(class, &why);
	if (unlikely(!p)) {
		heap_relieve();
		p = small_alloc(class, &why);
	}
	return likely(p != NULL) ? p : hak_oom(bytes, why);
}

static struct page *large_count_alloc(struct heap *h, size_t bytes, size_t alignment, bool *hit)
{
	struct page *pg = large_alloc(bytes, alignment, hit);

	if (pg)
		cache_large_alloc(h, pg->bytes, *hit);
	return pg;
}

static struct page *large_once(size_t bytes, size_t alignment, enum hak_oom_reason *why)
{
	struct heap *h = heap_enter_light();
	struct page *pg = NULL;
	bool hit = false;

	*why = HAK_OOM_NO_MEMORY;
	if (likely(h != NULL)) {
		pg = large_count_alloc(h, bytes, alignment, &hit);
		heap_leave_light(h);
		return pg;
	}
	h = heap_enter();
	if (h) {
		pg = large_count_alloc(h, bytes, alignment, &hit);
		heap_leave(h);
	} else {
		*why = HAK_OOM_NO_METADATA;
	}
	return pg;
}

/* alignment: 0 or a power of two. Also serves small sizes with an alignment above a slice. */
HAK_NOINLINE void *alloc_large(size_t bytes, size_t alignment)
{
	enum hak_oom_reason why;
	struct page *pg;

	if (unlikely(bytes > PTRDIFF_MAX || alignment > PTRDIFF_MAX))
		return hak_oom(bytes, HAK_OOM_TOO_LARGE);
	pg = large_once(bytes, alignment, &why);
	if (unlikely(!pg)) {
		heap_relieve();
		pg = large_once(bytes, alignment, &why);
	}
	return likely(pg != NULL) ? pg->start : hak_oom(bytes, why);
}

/* As malloc, for who can do without: nothing is given up for it, and NULL is not reported. */
void *alloc_if_easy(size_t bytes)
{
	enum hak_oom_reason why;

	if (bytes <= HAK_SMALL_MAX) {
		unsigned class = class_of(bytes);
		void *p = cache_pop(bin_at((size_t) class * sizeof(struct hak_bin)));

		return likely(p != NULL) ? p : small_alloc(class, &why);
	} else {
		struct page *pg = large_once(bytes, 0, &why);

		return pg ? pg->start : NULL;
	}
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
	large_free(pg);
}

HAK_COLD void free_slow(void *p)
{
	unsigned class = pagemap_class(p);
	struct heap *h;

	if (!p)
		return;
	if (unlikely(hak_options.secure) && class) {
		secure_free(p);
		return;
	}
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
		return unlikely(hak_options.secure) ? secure_usable(p) : pg->block_bytes;
	return pg->start == p && is_live_large(pg) ? pg->bytes : 0;
}
