/*
 * HAKMEM_SECURE=1: what takes the place of the thread caches. The hit paths never hit: no block
 * is put into a cache, so that every allocation and every free comes here.
 *
 *   block of a class:  | requested bytes | pad | seal |
 *
 * The seal, 8 bytes at the end of the block, says how long the pad is, mixed with a secret and
 * the address; the pad is filled with a byte derived from them. Whoever frees a block takes the
 * seal out, atomically: of two frees one finds none. A free block is all zero, in its page and
 * wherever it waits; looked at when it is handed out, that tells a write after the free.
 *
 * Freed blocks wait among others of their thread, and leave in random order. Blocks that do not
 * fit into a page, with their seal, are spans between guard pages (guarded.c).
 */
#include "internal.h"
#include "pagemap.h"

#include <string.h>

#define SEAL sizeof(uint64_t)
/* No seal begins with a zero or another byte of ASCII: what is most often written one too far. */
#define SEALED ((uint64_t)0x80)
#define PAD_SHIFT 8U
#define WAITING 1024U			  /* freed blocks of a thread that wait */
#define WAITING_BYTES ((uint64_t)1 << 20) /* 1 MiB: and their bytes */

static uint64_t *seal_at(const struct page *pg, void *p)
{
	return (uint64_t *)(void *)((char *)p + pg->block_bytes - SEAL);
}

static uint64_t seal_for(const void *p, size_t pad)
{
	return (secret_of(p) | SEALED) ^ (uint64_t)pad << PAD_SHIFT;
}

/* The inverse; too much for any block if the seal is none. */
static uint64_t pad_of(const void *p, uint64_t seal)
{
	uint64_t pad = seal_for(p, 0) ^ seal;

	return pad >> PAD_SHIFT | pad << (64 - PAD_SHIFT);
}

/* As the first byte of a seal. */
static int pad_byte(const void *p)
{
	return (int)(secret_of(p) >> 40 & 0xff) | 0x80;
}

static bool is_all(const char *s, size_t n, int byte)
{
	/* the first is right, and each is like the one before */
	return n == 0 || (*s == (char)byte && !memcmp(s, s + 1, n - 1));
}

/* Bytes asked for, SIZE_MAX if the seal or the pad was written to. seal: what was found. */
static size_t bytes_by(const struct page *pg, const void *p, uint64_t seal)
{
	size_t room = pg->block_bytes - SEAL, pad = pad_of(p, seal);

	if (pad > room || !is_all((const char *)p + room - pad, pad, pad_byte(p)))
		return SIZE_MAX;
	return room - pad;
}

static void close_block(const struct page *pg, void *p, size_t bytes)
{
	size_t pad = pg->block_bytes - SEAL - bytes;

	memset((char *)p + bytes, pad_byte(p), pad);
	__atomic_store_n(seal_at(pg, p), seal_for(p, pad), __ATOMIC_RELAXED);
}

/* The page of a class that p is a block of; NULL, reported, if it is none. */
static struct page *page_of(const void *p, const char *who)
{
	struct page *pg = pagemap_page(p);
	size_t k;

	if (unlikely(!pg)) {
		hak_misuse(p, HAK_MISUSE_FOREIGN, who);
		return NULL;
	}
	if (unlikely(peek(&pg->kind) != PAGE_SMALL)) { /* the page was given back: all are free */
		hak_misuse(p, HAK_MISUSE_DOUBLE_FREE, who);
		return NULL;
	}
	if (unlikely(!page_index(pg, p, &k))) {
		hak_misuse(p, HAK_MISUSE_MISALIGNED, who);
		return NULL;
	}
	return pg;
}

static void report(const void *p, uint64_t seal, const char *who)
{
	hak_misuse(p, seal ? HAK_MISUSE_OVERFLOW : HAK_MISUSE_DOUBLE_FREE, who);
}

/* The smallest class for a block and its seal; 0 if there is none. */
static unsigned class_for(size_t bytes, size_t alignment)
{
	size_t need;

	if (bytes > HAK_SLICE - SEAL || alignment > HAK_SLICE)
		return 0;
	need = align_up(bytes + SEAL, HAK_ALIGN);
	for (unsigned c = class_of(need); c < HAK_FIRST_RUN; c++)
		if (alignment <= HAK_ALIGN || hak_class_bytes[c] % alignment == 0)
			return c;
	return 0;
}

static uint64_t luck(struct heap *h)
{
	h->luck++;
	return secret_of(&h->luck) ^ secret_of((void *)(uintptr_t)h->luck); /* NOLINT */
}

static void *take(struct heap *h, unsigned class, size_t bytes)
{
	enum hak_source source;
	struct page *pg;
	char *p;

	if (!cache_find_page(h, class, &source))
		return NULL;
	p = page_take_any(h, class, luck(h));
	pg = pagemap_page(p);
	if (unlikely(!is_all(p, pg->block_bytes, 0))) {
		hak_misuse(p, HAK_MISUSE_AFTER_FREE, "malloc");
		memset(p, 0, pg->block_bytes);
	}
	close_block(pg, p, bytes);
	cache_count_alloc(h, class, source);
	return p;
}

