/* What a heap's memory tells: its classes, heaps and pages, one address, and all of it in a row. */
#include "view_dump.h"

#define SHOWN(m) ((const struct dump_shown *)(m)->own)
#define DUMP(m) (SHOWN(m)->d)

uint64_t dump_waiting_bytes(const struct dump *d)
{
	uint64_t sum = 0;

	for (unsigned c = 1; c < d->root.classes; c++)
		if (dump_waiting(d, c) > 0)
			sum += (uint64_t)dump_waiting(d, c) * d->root.class_bytes[c];
	return sum;
}

const char *dump_kind_name(uint32_t kind)
{
	static const char *const names[] = {"unused", "blocks", "run",
					    "mapped", "cached", "marked"};

	return kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "?";
}

const char *dump_state_name(enum block_state state)
{
	static const char *const names[] = {"unknown", "free", "free, in a cache", "live",
					    "live, or freed and waiting in a queue"};

	return names[state];
}

int dump_owner(const struct dump *d, const struct dump_page *pg)
{
	return pg->kind == PAGE_SMALL ? dump_heap_at(d, pg->owner) : -1;
}

static struct value known(enum value_kind kind, int64_t number)
{
	return number < 0 ? value_none() : value_of(kind, (double)number);
}

static struct value size_of_class(const struct dump *d, uint32_t class)
{
	if (!class)
		return value_text_of("large", 0);
	return class < d->root.classes ? value_of(VALUE_ID, d->root.class_bytes[class])
				       : value_none();
}

/* name: of a column of `type'; x: the thing row is of. */
#define CELL_(name, type, thing, result)                         \
	static struct value name(const struct model *m, int row) \
	{                                                        \
		const struct dump *d = DUMP(m);                  \
		const type *x = thing;                           \
                                                                 \
		(void)d;                                         \
		(void)x;                                         \
		(void)row;                                       \
		return result;                                   \
	}

/* --- classes --- */

#define CLASS_(name, result) CELL_(class_##name, struct dump_class, &d->class_[row], result)
CLASS_(pages, value_of(VALUE_ID, (double)x->pages))
CLASS_(live, known(VALUE_ID, (int64_t)(x->allocs - x->frees)))
CLASS_(cached, value_of(VALUE_ID, (double)x->cached))
CLASS_(queued, known(VALUE_ID, dump_waiting(d, (unsigned)row)))
CLASS_(free, value_of(VALUE_ID, (double)(x->capacity - x->out)))
CLASS_(held, row ? value_of(VALUE_ID, (double)x->pages * d->root.page_bytes[row]) : value_none())
CLASS_(unbacked, value_of(VALUE_BYTES, (double)x->gone))
CLASS_(used, row ? value_ratio(VALUE_PERCENT,
			       100 * (double)(x->allocs - x->frees) * d->root.class_bytes[row],
			       (double)x->pages * d->root.page_bytes[row])
		 : value_none())

static struct value class_size(const struct model *m, int row)
{
	return size_of_class(DUMP(m), (uint32_t)row);
}

static const struct column class_columns[] = {
	{"size", "SIZE", UNIT_BYTES, "one block of the class; large: above the largest class", 7,
	 99, class_size},
	{"pages", "PAGES", UNIT_COUNT, "pages of the class", 8, 90, class_pages},
	{"live_blocks", "LIVE", UNIT_COUNT, "blocks allocated and not freed", 11, 95, class_live},
	{"cached_blocks", "CACHED", UNIT_COUNT, "free blocks in thread caches", 9, 80,
	 class_cached},
	{"queued_blocks", "QUEUED", UNIT_COUNT,
	 "freed by other threads, not yet taken by their owner", 9, 70, class_queued},
	{"free_blocks", "FREE", UNIT_COUNT, "free blocks in pages", 10, 85, class_free},
	{"held_bytes", "HELD", UNIT_BYTES, "pages of the class, in memory or not", 14, 75,
	 class_held},
	{"used", "USED%", UNIT_RATIO, "of what is held, in live blocks", 6, 93, class_used},
	{"unbacked_bytes", "NOMEM", UNIT_BYTES,
	 "held, but without memory: not used yet, or given back to the system", 0, 0,
	 class_unbacked},
};

static int class_rows(const struct model *m)
{
	return (int)DUMP(m)->root.classes;
}

static bool class_shown(const struct model *m, int row)
{
	const struct dump_class *k = &DUMP(m)->class_[row];

	return k->pages || k->cached || k->allocs != k->frees;
}

const struct view view_dump = {
	.name = "dump",
	.title = "size classes of a heap",
	.columns = COLUMNS(class_columns),
	.rows = class_rows,
	.shown = class_shown,
	.sort = VIEW_UNSORTED,
};

/* --- heaps --- */

