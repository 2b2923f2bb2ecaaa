/*
 * RSS by what the memory is for. The kernel says which OS pages are in memory (smaps, pagemap);
 * pages, segments and caches of the allocator say what each byte of them is. The two are read one
 * after the other: of a process at work some of it moves meanwhile, and the last line says how
 * much.
 */
#include "rss.h"
#include "dump.h"
#include "hakstat.h"
#include "smaps.h"
#include "watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLICE ((uint64_t)65536)
#define SEGMENT_SLICES 64U
#define SEGMENT_BYTES (SEGMENT_SLICES * SLICE)
#define OS_PAGES_MAX (SEGMENT_BYTES / OS_PAGE)
#define CACHE_MAX ((uint64_t)1 << 24) /* blocks in one cache */
#define CACHED_MAX ((size_t)1 << 24)  /* and in all: eight times what caches may hold */
#define PAGE_BLOCKS 4096U
#define LEAF ((size_t)1 << 16)
#define GUARD_MAX ((uint64_t)1 << 18) /* 256 KiB: a longer one is no stack's */
#define REST 20.0		      /* times the time a look takes, until the next one in top */
#define TRIES 3

struct range {
	uint64_t start, end;
};

struct ranges {
	struct range *of;
	size_t n, room;
};

struct state {
	struct smaps maps;
	struct memory_map map;
	uint64_t *cached; /* addresses of all blocks in caches, sorted */
	size_t ncached, cached_room;
	bool has_cached;
	struct ranges ours, meta; /* accounted for by themselves; metadata */
	struct ranges segments;	  /* memory of segments */
	bool sorted;		  /* the segments are */
	double next_look, rest;
};

static void *open_memory(const void *options)
{
	struct state *st = calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->maps.pagemap = -1;
	st->rest = options ? 1 : REST;
	return st;
}

static void add_range(struct ranges *r, uint64_t start, uint64_t end)
{
	if (r->n == r->room) {
		size_t room = r->room ? 2 * r->room : 64;
		struct range *more = realloc(r->of, room * sizeof(*more));

		if (!more)
			return;
		r->of = more;
		r->room = room;
	}
	r->of[r->n++] = (struct range){start, end};
}

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

/* Ranges in order, none twice, in whole OS pages. */
static void settle(struct ranges *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		r->of[i].start &= ~(OS_PAGE - 1);
		r->of[i].end = (r->of[i].end + OS_PAGE - 1) & ~(OS_PAGE - 1);
	}
	qsort(r->of, r->n, sizeof(*r->of), by_start);
	for (size_t i = 0; i < r->n; i++) {
		if (n && r->of[i].start < r->of[n - 1].end) {
			if (r->of[i].end > r->of[n - 1].end)
				r->of[n - 1].end = r->of[i].end;
			continue;
		}
		r->of[n++] = r->of[i];
	}
	r->n = n;
}

