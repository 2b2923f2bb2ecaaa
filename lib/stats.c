/* The counters from inside: hak_snapshot, and glibc's mallinfo, malloc_stats, malloc_info. */
#include "family.h"
#include "hakmem.h"
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

_Static_assert(HAK_SNAPSHOT_CLASSES == HAK_CLASS_MAX, "one entry per class");

#define TRIES 100U /* a thread may be stopped in a slow operation */

/*
 * Counts of a class, of one instant unless its thread is long in a slow operation: that may move
 * the stack. In this order a thread at work can make allocs too small, not too large.
 */
static int64_t read_bin(const struct heap *h, unsigned c, struct hak_bin *bin)
{
	const struct hak_bin *from = &h->view.bin[c];
	unsigned tries = 0;
	uint64_t changes;
	int64_t base;

	do {
		changes = load_acquire(&h->view.seq.changes);
		bin->slots = peek(&from->slots);
		base = load_acquire(&h->view.stat[c].base);
		bin->frees = load_acquire(&from->frees);
		bin->top = load_acquire(&from->top);
	} while ((peek(&h->view.seq.busy) || peek(&h->view.seq.changes) != changes) &&
		 ++tries < TRIES);
	return base;
}

static void add_heap(struct hak_snapshot *s, struct heap *h)
{
	for (unsigned c = 0; c < HAK_CLASSES; c++) {
		struct hak_bin_stat *st = &h->view.stat[c];
		struct hak_class_snapshot *k = &s->class_[c];
		struct hak_bin bin = {0};
		int64_t base = read_bin(h, c, &bin);

		k->allocs += (uint64_t)base + bin.frees - hak_bin_length(&bin);
		k->frees += bin.frees;
		k->cached_blocks += hak_bin_length(&bin);
		k->refills += peek(&st->refills);
		k->flushes += peek(&st->flushes);
	}
	s->large_live_bytes += peek(&h->view.large_alloc_bytes);
	s->large_live_bytes -= peek(&h->view.large_free_bytes);
	s->remote_blocks += peek(&h->view.remote_blocks);
}

static void add_classes(struct hak_snapshot *s)
{
	for (unsigned c = 0; c < HAK_CLASSES; c++) {
		struct hak_class_snapshot *k = &s->class_[c];

		k->block_bytes = hak_class_bytes[c];
		k->live_blocks = k->allocs - k->frees;
		k->held_bytes = peek(&hakmem_root.class_pages[c]) * hakmem_root.page_bytes[c];
		s->cached_bytes += k->cached_blocks * k->block_bytes;
		s->live_bytes += k->live_blocks * k->block_bytes;
	}
	s->class_[0].held_bytes = s->large_live_bytes;
	s->live_bytes += s->large_live_bytes;
}

static void add_process(struct hak_snapshot *s)
{
	struct hak_root *r = &hakmem_root;

	s->mapped_bytes = peek(&r->now.arena_bytes) + peek(&r->now.large_bytes) +
			  peek(&r->now.cached_bytes) + peek(&r->now.meta_bytes);
	s->dirty_bytes = peek(&r->now.dirty_bytes) + peek(&r->now.returned_bytes) +
			 peek(&r->now.cached_bytes);
	s->meta_bytes = peek(&r->now.meta_bytes);
	s->os_calls =
		peek(&r->os.maps) + peek(&r->os.unmaps) + peek(&r->os.purges) + peek(&r->os.fills);
	s->mmap_fallbacks = peek(&r->os.fallbacks);
	for (unsigned i = 0; i < HAK_LOCK_COUNT; i++) {
		s->lock_waits += peek(&r->lock[i].waits);
		s->lock_wait_ns += peek(&r->lock[i].wait_ns);
	}
}

HAK_EXPORT void hak_snapshot(struct hak_snapshot *out)
{
	memset(out, 0, sizeof(*out));
	out->classes = HAK_CLASSES;
	out->heaps = load_acquire(&hakmem_root.heaps);
	for (uint32_t i = 0; i < out->heaps; i++)
		add_heap(out, heap_at(i));
	add_classes(out);
	add_process(out);
}