#define HEAP_(name, result) CELL_(heap_##name, struct dump_heap, &d->heaps[row], result)
HEAP_(heap, value_of(VALUE_ID, (double)(x - d->heaps)))
HEAP_(tid, value_of(VALUE_ID, x->tid))
HEAP_(state, value_text_of(x->state == HAK_HEAP_LIVE ? "live" : "idle", 0))
HEAP_(cached, value_of(VALUE_ID, (double)x->cached_bytes))
HEAP_(pages, value_of(VALUE_ID, (double)x->npages))
HEAP_(out, value_of(VALUE_ID, (double)x->out))
HEAP_(queue, value_of(VALUE_BOOL, x->queued))
HEAP_(locked, value_of(VALUE_BOOL, x->locked))
HEAP_(busy, value_of(VALUE_BOOL, x->busy != 0))

static const struct column heap_columns[] = {
	{"heap", "HEAP", UNIT_COUNT, "its number", 5, 99, heap_heap},
	{"tid", "TID", UNIT_COUNT, "thread that has it, or had it last", 8, 98, heap_tid},
	{"state", "STATE", UNIT_TEXT, "of a heap live or idle: has a thread or none", 5, 97,
	 heap_state},
	{"cached_bytes", "CACHED B", UNIT_BYTES, "memory in free blocks of thread caches", 12, 95,
	 heap_cached},
	{"pages", "PAGES", UNIT_COUNT, "pages it owns", 8, 90, heap_pages},
	{"out_blocks", "OUT", UNIT_COUNT, "blocks of its pages that are not free in them", 10, 85,
	 heap_out},
	{"queue", "QUEUE", UNIT_BOOL, "blocks wait in its queue", 5, 70, heap_queue},
	{"locked", "LOCKED", UNIT_BOOL, "somebody holds its lock", 6, 70, heap_locked},
	{"slow_operation", "SLOW", UNIT_BOOL, "a slow operation is under way", 4, 70, heap_busy},
};

static int heap_rows(const struct model *m)
{
	return (int)DUMP(m)->nheaps;
}

const struct view view_dump_heaps = {
	.name = "dump_heaps",
	.title = "heaps, one a thread",
	.columns = COLUMNS(heap_columns),
	.rows = heap_rows,
	.shown = always_shown,
	.sort = VIEW_UNSORTED,
};

/* --- pages --- */

#define PAGE_(name, result) CELL_(page_##name, struct page_line, &SHOWN(m)->page[row], result)
PAGE_(page, value_of(VALUE_ADDRESS, (double)x->start))
PAGE_(kind, value_text_of(dump_kind_name(x->kind), 0))
PAGE_(size, size_of_class(d, x->class_))
PAGE_(bytes, value_of(VALUE_ID, (double)x->bytes))
PAGE_(heap, known(VALUE_ID, x->owner))
PAGE_(used, value_of(VALUE_ID, x->used))
PAGE_(capacity, value_of(VALUE_ID, x->capacity))
PAGE_(dirty, value_of(VALUE_ID, x->dirty))

static const struct column page_columns[] = {
	{"page", "PAGE ADDR", UNIT_COUNT, "its address: hakstat dump --block tells more", 18, 99,
	 page_page},
	{"kind", "KIND", UNIT_TEXT, "blocks: of one class; run: one block; mapped: a mapping", 7,
	 90, page_kind},
	{"size", "SIZE", UNIT_BYTES, "one block of the class; large: above the largest class", 8,
	 98, page_size},
	{"bytes", "BYTES", UNIT_BYTES, "length of the page", 10, 80, page_bytes},
	{"heap", "HEAP", UNIT_COUNT, "heap that owns it", 5, 95, page_heap},
	{"used_blocks", "USED", UNIT_COUNT, "blocks not free in it: live, cached or in a queue", 6,
	 97, page_used},
	{"capacity", "OF", UNIT_COUNT, "blocks it has room for", 8, 96, page_capacity},
	{"dirty_slices", "DIRTY SL", UNIT_COUNT, "unused slices of its segment that hold data", 8,
	 70, page_dirty},
};

static int page_rows(const struct model *m)
{
	return (int)SHOWN(m)->pages;
}

const struct view view_dump_pages = {
	.name = "dump_pages",
	.title = "pages, as they lie in memory",
	.columns = COLUMNS(page_columns),
	.rows = page_rows,
	.shown = always_shown,
	.sort = VIEW_UNSORTED,
};

/* --- one address --- */

#define BLOCK_(name, result)                                     \
	CELL_(block_##name, struct dump_block, &SHOWN(m)->block, \
	      SHOWN(m)->block_known ? (result) : value_none())
BLOCK_(start, value_of(VALUE_ADDRESS, (double)x->start))
BLOCK_(bytes, value_of(VALUE_BYTES, (double)x->bytes))
BLOCK_(page, value_of(VALUE_ADDRESS, (double)x->page.start))
BLOCK_(kind, value_text_of(dump_kind_name(x->page.kind), 0))
BLOCK_(heap, known(VALUE_ID, dump_owner(d, &x->page)))
BLOCK_(cache, known(VALUE_ID, x->cache))

