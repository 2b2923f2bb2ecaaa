/* What is not a cache hit: the slow halves of malloc and free, and pointers looked up whole. */
#include "cache.h"

#include <string.h>

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

static HAK_NOINLINE void *small_or_oom(size_t bytes, unsigned class)
{
	enum hak_oom_reason why;
	void *p = small_alloc(class, &why);

	if (unlikely(!p)) {
		heap_relieve();
		p = small_alloc(class, &why);
	}
	return likely(p != NULL) ? p : hak_oom(bytes, why);
}

static HAK_NOINLINE void *alloc_first(size_t bytes, unsigned class)
{
	return heap_start() ? alloc_aside(bytes, class) : small_or_oom(bytes, class);
}

/* The thread's cache of the class is empty, or it has no heap yet, or samples are taken. */
HAK_COLD void *alloc_slow(size_t bytes, struct hak_bin *bin)
{
	const struct heap *h = hak_thread.heap;
	unsigned class = (unsigned)(bin - h->view.bin);

	if (class == HAK_ASIDE)
		return alloc_aside(bytes, class_of(bytes));
	if (unlikely(h == &hak_no_heap))
		return alloc_first(bytes, class);
	if (unlikely(peek(&hak_xdetour)))
		return alloc_aside(bytes, class);
	return small_or_oom(bytes, class);
}

/* The thread's heap, if it has one for good, and samples are taken; it has followed the switch. */
static struct heap *heap_to_sample(void)
{
	struct heap *h = hak_thread.heap;

	if (unlikely(h == &hak_no_heap || sample_turned(h))) {
		h = heap_enter(); /* follows the switch */
		if (!h)
			return NULL;
		heap_leave(h);
		h = hak_thread.heap;
	}
	return h != &hak_no_heap && h->sample_seen & 1 ? h : NULL;
}

/* A block of the class whose free will be looked at; NULL if the system gives no memory for it. */
static void *marked_alloc(unsigned class, const struct mark *m)
{
	struct heap *h = heap_enter();
	enum hak_source source;
	void *p;

	if (!h)
		return NULL;
	p = marked_take(class, m, &source);
	if (p)
		cache_count_alloc(h, class, source);
	heap_leave(h);
	return p;
}

/* The block, if this request is one to be sampled. */
static HAK_NOINLINE void *small_sample(size_t bytes, unsigned class)
{
	struct heap *h = heap_to_sample();
	struct mark m = {.bytes = bytes, .live = true, .sampled = true};
	uint64_t weight = h ? sample_due(h, bytes) : 0;
	void *p;

	if (likely(!weight))
		return NULL;
	p = marked_alloc(class, &m);
	if (p)
		sample_taken(p, &m, weight);
	sample_draw(h);
	return p;
}

static HAK_NOINLINE void *aside_slow(size_t bytes, unsigned class)
{
	void *p;

	if (unlikely(hak_options.secure))
		return secure_alloc(bytes, 0);
	p = small_sample(bytes, class);
	if (likely(!p)) /* the switch was turned, or there is no memory for a sample */
		p = cache_pop(bin_at((size_t) class * sizeof(struct hak_bin)));
	return likely(p != NULL) ? p : small_or_oom(bytes, class);
}

/*
 * Every request of a class goes this way while samples are taken, and as long as the thread has not
 * noticed that they are not any more. Nearly always it is a hit all the same.
 */
HAK_NOINLINE void *alloc_aside(size_t bytes, unsigned class)
{
	struct heap *h = hak_thread.heap;
	void *p;

	if (unlikely(peek(&hak_xdetour) != HAK_DETOUR_SAMPLE || h == &hak_no_heap ||
		     sample_turned(h) || !sample_counts_down(h, bytes)))
		return aside_slow(bytes, class);
	p = cache_pop(&h->view.bin[class]);
	return likely(p != NULL) ? p : small_or_oom(bytes, class);
}