static void *take_once(unsigned class, size_t bytes, enum hak_oom_reason *why)
{
	struct heap *h = heap_enter();
	void *p;

	*why = HAK_OOM_NO_METADATA;
	if (!h)
		return NULL;
	*why = HAK_OOM_NO_MEMORY;
	p = take(h, class, bytes);
	heap_leave(h);
	return p;
}

/* alignment: 0 or a power of two */
void *secure_alloc(size_t bytes, size_t alignment)
{
	unsigned class = class_for(bytes, alignment);
	enum hak_oom_reason why;
	void *p;

	if (!class)
		return alloc_large(bytes, alignment);
	if (unlikely(sample_wanted()) && (p = alloc_sampled_large(bytes, alignment)))
		return p;
	p = take_once(class, bytes, &why);
	if (unlikely(!p)) {
		heap_relieve();
		p = take_once(class, bytes, &why);
	}
	return likely(p != NULL) ? p : hak_oom(bytes, why);
}

/* One of those that wait, whichever, goes home. */
static void send_one(struct heap *h)
{
	uint32_t i = (uint32_t)(luck(h) % h->nwaiting);
	void *p = h->waiting[i];
	const struct page *pg = pagemap_page(p);

	h->waiting[i] = h->waiting[--h->nwaiting];
	h->waiting_bytes -= pg->block_bytes;
	cache_count_given(h, pg->class, HAK_FLUSH_OVERFLOW);
	remote_give(h, &p, 1, HAK_FLUSH_OVERFLOW);
}

static void wait_a_while(struct heap *h, struct page *pg, void *p)
{
	if (!h->waiting)
		h->waiting = os_map_guarded(align_up(WAITING * sizeof(*h->waiting), HAK_OS_PAGE),
					    HAK_OS_META);
	if (unlikely(!h->waiting)) {
		cache_count_given(h, pg->class, HAK_FLUSH_OVERFLOW);
		remote_give(h, &p, 1, HAK_FLUSH_OVERFLOW);
		return;
	}
	if (h->nwaiting == WAITING)
		send_one(h);
	h->waiting[h->nwaiting++] = p;
	h->waiting_bytes += pg->block_bytes;
	while (h->waiting_bytes > WAITING_BYTES)
		send_one(h);
}

/* p: its class is not 0 */
void secure_free(void *p)
{
	struct heap *h = heap_enter();
	struct page *pg = h ? page_of(p, "free") : NULL;

	if (pg) {
		uint64_t seal = __atomic_exchange_n(seal_at(pg, p), 0, __ATOMIC_ACQ_REL);

		if (likely(bytes_by(pg, p, seal) != SIZE_MAX)) {
			memset(p, 0, pg->block_bytes);
			cache_count_free(h, pg->class);
			wait_a_while(h, pg, p);
		} else {
			report(p, seal, "free");
		}
	}
	if (h)
		heap_leave(h);
}

/* Bytes asked for of a block of a class; 0 if it is not live, or was written beyond its end. */
size_t secure_usable(const void *p)
{
	struct page *pg = pagemap_page(p);
	size_t bytes, k;

	if (!pg || peek(&pg->kind) != PAGE_SMALL || !page_index(pg, p, &k))
		return 0;
	bytes = bytes_by(pg, p, peek(seal_at(pg, (void *)(uintptr_t)p)));
	return bytes == SIZE_MAX ? 0 : bytes;
}

/* False, reported, if p is not a live block; *bytes: how many were asked for. */
static bool look_at(void *p, size_t *bytes)
{
	struct page *pg;
	uint64_t seal;

	if (!pagemap_class(p)) {
		*bytes = usable_size(p);
		if (!*bytes)
			hak_misuse(p, pagemap_page(p) ? HAK_MISUSE_NOT_LIVE : HAK_MISUSE_FOREIGN,
				   "realloc");
		return *bytes != 0;
	}
	pg = page_of(p, "realloc");
	if (!pg)
		return false;
	seal = peek(seal_at(pg, p));
	*bytes = bytes_by(pg, p, seal);
	if (*bytes == SIZE_MAX)
		hak_misuse(p, seal ? HAK_MISUSE_OVERFLOW : HAK_MISUSE_NOT_LIVE, "realloc");
	return *bytes != SIZE_MAX;
}

/* p: not NULL; bytes: not 0. The block always moves: old pointers to it are of no use. */
void *secure_realloc(void *p, size_t bytes)
{
	size_t old;
	void *q;

	if (!look_at(p, &old))
		return NULL;
	q = secure_alloc(bytes, 0);
	if (!q)
		return NULL;
	memcpy(q, p, old < bytes ? old : bytes);
	if (pagemap_class(p))
		secure_free(p);
	else
		free_slow(p);
	return q;
}

/* All that wait go home. */
void secure_flush(struct heap *h)
{
	while (h->nwaiting)
		send_one(h);
}
