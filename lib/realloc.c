/* realloc: in place where the block is big enough and not much too big, else remap or copy. */
#include "alloc.h"

static bool resize_large(struct page *pg, size_t bytes)
{
	struct heap *h = heap_enter();
	const void *start = pg->start;
	size_t old = pg->bytes;
	bool done;

	if (!h)
		return false;
	done = large_resize(pg, bytes);
	if (done && pg->bytes > old)
		count_add(&h->view.large_alloc_bytes, pg->bytes - old);
	if (done && pg->bytes < old)
		count_add(&h->view.large_free_bytes, old - pg->bytes);
	heap_leave(h);
	if (done)
		resized_large(pg, start, bytes);
	return done;
}

/* Without memory to shrink into, the block stays where it is. */
static void *realloc_copy(void *p, size_t old, size_t bytes)
{
	void *q = bytes < old ? alloc_if_easy(bytes) : alloc_fast(bytes);

	if (!q)
		return bytes < old ? p : NULL;
	memcpy(q, p, old < bytes ? old : bytes);
	free_fast(p);
	return q;
}

static void *realloc_block(struct page *pg, void *p, size_t bytes)
{
	if (pg->class) {
		size_t old = pg->block_bytes;

		/* up to half may be wasted: shrinking in steps must not copy at each */
		if (bytes <= old && (bytes >= old / 2 || old <= 2 * HAK_ALIGN))
			return p;
		return realloc_copy(p, old, bytes);
	}
	if (resize_large(pg, bytes))
		return pg->start;
	return realloc_copy(p, pg->bytes, bytes);
}

/* p may be a live block; for small ones only its place is looked at. */
static bool may_be_live(const struct page *pg, const void *p)
{
	size_t k;

	if (peek(&pg->kind) == PAGE_SMALL || peek(&pg->kind) == PAGE_MARKED)
		return page_index(pg, p, &k);
	return p == pg->start && usable_size(p);
}

void *realloc_any(void *p, size_t bytes)
{
	struct page *pg;

	if (!p)
		return alloc_fast(bytes);
	if (bytes == 0) { /* as glibc: frees, returns NULL */
		free_fast(p);
		return NULL;
	}
	if (unlikely(bytes > PTRDIFF_MAX))
		return hak_oom(bytes, HAK_OOM_TOO_LARGE);
	if (unlikely(hak_options.secure))
		return secure_realloc(p, bytes);
	pg = pagemap_page(p);
	if (unlikely(!pg)) {
		hak_misuse(p, HAK_MISUSE_FOREIGN, "realloc");
		return NULL;
	}
	if (unlikely(!may_be_live(pg, p))) {
		hak_misuse(p, p == pg->start ? HAK_MISUSE_NOT_LIVE : HAK_MISUSE_MISALIGNED,
			   "realloc");
		return NULL;
	}
	return realloc_block(pg, p, bytes);
}
