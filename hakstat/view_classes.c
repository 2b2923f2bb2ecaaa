/* Size classes. */
#include "stacks.h"
#include "views.h"

#define CLASS(m, row) (&(m)->class_[row])

static struct value class_size(const struct model *m, int row)
{
	if (row == 0)
		return value_text_of("large", 1e18);
	return value_of(VALUE_COUNT, (double)CLASS(m, row)->block_bytes);
}

static struct value class_allocs(const struct model *m, int row)
{
	return value_per_second(m, (double)CLASS(m, row)->allocs);
}

static struct value class_frees(const struct model *m, int row)
{
	return value_per_second(m, (double)CLASS(m, row)->frees);
}

static struct value class_hit(const struct model *m, int row)
{
	const struct class_delta *d = CLASS(m, row);
	uint64_t hits = row == 0 ? m->large_hits : d->allocs - d->refills;

	return d->allocs < d->refills
		       ? value_none()
		       : value_ratio(VALUE_PERCENT, 100.0 * (double)hits, (double)d->allocs);
}

static struct value class_refills(const struct model *m, int row)
{
	return row ? value_per_second(m, (double)CLASS(m, row)->refills) : value_none();
}

static struct value class_per_refill(const struct model *m, int row)
{
	return value_ratio(VALUE_FACTOR, (double)CLASS(m, row)->refill_blocks,
			   (double)CLASS(m, row)->refills);
}

static struct value class_flushes(const struct model *m, int row)
{
	return row ? value_per_second(m, (double)CLASS(m, row)->flushes) : value_none();
}

static struct value class_remote(const struct model *m, int row)
{
	return row ? value_per_second(m, (double)CLASS(m, row)->remote_blocks) : value_none();
}

static struct value class_live(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, (double)CLASS(m, row)->live);
}

static struct value class_held(const struct model *m, int row)
{
	return value_of(VALUE_BYTES, (double)CLASS(m, row)->held_bytes);
}

static struct value class_waste(const struct model *m, int row)
{
	return row ? value_of(VALUE_BYTES, (double)CLASS(m, row)->waste_bytes) : value_none();
}

static struct value class_unbacked(const struct model *m, int row)
{
	return row ? value_of(VALUE_BYTES, (double)CLASS(m, row)->unbacked_bytes) : value_none();
}

static struct value class_cached(const struct model *m, int row)
{
	return row ? value_of(VALUE_COUNT, (double)CLASS(m, row)->cached) : value_none();
}

#define COUNTER_(field)                                                           \
	static struct value class_##field##_count(const struct model *m, int row) \
	{                                                                         \
		return value_of(VALUE_COUNT, (double)CLASS(m, row)->field);       \
	}
COUNTER_(allocs)
COUNTER_(frees)
COUNTER_(refills)
COUNTER_(flushes)
COUNTER_(refill_blocks)
COUNTER_(flush_blocks)
COUNTER_(remote_blocks)

static const struct column columns[] = {
	{"size", "SIZE", UNIT_BYTES, "one block of the class; large: above the largest class", 6,
	 99, class_size},
	{"allocs_per_s", "ALLOC/s", UNIT_RATE, "allocations", 8, 98, class_allocs},
	{"frees_per_s", "FREE/s", UNIT_RATE, "frees, by whichever thread", 8, 95, class_frees},
	{"hit_rate", "HIT%", UNIT_RATIO, "allocations served by the thread's own cache", 6, 97,
	 class_hit},
	{"refills_per_s", "REFIL/s", UNIT_RATE, "times a cache was empty", 8, 90, class_refills},
	{"blocks_per_refill", "BLK/RF", UNIT_FACTOR, "blocks a refill brought", 6, 60,
	 class_per_refill},
	{"flushes_per_s", "FLUSH/s", UNIT_RATE, "times a cache gave blocks back", 8, 70,
	 class_flushes},
	{"remote_blocks_per_s", "REMOT/s", UNIT_RATE, "blocks sent to the thread that owns them", 8,
	 80, class_remote},
	{"live_blocks", "LIVE", UNIT_COUNT, "blocks allocated and not freed", 7, 92, class_live},
	{"held_bytes", "HELD", UNIT_BYTES, "pages of the class: LIVE x SIZE + WASTE + NOMEM", 7, 91,
	 class_held},
	{"waste_bytes", "WASTE", UNIT_BYTES,
	 "in memory, but not in live blocks: cached, free, or lost at page ends", 7, 65,
	 class_waste},
	{"unbacked_bytes", "NOMEM", UNIT_BYTES,
	 "held, but without memory: not used yet, or given back to the system", 7, 40,
	 class_unbacked},
	{"cached_blocks", "CACHED", UNIT_COUNT, "free blocks in thread caches", 7, 50,
	 class_cached},
	{"allocs", "ALLOCS", UNIT_COUNT, "allocations in this interval", 0, 0, class_allocs_count},
	{"frees", "FREES", UNIT_COUNT, "frees in this interval", 0, 0, class_frees_count},
	{"refills", "REFILLS", UNIT_COUNT, "refills in this interval", 0, 0, class_refills_count},
	{"flushes", "FLUSHES", UNIT_COUNT, "flushes in this interval", 0, 0, class_flushes_count},
	{"refill_blocks", "REFILLED", UNIT_COUNT, "blocks that refills brought, in this interval",
	 0, 0, class_refill_blocks_count},
	{"flush_blocks", "FLUSHED", UNIT_COUNT, "blocks that flushes gave back, in this interval",
	 0, 0, class_flush_blocks_count},
	{"remote_blocks", "REMOTE", UNIT_COUNT, "blocks sent to their owners, in this interval", 0,
	 0, class_remote_blocks_count},
};

static int class_rows(const struct model *m)
{
	return (int)m->classes;
}

static bool class_shown(const struct model *m, int row)
{
	const struct class_delta *d = CLASS(m, row);

	return d->allocs || d->frees || d->live || d->held_bytes;
}

static bool class_explain(const struct model *m, int row, struct stacks_options *o)
{
	char what[32];

	if (row == 0) /* large ones */
		return stacks_explain(o, HAK_P_hakmem_mmap_fallback, NULL, 0, "");
	snprintf(what, sizeof(what), "class %llu", (unsigned long long)CLASS(m, row)->block_bytes);
	return stacks_explain(o, HAK_P_hakmem_refill, "class", (uint32_t)row, what);
}

const struct view view_classes = {
	.name = "classes",
	.title = "size classes",
	.columns = COLUMNS(columns),
	.rows = class_rows,
	.shown = class_shown,
	.sort = 1,
	.key = '1',
	.explain = class_explain,
};
