/*
 * Memory for metadata: bump allocation from chunks that are never returned. Only page
 * descriptors of mappings come back, to a list.
 */
#include "internal.h"

#define META_CHUNK ((size_t)1 << 20) /* 1 MiB; touched as used */

struct lock meta_lock = {.id = HAK_LOCK_META};

static char *bump;	   /* lock META */
static size_t left;	   /* lock META: bytes behind bump */
static struct page *spare; /* lock META: unused page descriptors, by next */

static void *take(size_t bytes)
{
	void *p = NULL;

	lock_take(&meta_lock);
	if (bytes <= left) {
		p = bump;
		bump += bytes;
		left -= bytes;
	}
	lock_drop(&meta_lock);
	return p;
}

/* What remains of the chunk in use is given up when a new one comes. */
static void renew(char *chunk, size_t bytes)
{
	lock_take(&meta_lock);
	if (left < bytes) {
		bump = chunk;
		left = bytes;
	}
	lock_drop(&meta_lock);
}

/* Zeroed, cache-line aligned, or NULL. */
void *meta_alloc(size_t bytes)
{
	size_t need = align_up(bytes, HAK_CACHE_LINE);
	size_t chunk_bytes = align_up(need, META_CHUNK);
	void *p;

	while (!(p = take(need))) {
		char *chunk = os_map_guarded(chunk_bytes, HAK_OS_META);

		if (!chunk)
			return NULL;
		add_relaxed(&hakmem_root.now.meta_bytes, chunk_bytes);
		renew(chunk, chunk_bytes);
	}
	return p;
}

struct page *meta_page_new(void)
{
	struct page *pg;

	lock_take(&meta_lock);
	pg = spare;
	if (pg)
		spare = pg->next;
	lock_drop(&meta_lock);
	/* the bit masks are of no use to a mapping */
	return pg ? pg : meta_alloc(offsetof(struct page, bits));
}

void meta_page_free(struct page *pg)
{
	pg->kind = PAGE_UNUSED;
	lock_take(&meta_lock);
	pg->next = spare;
	spare = pg;
	lock_drop(&meta_lock);
}