HAK_COLD void *alloc_aligned_aside(size_t alignment, size_t bytes)
{
	unsigned class;

	if (unlikely(hak_options.secure))
		return secure_alloc(bytes, alignment);
	if (alignment > HAK_SLICE || bytes > HAK_SMALL_MAX)
		return alloc_large(bytes, alignment);
	class = class_aligned(align_up(bytes ? bytes : 1, alignment), alignment);
	return class ? alloc_aside(bytes, class) : alloc_large(bytes, alignment);
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

/* It is sampled from now on, if it can be marked. */
static void sample_large(struct heap *h, struct page *pg, size_t bytes, uint64_t weight)
{
	struct mark m = {.bytes = bytes, .live = true, .sampled = true};

	if (peek(&pg->marks)) /* by site */
		m.site = pg->marks->site;
	if (marked_set_large(pg, &m))
		sample_taken(pg->start, &m, weight);
	sample_draw(h);
}

static HAK_COLD void maybe_sample_large(struct page *pg, size_t bytes)
{
	struct heap *h = heap_to_sample();
	uint64_t weight = h ? sample_due(h, bytes) : 0;

	if (weight)
		sample_large(h, pg, bytes, weight);
}

static struct page *large_or_oom(size_t bytes, size_t alignment)
{
	enum hak_oom_reason why;
	struct page *pg = large_once(bytes, alignment, &why);

	if (unlikely(!pg)) {
		heap_relieve();
		pg = large_once(bytes, alignment, &why);
	}
	if (unlikely(!pg))
		hak_oom(bytes, why);
	return pg;
}

static struct page *large_page(size_t bytes, size_t alignment)
{
	struct page *pg;

	if (unlikely(bytes > PTRDIFF_MAX || alignment > PTRDIFF_MAX))
		return hak_oom(bytes, HAK_OOM_TOO_LARGE);
	pg = large_or_oom(bytes, alignment);
	if (likely(pg) && unlikely(sample_wanted()))
		maybe_sample_large(pg, bytes);
	return pg;
}

/* alignment: 0 or a power of two. Also serves small sizes with an alignment above a slice. */
HAK_NOINLINE void *alloc_large(size_t bytes, size_t alignment)
{
	struct page *pg = large_page(bytes, alignment);

	if (unlikely(!pg))
		return NULL;
	if (pg->kind == PAGE_MAPPED && pg->zero)
		span_mapped(pg);
	return pg->start;
}

/* Fresh memory is not touched only to clear it, and may stay as it is. */
HAK_NOINLINE void *alloc_large_zeroed(size_t bytes)
{
	struct page *pg = large_page(bytes, 0);

	if (unlikely(!pg))
		return NULL;
	return pg->zero ? pg->start : memset(pg->start, 0, bytes);
}

/*
 * HAKMEM_SECURE=1: of any size, a span of its own, which is sampled if this request is to be; else
 * NULL.
 */
void *alloc_sampled_large(size_t bytes, size_t alignment)
{
	struct heap *h = heap_to_sample();
	uint64_t weight = h ? sample_due(h, bytes) : 0;
	enum hak_oom_reason why;
	struct page *pg;

	if (likely(!weight))
		return NULL;
	pg = large_once(bytes, alignment, &why);
	if (pg)
		sample_large(h, pg, bytes, weight);
	return pg ? pg->start : NULL;
}

/* As malloc, for who can do without: nothing is given up for it, and NULL is not reported. */
void *alloc_if_easy(size_t bytes)
{
	enum hak_oom_reason why;

	if (bytes <= HAK_SMALL_MAX) {
		unsigned class = class_of(bytes);
		void *p = is_detour() ? small_sample(bytes, class) : NULL;

		if (!p)
			p = cache_pop(bin_at((size_t) class * sizeof(struct hak_bin)));
		return likely(p != NULL) ? p : small_alloc(class, &why);
	} else {
		struct page *pg = large_once(bytes, 0, &why);

		if (pg && unlikely(sample_wanted()))
			maybe_sample_large(pg, bytes);
		return pg ? pg->start : NULL;
	}
}

/* The block cannot be marked, or there is none. */
static void forget_site(struct mark *m)
{
	if (m->site)
		site_free(m->site, m->bytes);
	m->site = 0;
}

static void *large_at(size_t bytes, uint64_t weight, struct mark *m)
{
	struct page *pg = large_or_oom(bytes, 0);

	if (!pg)
		return NULL;
	if (!marked_set_large(pg, m))
		forget_site(m);
	else if (m->sampled)
		sample_taken(pg->start, m, weight);
	return pg->start;
}

static void *small_at(size_t bytes, uint64_t weight, struct mark *m)
{
	unsigned class = class_of(bytes);
	void *p = marked_alloc(class, m);

	if (!p) {
		forget_site(m);
		return small_or_oom(bytes, class);
	}
	if (m->sampled)
		sample_taken(p, m, weight);
	return p;
}

/* hak_alloc_at while sites are watched: the block's free will be looked at. */
HAK_NOINLINE void *alloc_at(size_t bytes, const char *site)
{
	struct heap *h = heap_to_sample();
	struct mark m = {.bytes = bytes, .live = true};
	uint64_t weight;
	void *p;

	if (unlikely(bytes > PTRDIFF_MAX))
		return hak_oom(bytes, HAK_OOM_TOO_LARGE);
	m.site = site_alloc(site, bytes);
	if (!m.site) /* the table is full; it is counted down there */
		return alloc_fast(bytes);
	weight = h ? sample_due(h, bytes) : 0;
	m.sampled = weight != 0;
	if (bytes > HAK_SMALL_MAX || hak_options.secure)
		p = large_at(bytes, weight, &m);
	else
		p = small_at(bytes, weight, &m);
	if (m.sampled)
		sample_draw(h);
	if (!p)
		forget_site(&m);
	return p;
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

/* Who asked to know of it is told. */
static void note_freed(const void *p, const struct mark *m)
{
	if (m->sampled)
		sample_freed(p, m);
	if (m->site)
		site_free(m->site, m->bytes);
}

/*
 * A large block that was at `was` has another size: to who counts, it was freed, and allocated. It
 * stays of its site.
 */
void resized_large(struct page *pg, const void *was, size_t bytes)
{
	struct mark m = {0};

	if (unlikely(peek(&pg->marks)) && marked_clear_large(pg, &m))
		note_freed(was, &m);
	if (unlikely(m.site)) {
		m = (struct mark){.bytes = bytes, .live = true, .site = site_again(m.site, bytes)};
		if (!marked_set_large(pg, &m))
			forget_site(&m);
	}
	if (unlikely(sample_wanted()))
		maybe_sample_large(pg, bytes);
}

static void free_marked(struct heap *h, struct page *pg, void *p)
{
	unsigned class = pg->class;
	struct mark m;

	if (unlikely(!marked_claim(pg, p, &m)))
		return;
	note_freed(p, &m);
	marked_give(pg, p);
	cache_count_free(h, class);
}

static void free_large(struct heap *h, void *p)
{
	struct page *pg = pagemap_page(p);
	struct mark m;

	if (pg && peek(&pg->kind) == PAGE_MARKED) {
		free_marked(h, pg, p);
		return;
	}
	if (unlikely(!pg || pg->start != p || !is_live_large(pg))) {
		hak_misuse(p, why_not_large(pg), "free");
		return;
	}
	if (unlikely(peek(&pg->marks)) && marked_clear_large(pg, &m))
		note_freed(p, &m);
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
	else if (!cache_push(&h->view.bin[class], p) &&
		 !(cache_unhurry(h, class) && cache_push(&h->view.bin[class], p)))
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
	if (peek(&pg->kind) == PAGE_MARKED)
		return marked_usable(pg, p);
	return pg->start == p && is_live_large(pg) ? pg->bytes : 0;
}