/*
 * arena: address space of segments and metadata; hblks, hblkhd: large blocks;
 * uordblks: live bytes; fordblks: the rest of what is mapped; fsmblks: in thread caches;
 * keepcost: what malloc_trim could return.
 */
HAK_EXPORT struct mallinfo2 mallinfo2(void)
{
	struct mallinfo2 m = {0};
	struct hak_snapshot s;

	hak_snapshot(&s);
	m.hblkhd = s.large_live_bytes;
	m.arena = s.mapped_bytes > m.hblkhd ? s.mapped_bytes - m.hblkhd : 0;
	m.uordblks = s.live_bytes;
	m.fordblks = s.mapped_bytes > s.live_bytes ? s.mapped_bytes - s.live_bytes : 0;
	m.fsmblks = s.cached_bytes;
	m.keepcost = s.dirty_bytes;
	for (unsigned c = 1; c < s.classes; c++)
		m.smblks += s.class_[c].cached_blocks;
	m.hblks = s.class_[0].live_blocks;
	return m;
}

static int clip(size_t v)
{
	return v > INT_MAX ? INT_MAX : (int)v;
}

HAK_EXPORT struct mallinfo mallinfo(void)
{
	struct mallinfo2 m = mallinfo2();

	return (struct mallinfo){
		.arena = clip(m.arena),
		.smblks = clip(m.smblks),
		.hblks = clip(m.hblks),
		.hblkhd = clip(m.hblkhd),
		.fsmblks = clip(m.fsmblks),
		.uordblks = clip(m.uordblks),
		.fordblks = clip(m.fordblks),
		.keepcost = clip(m.keepcost),
	};
}

HAK_EXPORT void malloc_stats(void)
{
	struct hak_snapshot s;

	hak_snapshot(&s);
	hak_say("live bytes          ", s.live_bytes, "");
	hak_say("  of large blocks   ", s.large_live_bytes, "");
	hak_say("cached bytes        ", s.cached_bytes, "");
	hak_say("mapped bytes        ", s.mapped_bytes, "");
	hak_say("unused dirty bytes  ", s.dirty_bytes, "");
	hak_say("metadata bytes      ", s.meta_bytes, "");
	hak_say("heaps               ", s.heaps, "");
	hak_say("remote blocks       ", s.remote_blocks, "");
	hak_say("lock waits          ", s.lock_waits, "");
	hak_say("system calls        ", s.os_calls, "");
	hak_say("mmap fallbacks      ", s.mmap_fallbacks, "");
}

/* The one function that uses stdio: its caller hands it a stream. */
HAK_EXPORT int malloc_info(int options, FILE *out)
{
	struct hak_snapshot s;

	if (options != 0) {
		errno = EINVAL;
		return -1;
	}
	hak_snapshot(&s);
	fprintf(out, "<malloc version=\"hakmem-%s\">\n<sizes>\n", HAKMEM_VERSION);
	for (unsigned c = 0; c < s.classes; c++) {
		const struct hak_class_snapshot *k = &s.class_[c];

		if (k->allocs)
			fprintf(out,
				"<size bytes=\"%zu\" allocs=\"%llu\" frees=\"%llu\" live=\"%llu\" "
				"cached=\"%llu\" held=\"%llu\"/>\n",
				k->block_bytes, (unsigned long long)k->allocs,
				(unsigned long long)k->frees, (unsigned long long)k->live_blocks,
				(unsigned long long)k->cached_blocks,
				(unsigned long long)k->held_bytes);
	}
	fprintf(out, "</sizes>\n<system type=\"current\" size=\"%llu\"/>\n",
		(unsigned long long)s.mapped_bytes);
	fprintf(out, "<live size=\"%llu\"/>\n<cached size=\"%llu\"/>\n<dirty size=\"%llu\"/>\n",
		(unsigned long long)s.live_bytes, (unsigned long long)s.cached_bytes,
		(unsigned long long)s.dirty_bytes);
	fprintf(out, "</malloc>\n");
	return ferror(out) ? -1 : 0;
}