static struct value block_address(const struct model *m, int row)
{
	(void)row;
	return (struct value){VALUE_DIGITS, 0, SHOWN(m)->digits};
}

static struct value block_state(const struct model *m, int row)
{
	(void)row;
	return value_text_of(dump_state_name(SHOWN(m)->block.state), 0);
}

static const struct column block_columns[] = {
	{"address", "ADDRESS", UNIT_COUNT, "that was asked for", 18, 99, block_address},
	{"state", "STATE", UNIT_TEXT, "of a block: live, free, in a cache, or in a queue", 20, 98,
	 block_state},
	{"start", "START", UNIT_COUNT, "address of the block", 18, 97, block_start},
	{"bytes", "BYTES", UNIT_BYTES, "length of the block", 10, 96, block_bytes},
	{"page", "PAGE ADDR", UNIT_COUNT, "address of the page the block is in", 18, 90,
	 block_page},
	{"kind", "KIND", UNIT_TEXT, "blocks: of one class; run: one block; mapped: a mapping", 7,
	 80, block_kind},
	{"heap", "HEAP", UNIT_COUNT, "heap that owns its page", 5, 85, block_heap},
	{"cache_of_heap", "IN CACHE", UNIT_COUNT, "heap whose thread has it in its cache", 8, 84,
	 block_cache},
};

static int block_rows(const struct model *m)
{
	return SHOWN(m)->has_block;
}

const struct view view_dump_block = {
	.name = "dump_block",
	.title = "what an address is",
	.columns = COLUMNS(block_columns),
	.rows = block_rows,
	.shown = always_shown,
	.sort = VIEW_UNSORTED,
};

/* --- all of it --- */

#define TOTAL_(name, result) CELL_(total_##name, struct hak_gauges, &d->root.now, result)
#define TOTAL_BYTES_(name, bytes) TOTAL_(name, value_of(VALUE_BYTES, (double)(bytes)))
TOTAL_(pid, value_of(VALUE_ID, d->root.pid))
TOTAL_(version, value_text_or_none(d->root.version))
TOTAL_BYTES_(live, d->live_bytes)
TOTAL_BYTES_(cached, d->cached_bytes)
TOTAL_BYTES_(queued, dump_waiting_bytes(d))
TOTAL_BYTES_(dirty, x->dirty_bytes + x->returned_bytes + x->cached_bytes)
TOTAL_BYTES_(meta, x->meta_bytes)
TOTAL_BYTES_(mapped, x->arena_bytes + x->large_bytes + x->cached_bytes + x->meta_bytes)
TOTAL_(misuses, value_of(VALUE_COUNT, (double)d->root.os.misuses))
TOTAL_(broken, value_of(VALUE_COUNT, (double)d->bad.count))
TOTAL_(first_broken, value_text_or_none(d->bad.first))
TOTAL_(heaps_busy, value_of(VALUE_COUNT, d->busy))
TOTAL_(truncated, value_of(VALUE_BOOL, d->m->truncated))

static const struct column total_columns[] = {
	{"pid", "PID", UNIT_COUNT, "its number", 8, 99, total_pid},
	{"version", "VERSION", UNIT_TEXT, "of libhakmem", 8, 60, total_version},
	{"live_bytes", "LIVE B", UNIT_BYTES,
	 "of blocks allocated and not freed, as classes round them", 7, 95, total_live},
	{"cached_bytes", "CACHED B", UNIT_BYTES, "memory in free blocks of thread caches", 8, 90,
	 total_cached},
	{"queued_bytes", "QUEUED B", UNIT_BYTES, "memory in blocks on their way to their owner", 8,
	 85, total_queued},
	{"dirty_bytes", "DIRTY", UNIT_BYTES,
	 "unused, but still backed by memory: slices of segments, mappings kept", 7, 80,
	 total_dirty},
	{"meta_bytes", "META", UNIT_BYTES, "metadata of the allocator", 7, 75, total_meta},
	{"mapped_bytes", "MAPPED", UNIT_BYTES, "address space the allocator has", 7, 70,
	 total_mapped},
	{"misuses", "MISUSES", UNIT_COUNT, "double frees and the like found, since it began", 7, 65,
	 total_misuses},
	{"broken", "BROKEN", UNIT_COUNT, "invariants that do not hold", 6, 98, total_broken},
	{"first_broken", "FIRST", UNIT_TEXT, "the first of them, in words", 40, 97,
	 total_first_broken},
	{"heaps_busy", "BUSY", UNIT_COUNT, "heaps in a slow operation: counts a batch apart", 5, 50,
	 total_heaps_busy},
	{"core_truncated", "CORECUT", UNIT_BOOL,
	 "the core file is cut off: what is behind cannot be read", 7, 50, total_truncated},
};

static int total_rows(const struct model *m)
{
	(void)m;
	return 1;
}

const struct view view_dump_total = {
	.name = "dump_total",
	.title = "a heap in one row",
	.columns = COLUMNS(total_columns),
	.rows = total_rows,
	.shown = always_shown,
	.sort = VIEW_UNSORTED,
};