/* The first that does not end before addr; n: there is none. */
static size_t range_from(const struct ranges *r, uint64_t addr)
{
	size_t low = 0, high = r->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r->of[mid].end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void add_to(struct memory_sum *s, uint64_t resident, uint64_t bytes, uint64_t count)
{
	s->resident += (int64_t)resident;
	s->bytes += bytes;
	s->count += count;
}

/* --- blocks in caches --- */

static int by_address(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static bool room_for(struct state *st, size_t n)
{
	size_t room = st->cached_room ? st->cached_room : 4096;
	uint64_t *more;

	while (room < st->ncached + n)
		room *= 2;
	if (room == st->cached_room)
		return true;
	more = room <= CACHED_MAX ? realloc(st->cached, room * sizeof(*more)) : NULL;
	if (!more)
		return false;
	st->cached = more;
	st->cached_room = room;
	return true;
}

static void read_cache(struct state *st, const struct dump *d, const struct hak_bin *bin)
{
	uint64_t n = hak_bin_length(bin);

	if (!n || n > CACHE_MAX || !room_for(st, n))
		return;
	if (memory_read(d->m, (uint64_t)(uintptr_t)(bin->slots + 1), st->cached + st->ncached,
			n * sizeof(*st->cached)))
		st->ncached += n;
}

/* All of a heap in one call: each waits for the lock of a process that faults and unmaps. */
static bool read_together(struct state *st, const struct dump *d, const struct hak_bin *bins)
{
	struct iovec to[HAK_CLASS_MAX], from[HAK_CLASS_MAX];
	size_t parts = 0, all = 0;

	for (unsigned c = 1; c < d->root.classes; c++) {
		uint64_t n = hak_bin_length(&bins[c]);

		if (!n || n > CACHE_MAX)
			continue;
		from[parts++] = (struct iovec){(void *)(bins[c].slots + 1), n * sizeof(uint64_t)};
		all += n;
	}
	if (!parts || !room_for(st, all))
		return !parts;
	all = st->ncached;
	for (size_t i = 0; i < parts; i++) {
		to[i] = (struct iovec){st->cached + all, from[i].iov_len};
		all += from[i].iov_len / sizeof(uint64_t);
	}
	if (target_readv(d->m->reader, to, from, parts) !=
	    (ssize_t)((all - st->ncached) * sizeof(uint64_t)))
		return false;
	st->ncached = all;
	return true;
}

/* The mapping around it is the allocator's alone: pages that cannot be touched are beside it. */
static void is_meta(struct state *st, uint64_t addr)
{
	const struct vma *v = addr ? smaps_at(&st->maps, addr) : NULL;
	const struct ranges *r = &st->meta;

	if (v && !(r->n && r->of[r->n - 1].start == v->start))
		add_range(&st->meta, v->start, v->end);
}

static void read_caches(struct state *st, const struct dump *d)
{
	struct hak_bin bins[HAK_CLASS_MAX];
	uint64_t waiting;

	st->has_cached = true;
	st->ncached = 0;
	for (uint32_t i = 0; i < d->nheaps; i++) {
		uint64_t heap = d->heaps[i].addr;
		unsigned at = d->root.layout.at[HAK_AT_heap_WAITING];

		is_meta(st, heap);
		if (!memory_read(d->m, heap, bins, sizeof(bins)))
			continue;
		for (unsigned c = 1; c < d->root.classes; c++)
			is_meta(st, (uint64_t)(uintptr_t)bins[c].slots);
		if (!read_together(st, d, bins))
			for (unsigned c = 1; c < d->root.classes; c++)
				read_cache(st, d, &bins[c]);
		if (memory_read(d->m, heap + at, &waiting, sizeof(waiting)))
			is_meta(st, waiting);
	}
	qsort(st->cached, st->ncached, sizeof(*st->cached), by_address);
}

/* Index of the first cached block that is not below. */
static size_t cached_from(const struct state *st, uint64_t addr)
{
	size_t low = 0, high = st->ncached;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (st->cached[mid] < addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool is_cached(const struct state *st, uint64_t block)
{
	size_t i = cached_from(st, block);

	return i < st->ncached && st->cached[i] == block;
}

/* --- pages --- */

/* A page's OS pages: which are in memory. */
struct residence {
	uint64_t start;
	size_t pages;
	bool in[OS_PAGES_MAX];
	double share; /* of what is in, to be counted: 1 where it is known */
};

static uint64_t resident_in(const struct residence *r, uint64_t from, uint64_t to)
{
	uint64_t bytes = 0;

	for (uint64_t at = from; at < to;) {
		size_t i = (size_t)((at - r->start) / OS_PAGE);
		uint64_t next = r->start + (i + 1) * OS_PAGE, end = next < to ? next : to;

		if (i < r->pages && r->in[i])
			bytes += end - at;
		at = end;
	}
	return r->share < 1 ? (uint64_t)((double)bytes * r->share) : bytes;
}

/* By the allocator's account: all of a page but what it has given back. False: only counted. */
static bool estimate_page(struct state *st, const struct dump *d, const struct dump_page *pg,
			  struct residence *r)
{
	size_t grain = dump_has_blocks(pg) ? dump_grain(d, pg) / OS_PAGE : 0, n = 0;
	struct vma *v = smaps_at(&st->maps, r->start);

	for (size_t i = 0; i < r->pages; i++) {
		if (grain && i / grain < 64 && pg->gone >> i / grain & 1)
			r->in[i] = false;
		n += r->in[i];
	}
	r->share = smaps_share(&st->maps, r->start, n * OS_PAGE);
	if (v && !st->maps.counting)
		v->taken += resident_in(r, r->start, r->start + r->pages * OS_PAGE);
	return !st->maps.counting;
}

struct page_sums {
	struct memory_sum live, cached, free, ends, gone;
};

static void sum_blocks(const struct state *st, const struct dump_page *pg,
		       const struct residence *r, struct page_sums *s)
{
	size_t k = cached_from(st, pg->start);

	for (uint32_t i = 0; i < pg->capacity; i++) {
		uint64_t block = pg->start + (uint64_t)i * pg->block_bytes;
		struct memory_sum *to = &s->live;

		while (k < st->ncached && st->cached[k] < block)
			k++;
		if (pg->bits[i / 64] >> i % 64 & 1)
			to = &s->free;
		else if (k < st->ncached && st->cached[k] == block)
			to = &s->cached;
		add_to(to, resident_in(r, block, block + pg->block_bytes), pg->block_bytes, 1);
	}
}

static void move_part(struct memory_sum *to, struct memory_sum *from, const struct residence *r,
		      uint64_t start, uint64_t end)
{
	uint64_t resident = resident_in(r, start, end), bytes = end - start;

	if (bytes > from->bytes || resident > (uint64_t)from->resident)
		return; /* taken meanwhile */
	from->bytes -= bytes;
	from->resident -= (int64_t)resident;
	add_to(to, resident, bytes, 0);
}

/* What looked free has no memory there. `blocks`: where they end. */
static void move_gone(const struct dump *d, const struct dump_page *pg, const struct residence *r,
		      uint64_t blocks, struct page_sums *s)
{
	uint64_t grain = dump_grain(d, pg), page_end = pg->start + pg->slices * SLICE;

	for (uint64_t left = pg->gone; left; left &= left - 1) {
		uint64_t start = pg->start + (uint64_t)__builtin_ctzll(left) * grain;
		uint64_t end = start + grain, middle;

		if (end > page_end)
			return;
		middle = blocks < start ? start : blocks > end ? end : blocks;
		move_part(&s->gone, &s->free, r, start, middle);
		move_part(&s->gone, &s->ends, r, middle, end);
	}
}

/* Pages of which little is used come first; of those the ones that hold most. */
static bool less_used(const struct memory_page *a, const struct memory_page *b)
{
	uint64_t x = (uint64_t)a->live * b->capacity, y = (uint64_t)b->live * a->capacity;

	return x != y ? x < y : a->resident > b->resident;
}

static void list_page(struct memory_map *m, const struct memory_page *p)
{
	int at = m->pages < MEMORY_PAGES ? m->pages++ : MEMORY_PAGES;

	while (at > 0 && less_used(p, &m->page[at - 1])) {
		if (at < MEMORY_PAGES)
			m->page[at] = m->page[at - 1];
		at--;
	}
	if (at < MEMORY_PAGES)
		m->page[at] = *p;
}

static uint32_t tid_of(const struct dump *d, uint64_t owner)
{
	int i = dump_heap_at(d, owner);

	return i < 0 ? 0 : d->heaps[i].tid;
}

static void add_page_sums(struct memory_class *k, const struct page_sums *s)
{
	add_to(&k->live, (uint64_t)s->live.resident, s->live.bytes, s->live.count);
	add_to(&k->cached, (uint64_t)s->cached.resident, s->cached.bytes, s->cached.count);
	add_to(&k->free, (uint64_t)s->free.resident, s->free.bytes, s->free.count);
	add_to(&k->ends, (uint64_t)s->ends.resident, s->ends.bytes, 0);
	add_to(&k->gone, (uint64_t)s->gone.resident, s->gone.bytes, 0);
}

static void small_page(struct state *st, const struct dump *d, const struct dump_page *pg,
		       const struct residence *r)
{
	uint64_t bytes = pg->slices * SLICE, end = pg->start + bytes;
	uint64_t blocks = pg->start + (uint64_t)pg->capacity * pg->block_bytes;
	struct memory_class *k = &st->map.class_[pg->class_];
	struct page_sums s = {0};
	struct memory_page p;

	if (blocks > end)
		return;
	sum_blocks(st, pg, r, &s);
	add_to(&s.ends, resident_in(r, blocks, end), end - blocks, 0);
	move_gone(d, pg, r, blocks, &s);
	add_page_sums(k, &s);
	p = (struct memory_page){pg->start,
				 bytes,
				 resident_in(r, pg->start, end),
				 pg->class_,
				 pg->block_bytes,
				 pg->capacity,
				 (uint32_t)s.live.count,
				 (uint32_t)s.cached.count,
				 tid_of(d, pg->owner)};
	k->pages++;
	k->held += bytes;
	k->resident += p.resident;
	if (p.live && p.live < p.capacity && p.resident)
		list_page(&st->map, &p);
}

/* One block, in as many slices as it takes. */
static void run_page(struct state *st, const struct dump_page *pg, const struct residence *r)
{
	uint64_t end = pg->start + pg->slices * SLICE;
	uint64_t bytes = pg->class_ ? pg->block_bytes : pg->bytes;
	struct memory_class *k = &st->map.class_[pg->class_];
	struct page_sums s = {0};

	if (bytes > end - pg->start)
		bytes = end - pg->start;
	add_to(pg->class_ && is_cached(st, pg->start) ? &s.cached : &s.live,
	       resident_in(r, pg->start, pg->start + bytes), bytes, 1);
	add_to(&s.ends, resident_in(r, pg->start + bytes, end), end - pg->start - bytes, 0);
	add_page_sums(k, &s);
	k->pages++;
	k->held += end - pg->start;
	k->resident += resident_in(r, pg->start, end);
}

/* A block with a mapping of its own. */
static void mapped_page(struct state *st, const struct dump_page *pg)
{
	uint64_t first = pg->start & ~(SLICE - 1), end = first + pg->map_bytes;
	uint64_t block_end = (pg->start + pg->bytes + OS_PAGE - 1) & ~(OS_PAGE - 1);
	struct memory_class *k = &st->map.class_[0];
	uint64_t in, all;

	if (end < first || block_end > end)
		block_end = end;
	all = smaps_resident_bytes(&st->maps, first, end);
	in = st->maps.estimated && end > first
		     ? (uint64_t)((double)all * (double)(block_end - pg->start) /
				  (double)(end - first))
		     : smaps_resident_bytes(&st->maps, pg->start, block_end);
	if (st->maps.counting)
		return;
	add_to(&k->live, in, pg->bytes, 1);
	add_to(&k->ends, all > in ? all - in : 0, pg->map_bytes - (block_end - pg->start), 0);
	k->pages++;
	k->held += pg->map_bytes;
	k->resident += all;
	add_range(&st->ours, first, end);
	is_meta(st, pg->at);
}

static void take_page(const struct dump *d, const struct dump_page *pg, unsigned dirty, void *arg)
{
	struct state *st = arg;
	struct residence r;

	(void)dirty;
	if (!st->has_cached && !st->maps.counting)
		read_caches(st, d);
	if (pg->class_ >= d->root.classes)
		return;
	if (pg->kind == PAGE_MAPPED) {
		mapped_page(st, pg);
		return;
	}
	r.start = pg->start;
	r.pages = pg->slices * (SLICE / OS_PAGE);
	r.share = 1;
	if (pg->slices > SEGMENT_SLICES || !smaps_resident(&st->maps, r.start, r.pages, r.in))
		return;
	if (st->maps.estimated && !estimate_page(st, d, pg, &r))
		return;
	if (pg->kind == PAGE_RUN)
		run_page(st, pg, &r);
	else if (dump_has_blocks(pg) && pg->capacity <= PAGE_BLOCKS)
		small_page(st, d, pg, &r);
}

/* Slices in no page: clean, dirty, or on their way back, which are as good as dirty. */
static void take_segment(const struct dump *d, const struct dump_segment *s, void *arg)
{
	struct state *st = arg;

	(void)d;
	is_meta(st, s->at);
	add_range(&st->ours, s->base, s->base + SEGMENT_BYTES);
	add_range(&st->segments, s->base, s->base + SEGMENT_BYTES);
	for (unsigned i = 0; i < SEGMENT_SLICES; i++) {
		uint64_t start = s->base + i * SLICE;
		bool clean = (s->unused & ~s->dirty) >> i & 1;

		uint64_t in;

		if (s->in_page >> i & 1)
			continue;
		in = clean && st->maps.estimated
			     ? 0
			     : smaps_resident_bytes(&st->maps, start, start + SLICE);
		if (!st->maps.counting)
			add_to(&st->map.line[clean ? MEMORY_PURGED : MEMORY_UNUSED], in, SLICE, 0);
	}
}

/* Pages of segments that are not in use look alike: those are known by where they are. */
static void take_kept(const struct dump *d, const struct dump_page *pg, void *arg)
{
	struct state *st = arg;
	uint64_t end = pg->start + pg->map_bytes, in;
	size_t i;

	(void)d;
	if (!st->sorted)
		settle(&st->segments);
	st->sorted = true;
	i = range_from(&st->segments, pg->start);
	if (i < st->segments.n && st->segments.of[i].start <= pg->start)
		return;
	if (!pg->map_bytes || end < pg->start)
		return;
	in = smaps_resident_bytes(&st->maps, pg->start, end);
	if (st->maps.counting)
		return;
	add_to(&st->map.line[MEMORY_KEPT], in, pg->map_bytes, 1);
	add_range(&st->ours, pg->start, end);
	is_meta(st, pg->at);
}

/* --- metadata --- */

/* Tables that are not mappings of their own: their place is known exactly. */
static void add_tables(struct state *st, const struct dump *d)
{
	const struct hak_layout *l = &d->root.layout;
	uint64_t *leaves = calloc(LEAF, sizeof(*leaves)), table, mask;

	if (leaves && memory_read_written(d->m, l->pagemap, leaves, LEAF * sizeof(*leaves)))
		for (size_t i = 0; i < LEAF; i++)
			is_meta(st, leaves[i]);
	free(leaves);
	add_range(&st->meta, l->root, l->root + sizeof(d->root));
	add_range(&st->meta, l->pagemap, l->pagemap + LEAF * sizeof(uint64_t));
	if (memory_read(d->m, l->class_map, &table, 8) &&
	    memory_read(d->m, l->class_mask, &mask, 8) && mask && table < table + mask)
		add_range(&st->meta, table, table + mask + 1);
}

/* Resident bytes of a mapping within ranges, and how long these are in it. */
static uint64_t part(struct state *st, const struct ranges *r, const struct vma *v, uint64_t *bytes)
{
	uint64_t sum = 0;

	for (size_t i = range_from(r, v->start); i < r->n && r->of[i].start < v->end; i++) {
		uint64_t from = r->of[i].start > v->start ? r->of[i].start : v->start;
		uint64_t to = r->of[i].end < v->end ? r->of[i].end : v->end;

		if (from >= to)
			continue;
		*bytes += to - from;
		/* the kernel's own number where it is all of it: without privilege a page that
		 * was only read cannot be told from others in pagemap */
		if (to - from == v->end - v->start)
			sum += v->rss;
		else if (st->maps.estimated)
			sum += (uint64_t)((double)v->rss * (double)(to - from) /
					  (double)(v->end - v->start));
		else
			sum += smaps_resident_bytes(&st->maps, from, to);
	}
	return sum < v->rss ? sum : v->rss;
}

/* --- all other mappings --- */

static bool is_label(const struct vma *v, const char *label)
{
	return !strncmp(v->name, label, strlen(label));
}

/* libc's stacks are mapped with a page before them that cannot be touched. */
static bool is_stack(const struct smaps *s, const struct vma *v)
{
	const struct vma *before = v > s->vma ? v - 1 : NULL;

	if (is_label(v, "[stack"))
		return true;
	return v->write && !v->file && !v->shared && !v->name[0] && before && !before->read &&
	       !before->write && !before->file && before->end == v->start &&
	       before->end - before->start <= GUARD_MAX;
}

static enum memory_line kind_of(const struct smaps *s, const struct vma *v)
{
	if (v->hugetlb)
		return MEMORY_HUGE;
	if (is_stack(s, v))
		return MEMORY_STACKS;
	if (is_label(v, "[heap"))
		return MEMORY_BRK;
	if (is_label(v, "[v"))
		return MEMORY_KERNEL;
	if (v->shared &&
	    (!v->file || is_label(v, "/dev/") || is_label(v, "/memfd:") || is_label(v, "/SYSV")))
		return MEMORY_SHARED;
	if (v->file)
		return MEMORY_FILES;
	return MEMORY_OTHER;
}

/* The zeroed data of a program or library lies right behind what its file fills. */
static bool continues_file(const struct smaps *s, const struct vma *v)
{
	const struct vma *before = v > s->vma ? v - 1 : NULL;

	return before && before->end == v->start && before->file && !before->shared &&
	       !v->name[0] && !v->file && v->write;
}

static void sort_out(struct state *st)
{
	struct memory_map *m = &st->map;

	settle(&st->ours);
	settle(&st->meta);
	for (size_t i = 0; i < st->maps.n; i++) {
		const struct vma *v = &st->maps.vma[i];
		uint64_t own_bytes = 0, meta_bytes = 0, rest = v->end - v->start;
		uint64_t own = part(st, &st->ours, v, &own_bytes);
		uint64_t meta = part(st, &st->meta, v, &meta_bytes);
		enum memory_line kind = kind_of(&st->maps, v);

		m->huge += v->huge;
		if (st->maps.estimated)
			own = v->taken < v->rss ? v->taken : v->rss;
		if (kind == MEMORY_OTHER && continues_file(&st->maps, v))
			kind = MEMORY_FILES;
		if (meta_bytes)
			add_to(&m->line[MEMORY_META], meta, meta_bytes, 0);
		if (own_bytes + meta_bytes >= rest)
			continue;
		if (!v->read && !v->write && !v->rss)
			continue; /* a guard, or address space set aside */
		add_to(&m->line[kind], v->rss > own + meta ? v->rss - own - meta : 0,
		       rest - own_bytes - meta_bytes, 1);
	}
}

/* --- sums --- */

/* Of what looked live some is in queues: how many by class is known, not which. */
static void move_queued(struct memory_class *k, int64_t waiting, uint64_t block_bytes)
{
	uint64_t n = waiting > 0 ? (uint64_t)waiting : 0, resident;

	if (n > k->live.count)
		n = k->live.count;
	if (!n)
		return;
	resident = n * block_bytes;
	if (resident > (uint64_t)k->live.resident)
		resident = (uint64_t)k->live.resident;
	add_to(&k->queued, resident, n * block_bytes, n);
	k->live.resident -= (int64_t)resident;
	k->live.bytes -= n * block_bytes;
	k->live.count -= n;
}

static void add_line(struct memory_map *m, enum memory_line line, const struct memory_sum *s)
{
	add_to(&m->line[line], (uint64_t)s->resident, s->bytes, s->count);
}

static void sum_up(struct state *st, const struct dump *d)
{
	struct memory_map *m = &st->map;

	m->classes = d->root.classes;
	for (unsigned c = 0; c < m->classes; c++) {
		struct memory_class *k = &m->class_[c];

		if (c)
			move_queued(k, dump_waiting(d, c), d->root.class_bytes[c]);
		add_line(m, MEMORY_LIVE, &k->live);
		add_line(m, MEMORY_CACHED, &k->cached);
		add_line(m, MEMORY_QUEUED, &k->queued);
		add_line(m, MEMORY_FREE, &k->free);
		add_line(m, MEMORY_ENDS, &k->ends);
		add_line(m, MEMORY_PURGED, &k->gone);
	}
	m->rss = st->maps.rss;
	m->line[MEMORY_DIFFERENCE].resident = (int64_t)m->rss;
	for (int i = 0; i < MEMORY_DIFFERENCE; i++)
		m->line[MEMORY_DIFFERENCE].resident -= m->line[i].resident;
}

/* --- a look --- */

static void forget(struct state *st)
{
	smaps_close(&st->maps);
	memset(&st->map, 0, sizeof(st->map));
	st->ours.n = st->meta.n = st->segments.n = 0;
	st->has_cached = st->sorted = false;
	st->ncached = 0;
}

/* True if what was read fits together. */
static bool read_once(struct state *st, const struct target *t)
{
	const struct dump_visitor v = {take_page, take_segment, take_kept, st};
	struct memory mem = {.reader = t->reader, .fd = -1, .bytes = target_rss(t->reader)};
	struct dump d;
	bool whole;
	int r;

	forget(st);
	r = smaps_open(&st->maps, t->reader);
	if (r) {
		snprintf(st->map.error, sizeof(st->map.error), "cannot read /proc/%d/smaps: %s%s",
			 t->pid, strerror(-r),
			 r == -EACCES || r == -EPERM
				 ? "; of another user's process that takes CAP_SYS_PTRACE, or "
				   "CAP_PERFMON since Linux 6.15 (hakstat doctor)"
				 : "");
		return true;
	}
	st->map.estimated = st->maps.estimated;
	if (st->maps.estimated) {
		st->maps.counting = true;
		if (!dump_read(&d, &mem, t->root_addr, &v))
			dump_free(&d);
		st->maps.counting = false;
		st->ours.n = st->meta.n = st->segments.n = 0;
		st->sorted = false;
	}
	r = dump_read(&d, &mem, t->root_addr, &v);
	if (r) {
		snprintf(st->map.error, sizeof(st->map.error), "cannot read the heap: %s",
			 strerror(-r));
	} else {
		add_tables(st, &d);
		sort_out(st);
		sum_up(st, &d);
	}
	whole = r || d.gave_up || (!d.bad.count && !d.busy);
	dump_free(&d);
	return whole;
}

static void look(void *arg, struct watch *w, const struct sample *s)
{
	struct state *st = arg;
	double begin = clock_s();

	(void)s;
	if (begin < st->next_look && st->map.rss)
		return;
	for (int i = 0; i < TRIES && !read_once(st, &w->t); i++)
		;
	st->next_look = clock_s() + st->rest * (clock_s() - begin);
}

static void fill(void *arg, struct model *m)
{
	struct state *st = arg;

	m->memory = &st->map;
}

/* --- recordings --- */

#define SUM_WORDS 3
#define CLASS_WORDS (3 + 6 * SUM_WORDS)

static uint64_t *put_sum(uint64_t *w, const struct memory_sum *s)
{
	*w++ = (uint64_t)s->resident;
	*w++ = s->bytes;
	*w++ = s->count;
	return w;
}

static const uint64_t *get_sum(const uint64_t *w, struct memory_sum *s)
{
	s->resident = (int64_t)w[0];
	s->bytes = w[1];
	s->count = w[2];
	return w + SUM_WORDS;
}

static void put_class(uint64_t *w, const struct memory_class *k)
{
	*w++ = k->pages;
	*w++ = k->held;
	*w++ = k->resident;
	w = put_sum(w, &k->live);
	w = put_sum(w, &k->cached);
	w = put_sum(w, &k->queued);
	w = put_sum(w, &k->free);
	w = put_sum(w, &k->ends);
	put_sum(w, &k->gone);
}

static void get_class(const uint64_t *w, struct memory_class *k)
{
	k->pages = w[0];
	k->held = w[1];
	k->resident = w[2];
	w = get_sum(w + 3, &k->live);
	w = get_sum(w, &k->cached);
	w = get_sum(w, &k->queued);
	w = get_sum(w, &k->free);
	w = get_sum(w, &k->ends);
	get_sum(w, &k->gone);
}

#define PAGE_FIELDS(X) \
	X(start)       \
	X(bytes)       \
	X(resident)    \
	X(class_)      \
	X(block_bytes) \
	X(capacity)    \
	X(live)        \
	X(cached)      \
	X(owner_tid)

#define COUNT_(field) +1
#define PAGE_WORDS (0 PAGE_FIELDS(COUNT_))

static void save(const void *arg, struct instant *f)
{
	const struct memory_map *m = &((const struct state *)arg)->map;
	uint64_t *w = instant_add(f, SECTION_MEMORY, 1, 3);

	if (!w)
		return;
	w[0] = m->rss;
	w[1] = m->huge;
	w[2] = m->estimated;
	if (m->error[0]) {
		w = instant_add(f, SECTION_MEMORY_ERROR, 1, sizeof(m->error) / 8);
		if (w)
			memcpy(w, m->error, strlen(m->error));
		return;
	}
	w = instant_add(f, SECTION_MEMORY_LINES, MEMORY_LINE_COUNT, SUM_WORDS);
	for (int i = 0; w && i < MEMORY_LINE_COUNT; i++)
		w = put_sum(w, &m->line[i]);
	w = instant_add(f, SECTION_MEMORY_CLASSES, m->classes, CLASS_WORDS);
	for (unsigned c = 0; w && c < m->classes; c++)
		put_class(w + c * CLASS_WORDS, &m->class_[c]);
	w = instant_add(f, SECTION_MEMORY_PAGES, (size_t)m->pages, PAGE_WORDS);
	for (int i = 0; w && i < m->pages; i++) {
		const struct memory_page *p = &m->page[i];

#define PUT_(field) *w++ = p->field;
		PAGE_FIELDS(PUT_)
#undef PUT_
	}
}

static void load_pages(struct memory_map *m, const struct section *s)
{
	for (size_t i = 0; s && i < s->rows && m->pages < MEMORY_PAGES; i++) {
		struct memory_page *p = &m->page[m->pages++];
		uint64_t page[PAGE_WORDS], *w = page;

		section_row(s, i, page, PAGE_WORDS);
#define GET_(field) p->field = (__typeof__(p->field))*w++;
		PAGE_FIELDS(GET_)
#undef GET_
	}
}

static void load(void *arg, const struct instant *f)
{
	struct memory_map *m = &((struct state *)arg)->map;
	const struct section *s = instant_get(f, SECTION_MEMORY), *error, *classes;
	uint64_t w[CLASS_WORDS];

	memset(m, 0, sizeof(*m));
	section_row(s, 0, w, 3);
	m->rss = w[0];
	m->huge = w[1];
	m->estimated = w[2] != 0;
	error = instant_get(f, SECTION_MEMORY_ERROR);
	section_row(error, 0, (uint64_t *)(void *)m->error, sizeof(m->error) / 8);
	m->error[sizeof(m->error) - 1] = '\0';
	sanitize(m->error);
	if (!s)
		snprintf(m->error, sizeof(m->error), "not in this part of the recording");
	for (size_t i = 0; i < MEMORY_LINE_COUNT; i++) {
		section_row(instant_get(f, SECTION_MEMORY_LINES), i, w, SUM_WORDS);
		get_sum(w, &m->line[i]);
	}
	classes = instant_get(f, SECTION_MEMORY_CLASSES);
	for (; classes && m->classes < classes->rows && m->classes < HAK_CLASS_MAX; m->classes++) {
		section_row(classes, m->classes, w, CLASS_WORDS);
		get_class(w, &m->class_[m->classes]);
	}
	load_pages(m, instant_get(f, SECTION_MEMORY_PAGES));
}

static void restart(void *arg)
{
	struct state *st = arg;

	forget(st);
	st->next_look = 0;
}

static void close_memory(void *arg)
{
	struct state *st = arg;

	forget(st);
	free(st->cached);
	free(st->ours.of);
	free(st->meta.of);
	free(st->segments.of);
	free(st);
}

const struct source source_memory = {
	.name = "memory",
	.open = open_memory,
	.look = look,
	.fill = fill,
	.restart = restart,
	.save = save,
	.load = load,
	.close = close_memory,
};
