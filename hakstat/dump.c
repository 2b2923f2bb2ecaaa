/*
 * Walks heaps, segments and the page map from outside. Nothing found is trusted: sizes and
 * offsets are bounded first, every loop has an end of its own, and what does not fit is counted.
 */
#include "dump.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HEAPS_MAX 100000U
#define HEAP_BYTES_MAX 65536U
#define SEGMENT_BYTES_MAX ((uint32_t)1 << 20)
#define SEGMENTS_MAX ((uint64_t)1 << 20) /* 4 TiB */
#define SEGMENT_SLICES 64U
#define PAGE_WORDS 64U
#define CACHE_MAX ((uint64_t)1 << 24) /* blocks in one cache */
#define LEAF ((size_t)1 << 16)
#define ADDR_MAX ((uint64_t)1 << 48)
#define PATIENCE_S 3			    /* for one look, and as long again for ... */
#define PATIENCE_BYTES ((uint64_t)64 << 30) /* ... so much memory */

__attribute__((format(printf, 2, 3))) static void broken(struct dump *d, const char *format, ...)
{
	va_list args;

	if (d->bad.count++)
		return;
	va_start(args, format);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
	vsnprintf(d->bad.first, sizeof(d->bad.first), format, args);
	va_end(args);
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double end_of(const struct memory *m)
{
	return now_s() + PATIENCE_S * (1 + (double)(m ? m->bytes : 0) / PATIENCE_BYTES);
}

/* Lists that go on for ever need not be rings. */
static bool takes_too_long(struct dump *d)
{
	if (!d->gave_up && now_s() > d->end_s) {
		d->gave_up = true;
		broken(d, "it takes too long to read, for what memory it has: given up");
	}
	return d->gave_up;
}

static uint64_t number(const char *from, unsigned at, size_t bytes)
{
	uint64_t v = 0;

	memcpy(&v, from + at, bytes);
	return v;
}

#define PAGE_AT(l, id) ((l)->at[HAK_AT_page_##id])
#define SEGMENT_AT(l, id) ((l)->at[HAK_AT_segment_##id])
#define HEAP_AT(l, id) ((l)->at[HAK_AT_heap_##id])

/* Every field within its structure, so that later no offset needs a look. */
static bool layout_fits(const struct hak_root *r)
{
	const struct hak_layout *l = &r->layout;
	uint32_t size_page = l->page_bytes, size_segment = l->segment_bytes;
	uint32_t size_heap = r->heap_bytes;

	if (size_segment > SEGMENT_BYTES_MAX || size_heap > HEAP_BYTES_MAX ||
	    size_heap < sizeof(struct hak_heap_view) || l->slice_bytes != 65536 ||
	    (uint64_t)SEGMENT_AT(l, PAGES) + (uint64_t)SEGMENT_SLICES * size_page > size_segment ||
	    PAGE_AT(l, BITS) + PAGE_WORDS * 8U > size_page)
		return false;
#define FITS_(type, id, field)                                \
	if (l->at[HAK_AT_##type##_##id] + 8U > size_##type && \
	    HAK_AT_##type##_##id != HAK_AT_segment_PAGES)     \
		return false;
	HAK_FIELDS(FITS_)
#undef FITS_
	return true;
}

static void page_decode(const struct hak_layout *l, uint64_t at, const char *raw,
			struct dump_page *pg)
{
	pg->at = at;
	pg->start = number(raw, PAGE_AT(l, START), 8);
	pg->bytes = number(raw, PAGE_AT(l, BYTES), 8);
	pg->map_bytes = number(raw, PAGE_AT(l, MAP_BYTES), 8);
	pg->owner = number(raw, PAGE_AT(l, OWNER), 8);
	pg->block_bytes = (uint32_t)number(raw, PAGE_AT(l, BLOCK_BYTES), 4);
	pg->capacity = (uint32_t)number(raw, PAGE_AT(l, CAPACITY), 2);
	pg->slices = (uint32_t)number(raw, PAGE_AT(l, SLICES), 2);
	pg->class_ = (uint32_t)number(raw, PAGE_AT(l, CLASS), 1);
	pg->kind = (uint32_t)number(raw, PAGE_AT(l, KIND), 1);
	pg->nfree = 0;
	pg->gone = 0;
	memset(pg->bits, 0, sizeof(pg->bits));
	if (!dump_has_blocks(pg)) /* descriptors of mappings end before the bits */
		return;
	pg->nfree = (uint32_t)number(raw, PAGE_AT(l, NFREE), 2);
	pg->gone = number(raw, PAGE_AT(l, GONE), 8);
	memcpy(pg->bits, raw + PAGE_AT(l, BITS), sizeof(pg->bits));
}

static bool page_read(const struct dump *d, uint64_t at, struct dump_page *pg)
{
	const struct hak_layout *l = &d->root.layout;
	char raw[SEGMENT_BYTES_MAX / SEGMENT_SLICES] = {0};

	if (!memory_read(d->m, at, raw, PAGE_AT(l, BITS)))
		return false;
	pg->kind = (uint32_t)number(raw, PAGE_AT(l, KIND), 1);
	if (dump_has_blocks(pg) && !memory_read(d->m, at, raw, l->page_bytes))
		return false;
	page_decode(l, at, raw, pg);
	return true;
}

/* --- heaps --- */

static void read_bins(struct dump *d, struct dump_heap *h, const struct hak_heap_view *v)
{
	for (unsigned c = 0; c < d->root.classes; c++) {
		struct dump_class *k = &d->class_[c];
		uint64_t length = hak_bin_length(&v->bin[c]);

		if (length > CACHE_MAX) {
			broken(d,
			       "the cache of class %u in the heap at %#llx ends before it begins",
			       c, (unsigned long long)h->addr);
			length = 0;
		}
		k->allocs += (uint64_t)v->stat[c].base + v->bin[c].frees - length;
		k->frees += v->bin[c].frees;
		k->cached += length;
		h->cached_bytes += length * d->root.class_bytes[c];
	}
}

static void read_heap(struct dump *d, uint32_t i)
{
	const struct hak_layout *l = &d->root.layout;
	struct dump_heap *h = &d->heaps[i];
	char raw[HEAP_BYTES_MAX];
	struct hak_heap_view v;

	h->addr = hak_heap_addr(&d->root, i);
	h->readable = memory_read(d->m, h->addr, raw, d->root.heap_bytes);
	if (!h->readable) {
		broken(d, "heap %u at %#llx cannot be read", i, (unsigned long long)h->addr);
		return;
	}
	memcpy(&v, raw, sizeof(v));
	h->tid = v.tid;
	h->state = v.state;
	h->busy = v.seq.busy;
	h->locked = number(raw, HEAP_AT(l, LOCK), 4) != 0;
	h->queued = number(raw, HEAP_AT(l, QUEUE), 8) != 0;
	h->npages = number(raw, HEAP_AT(l, NPAGES), 8);
	h->out = number(raw, HEAP_AT(l, OUT), 8);
	d->busy += h->busy != 0 || h->locked;
	if (v.index != i || v.state > HAK_HEAP_IDLE)
		broken(d, "heap %u says it is heap %u, in state %u", i, v.index, v.state);
	read_bins(d, h, &v);
	d->live_bytes += v.large_alloc_bytes - v.large_free_bytes;
}

int dump_heap_at(const struct dump *d, uint64_t addr)
{
	for (uint32_t i = 0; i < d->nheaps; i++)
		if (d->heaps[i].addr == addr)
			return (int)i;
	return -1;
}

/* --- pages --- */

static const char *page_fault(const struct dump *d, const struct dump_page *pg)
{
	const struct hak_root *r = &d->root;
	uint32_t bits = 0;

	if (pg->kind > PAGE_MARKED || pg->class_ >= r->classes)
		return "is of no known kind or class";
	if (pg->kind == PAGE_RUN)
		return pg->class_ && pg->block_bytes != r->class_bytes[pg->class_]
			       ? "has blocks of another size than its class"
			       : NULL;
	if (!pg->class_ || !pg->block_bytes || !pg->capacity ||
	    pg->block_bytes != r->class_bytes[pg->class_] || pg->capacity > PAGE_WORDS * 64 ||
	    (uint64_t)pg->capacity * pg->block_bytes > (uint64_t)pg->slices * r->layout.slice_bytes)
		return "holds more or other blocks than its class";
	/* words behind those of its blocks are left from another class */
	for (unsigned i = 0; i * 64 < pg->capacity; i++)
		bits += (uint32_t)__builtin_popcountll(pg->bits[i]);
	if (bits != pg->nfree || pg->nfree > pg->capacity)
		return "has an impossible count of free blocks";
	for (unsigned i = pg->capacity; i % 64; i++)
		if (pg->bits[i / 64] >> i % 64 & 1)
			return "has free blocks behind its last one";
	return pg->kind == PAGE_SMALL && dump_heap_at(d, pg->owner) < 0 ? "has no heap for an owner"
									: NULL;
}

uint64_t dump_grain(const struct dump *d, const struct dump_page *pg)
{
	uint64_t grain = d->root.grain_bytes;

	return pg->slices * (uint64_t)d->root.layout.slice_bytes > 64 * grain ? 2 * grain : grain;
}

static void count_page(struct dump *d, const struct dump_page *pg)
{
	struct dump_class *k = &d->class_[pg->class_];
	int owner = pg->kind == PAGE_SMALL ? dump_heap_at(d, pg->owner) : -1;
	uint32_t capacity = dump_has_blocks(pg) ? pg->capacity : 1;

	k->pages++;
	k->capacity += capacity;
	k->out += capacity - pg->nfree;
	k->gone += (uint64_t)__builtin_popcountll(pg->gone) * dump_grain(d, pg);
	if (owner >= 0) {
		d->heaps[owner].walked_pages++;
		d->heaps[owner].walked_out += capacity - pg->nfree;
	}
}

static void one_page(struct dump *d, const struct dump_page *pg, unsigned dirty,
		     const struct dump_visitor *v)
{
	const char *fault = page_fault(d, pg);

	if (fault)
		broken(d, "the page at %#llx %s", (unsigned long long)pg->start, fault);
	else
		count_page(d, pg);
	if (v->page)
		v->page(d, pg, dirty, v->arg);
}

/* --- segments --- */

static uint64_t slice_mask(unsigned first, unsigned n)
{
	return n >= SEGMENT_SLICES ? ~(uint64_t)0 << first : (((uint64_t)1 << n) - 1) << first;
}

static void read_segment(struct dump *d, uint64_t at, const char *raw, const struct dump_visitor *v)
{
	const struct hak_layout *l = &d->root.layout;
	uint64_t base = number(raw, SEGMENT_AT(l, BASE), 8);
	uint64_t unused = number(raw, SEGMENT_AT(l, FREE), 8), used = 0;
	uint64_t dirty = number(raw, SEGMENT_AT(l, DIRTY), 8);

	d->segments++;
	d->free_slices += (uint64_t)__builtin_popcountll(unused);
	d->dirty_slices += (uint64_t)__builtin_popcountll(dirty);
	if (dirty & ~unused)
		broken(d, "the segment at %#llx has slices both dirty and in use",
		       (unsigned long long)base);
	for (unsigned i = 0; i < SEGMENT_SLICES; i++) {
		uint64_t from = SEGMENT_AT(l, PAGES) + (uint64_t)i * l->page_bytes;
		struct dump_page pg;

		page_decode(l, at + from, raw + from, &pg);
		if (pg.kind == PAGE_UNUSED)
			continue;
		if (pg.start != base + (uint64_t)i * l->slice_bytes || !pg.slices ||
		    pg.slices > SEGMENT_SLICES - i || (slice_mask(i, pg.slices) & (used | unused)))
			broken(d, "page %u of the segment at %#llx is not where it says", i,
			       (unsigned long long)base);
		else
			used |= slice_mask(i, pg.slices);
		one_page(d, &pg, (unsigned)__builtin_popcountll(dirty), v);
	}
	if (v->segment) {
		struct dump_segment s = {at, base, unused, dirty, used};

		v->segment(d, &s, v->arg);
	}
}

/* The list may be a ring if somebody wrote to it: a second pointer, sent after, tells (Brent). */
static int read_segments(struct dump *d, const struct dump_visitor *v)
{
	const struct hak_layout *l = &d->root.layout;
	uint64_t at, seen = 0, n = 0, power = 1;
	char *raw = malloc(l->segment_bytes);

	if (!raw)
		return -ENOMEM;
	if (!memory_read(d->m, l->segments, &at, sizeof(at))) {
		broken(d, "the list of segments cannot be read");
		at = 0;
	}
	while (at && !takes_too_long(d)) {
		if (at == seen || n++ > SEGMENTS_MAX) {
			broken(d, "the list of segments does not end");
			break;
		}
		if (n == power) {
			seen = at;
			power *= 2;
		}
		if (!memory_read_written(d->m, at, raw, l->segment_bytes)) {
			broken(d, "the segment described at %#llx cannot be read",
			       (unsigned long long)at);
			break;
		}
		read_segment(d, at, raw, v);
		at = number(raw, SEGMENT_AT(l, NEXT), 8);
	}
	free(raw);
	return 0;
}

/* --- mappings of single blocks: only the page map knows them --- */

static void read_leaf(struct dump *d, uint64_t first, const uint64_t *leaf,
		      const struct dump_visitor *v)
{
	uint64_t before = 0;

	for (size_t i = 0; i < LEAF; i++) {
		uint64_t start = first + i * d->root.layout.slice_bytes;
		struct dump_page pg;

		if (!leaf[i] || leaf[i] == before)
			continue;
		before = leaf[i];
		if (takes_too_long(d))
			return;
		if (!page_read(d, leaf[i], &pg)) {
			broken(d, "the page of %#llx cannot be read", (unsigned long long)start);
			continue;
		}
		if (pg.start >> 16 != start >> 16)
			continue; /* begins in another leaf, or is the end of a kept span */
		if (v->kept && (pg.kind == PAGE_CACHED || pg.kind == PAGE_UNUSED))
			v->kept(d, &pg, v->arg);
		if (pg.kind != PAGE_MAPPED)
			continue; /* a segment's */
		d->class_[0].pages++;
		d->class_[0].capacity++;
		d->class_[0].out++;
		if (v->page)
			v->page(d, &pg, 0, v->arg);
	}
}

static int read_mapped(struct dump *d, const struct dump_visitor *v)
{
	uint64_t *roots = calloc(LEAF, sizeof(*roots)), *leaf = calloc(LEAF, sizeof(*leaf));
	bool ok = roots && leaf;

	if (ok && !memory_read_written(d->m, d->root.layout.pagemap, roots, LEAF * sizeof(*roots)))
		broken(d, "the page map cannot be read");
	for (size_t i = 0; ok && i < LEAF && !takes_too_long(d); i++) {
		if (!roots[i])
			continue;
		if (memory_read_written(d->m, roots[i], leaf, LEAF * sizeof(*leaf)))
			read_leaf(d, (uint64_t)i << 32, leaf, v);
		else
			broken(d, "a leaf of the page map cannot be read");
	}
	free(roots);
	free(leaf);
	return ok ? 0 : -ENOMEM;
}

/* --- all of it --- */

int64_t dump_waiting(const struct dump *d, unsigned class)
{
	const struct dump_class *k = &d->class_[class];

	return (int64_t)(k->out - (k->allocs - k->frees) - k->cached);
}

static void check_sums(struct dump *d)
{
	for (unsigned c = 0; c < d->root.classes; c++) {
		const struct dump_class *k = &d->class_[c];

		if (k->allocs < k->frees || dump_waiting(d, c) < 0)
			broken(d, "class %u: %lld blocks live and %llu cached, %llu in its pages",
			       c, (long long)(k->allocs - k->frees), (unsigned long long)k->cached,
			       (unsigned long long)k->out);
		if (c && k->pages != d->root.class_pages[c])
			broken(d, "class %u: %llu pages found, %llu counted", c,
			       (unsigned long long)k->pages,
			       (unsigned long long)d->root.class_pages[c]);
		if (k->gone != d->root.class_gone[c])
			broken(d, "class %u: %llu bytes of its pages without memory, %llu counted",
			       c, (unsigned long long)k->gone,
			       (unsigned long long)d->root.class_gone[c]);
	}
	for (uint32_t i = 0; i < d->nheaps; i++) {
		const struct dump_heap *h = &d->heaps[i];

		if (h->readable && (h->walked_pages != h->npages || h->walked_out != h->out))
			broken(d,
			       "heap %u counts %llu pages and %llu blocks out, its pages %llu "
			       "and %llu",
			       i, (unsigned long long)h->npages, (unsigned long long)h->out,
			       (unsigned long long)h->walked_pages,
			       (unsigned long long)h->walked_out);
	}
}

static void read_words(struct dump *d)
{
	const struct hak_layout *l = &d->root.layout;
	uint32_t n = l->options_count < 16 ? l->options_count : 16, word;

	if (!memory_read(d->m, l->options, d->option, n * sizeof(uint64_t)))
		broken(d, "the options cannot be read");
	for (unsigned i = 0; i < HAK_LOCK_MAX; i++)
		d->locked[i] = l->lock[i] && memory_read(d->m, l->lock[i], &word, 4) && word;
}

static void sum_bytes(struct dump *d)
{
	for (unsigned c = 1; c < d->root.classes; c++) {
		const struct dump_class *k = &d->class_[c];

		d->live_bytes += (k->allocs - k->frees) * d->root.class_bytes[c];
		d->cached_bytes += k->cached * d->root.class_bytes[c];
	}
}

int dump_read(struct dump *d, const struct memory *m, uint64_t root, const struct dump_visitor *v)
{
	static const struct dump_visitor nobody;
	int r;

	if (!v)
		v = &nobody;
	memset(d, 0, sizeof(*d));
	d->m = m;
	d->end_s = end_of(m);
	if (!memory_read(m, root, &d->root, sizeof(d->root)))
		return -EIO;
	if (memcmp(d->root.magic, HAK_MAGIC, 8) != 0)
		return -ENOENT;
	if (d->root.abi != HAK_ABI || d->root.root_bytes != sizeof(d->root))
		return -EPROTO;
	d->root.version[sizeof(d->root.version) - 1] = 0;
	if (d->root.classes > HAK_CLASS_MAX || d->root.heaps > HEAPS_MAX || !layout_fits(&d->root))
		return -EBADMSG;
	d->heaps = calloc(d->root.heaps + 1, sizeof(*d->heaps));
	if (!d->heaps)
		return -ENOMEM;
	d->nheaps = d->root.heaps;
	read_words(d);
	for (uint32_t i = 0; i < d->nheaps && !takes_too_long(d); i++)
		read_heap(d, i);
	r = read_segments(d, v);
	if (!r)
		r = read_mapped(d, v);
	sum_bytes(d);
	check_sums(d);
	return r;
}

void dump_free(struct dump *d)
{
	free(d->heaps);
	d->heaps = NULL;
}

/* --- one address --- */

static int cache_with(const struct dump *d, unsigned class, uint64_t block)
{
	for (uint32_t i = 0; i < d->nheaps; i++) {
		const uint64_t at = d->heaps[i].addr + class * sizeof(struct hak_bin);
		uint64_t *slots, n;
		struct hak_bin bin;
		bool found = false;

		if (!memory_read(d->m, at, &bin, sizeof(bin)))
			continue;
		n = hak_bin_length(&bin);
		if (!n || n > CACHE_MAX || !(slots = calloc(n, sizeof(*slots))))
			continue;
		if (memory_read(d->m, (uint64_t)(uintptr_t)(bin.slots + 1), slots,
				n * sizeof(*slots)))
			for (uint64_t k = 0; k < n && !found; k++)
				found = slots[k] == block;
		free(slots);
		if (found)
			return (int)i;
	}
	return -1;
}

static bool covers(const struct dump *d, const struct dump_page *pg, uint64_t addr)
{
	uint64_t slices = (uint64_t)pg->slices * d->root.layout.slice_bytes;
	bool span = pg->kind == PAGE_MAPPED || pg->kind == PAGE_CACHED;

	return pg->start <= addr && addr - pg->start < (span ? pg->map_bytes : slices);
}

/* Only the first slice of a long block is in the map: the entry before decides. */
static bool page_of(const struct dump *d, uint64_t addr, struct dump_page *pg)
{
	uint64_t *leaf = addr < ADDR_MAX ? calloc(LEAF, sizeof(*leaf)) : NULL, at = 0, where;
	size_t i = (uint16_t)(addr >> 16);
	double end = end_of(d->m);

	for (uint64_t root = addr >> 32; leaf && !at && now_s() < end; root--, i = LEAF - 1) {
		bool there = memory_read(d->m, d->root.layout.pagemap + root * 8, &where, 8) &&
			     where && memory_read(d->m, where, leaf, LEAF * sizeof(*leaf));

		for (size_t k = there ? i + 1 : 0; k && !at; k--)
			at = leaf[k - 1];
		if (!root)
			break;
	}
	free(leaf);
	return at && page_read(d, at, pg) && covers(d, pg, addr);
}

static void small_block(uint64_t addr, struct dump_block *b)
{
	const struct dump_page *pg = &b->page;
	uint64_t k = (addr - pg->start) / pg->block_bytes;

	b->bytes = pg->block_bytes;
	if (k >= pg->capacity) { /* the rest of the page, too short for a block */
		b->start = addr;
		b->bytes = 0;
		return;
	}
	b->start = pg->start + k * pg->block_bytes;
	b->state = pg->bits[k / 64] >> k % 64 & 1 ? BLOCK_FREE : BLOCK_LIVE;
}

bool dump_block(const struct dump *d, uint64_t addr, struct dump_block *b)
{
	memset(b, 0, sizeof(*b));
	b->cache = -1;
	if (!page_of(d, addr, &b->page))
		return false;
	b->start = b->page.start;
	b->bytes = b->page.class_ && b->page.kind == PAGE_RUN ? b->page.block_bytes : b->page.bytes;
	if (b->page.kind == PAGE_UNUSED || b->page.kind == PAGE_CACHED)
		b->state = BLOCK_FREE;
	else if (b->page.kind == PAGE_RUN || b->page.kind == PAGE_MAPPED)
		b->state = BLOCK_LIVE;
	else if (!page_fault(d, &b->page))
		small_block(addr, b);
	if (b->state != BLOCK_LIVE || b->page.kind == PAGE_MARKED || !b->page.class_ ||
	    b->page.class_ >= d->root.classes)
		return true;
	b->cache = cache_with(d, b->page.class_, b->start);
	if (b->cache >= 0)
		b->state = BLOCK_CACHED;
	else if (dump_waiting(d, b->page.class_) > 0)
		b->state = BLOCK_LIVE_OR_WAITING;
	return true;
}
