/* Threads: who allocates, who frees, who waits. */
#include "threads.h"
#include "views.h"

#define ROW(m, row) (&(m)->threads_of->row[row])

static struct value name(const struct model *m, int row)
{
	const char *text = ROW(m, row)->name;

	return *text ? value_text_of(text, 0) : value_none();
}

static struct value tid(const struct model *m, int row)
{
	uint32_t n = ROW(m, row)->tid;

	return n ? value_of(VALUE_ID, n) : value_none();
}

static struct value allocs_rate(const struct model *m, int row)
{
	return value_per_second(m, (double)ROW(m, row)->allocs);
}

static struct value frees_rate(const struct model *m, int row)
{
	return value_per_second(m, (double)ROW(m, row)->frees);
}

static struct value hit_rate(const struct model *m, int row)
{
	const struct thread_row *r = ROW(m, row);

	if (r->cached_allocs < r->refills)
		return value_none();
	return value_ratio(VALUE_PERCENT, 100.0 * (double)(r->cached_allocs - r->refills),
			   (double)r->cached_allocs);
}

static struct value cached_bytes(const struct model *m, int row)
{
	return value_of(VALUE_BYTES, (double)ROW(m, row)->cached_bytes);
}

static struct value out_rate(const struct model *m, int row)
{
	return value_per_second(m, (double)ROW(m, row)->out_blocks);
}

static struct value in_rate(const struct model *m, int row)
{
	return value_per_second(m, (double)ROW(m, row)->in_blocks);
}

static struct value waits_rate(const struct model *m, int row)
{
	return m->threads_of->has_waits ? value_per_second(m, (double)ROW(m, row)->waits)
					: value_none();
}

static struct value wait_ns(const struct model *m, int row)
{
	return m->threads_of->has_waits ? value_of(VALUE_NS, (double)ROW(m, row)->wait_ns)
					: value_none();
}

#define COUNT_(field)                                                     \
	static struct value count_##field(const struct model *m, int row) \
	{                                                                 \
		return value_of(VALUE_COUNT, (double)ROW(m, row)->field); \
	}
COUNT_(allocs)
COUNT_(frees)
COUNT_(refills)
COUNT_(cached_blocks)
COUNT_(out_blocks)
COUNT_(out_bytes)
COUNT_(in_blocks)
COUNT_(in_bytes)
COUNT_(threads)

static struct value count_waits(const struct model *m, int row)
{
	return m->threads_of->has_waits ? value_of(VALUE_COUNT, (double)ROW(m, row)->waits)
					: value_none();
}

static const struct column columns[] = {
	{"thread", "THREAD", UNIT_TEXT, "name of the thread; (ended): all those that have ended",
	 15, 99, name},
	{"tid", "TID", UNIT_COUNT, "its number, in the PID namespace of the process", 7, 97, tid},
	{"allocs_per_s", "ALLOC/s", UNIT_RATE, "allocations", 8, 98, allocs_rate},
	{"frees_per_s", "FREE/s", UNIT_RATE, "frees, of whosever blocks", 8, 95, frees_rate},
	{"hit_rate", "HIT%", UNIT_RATIO, "allocations served by the thread's own cache", 6, 96,
	 hit_rate},
	{"cached_bytes", "CACHED B", UNIT_BYTES, "free blocks in its cache", 8, 94, cached_bytes},
	{"remote_blocks_per_s", "REMOT/s", UNIT_RATE, "blocks sent to the thread that owns them", 7,
	 91, out_rate},
	{"received_blocks_per_s", "IN/s", UNIT_RATE,
	 "blocks of its own that others freed and sent here", 7, 90, in_rate},
	{"waits_per_s", "WAIT/s", UNIT_RATE, "times it found a lock of the allocator held", 7, 85,
	 waits_rate},
	{"wait_ns", "WAITED", UNIT_NS, "time it waited for locks of the allocator", 7, 84, wait_ns},
	{"threads", "THREADS", UNIT_COUNT,
	 "threads whose counts these are: a new one may go on with a cache", 7, 40, count_threads},
	{"allocs", "ALLOCS", UNIT_COUNT, "allocations in this interval", 0, 0, count_allocs},
	{"frees", "FREES", UNIT_COUNT, "frees in this interval", 0, 0, count_frees},
	{"refills", "REFILLS", UNIT_COUNT, "refills in this interval", 0, 0, count_refills},
	{"cached_blocks", "CACHED", UNIT_COUNT, "free blocks in thread caches", 0, 0,
	 count_cached_blocks},
	{"remote_blocks", "OUT", UNIT_COUNT, "blocks sent to their owners, in this interval", 0, 0,
	 count_out_blocks},
	{"remote_bytes", "OUT BYTES", UNIT_BYTES, "their size together", 0, 0, count_out_bytes},
	{"received_blocks", "IN", UNIT_COUNT, "own blocks that came back, in this interval", 0, 0,
	 count_in_blocks},
	{"received_bytes", "IN BYTES", UNIT_BYTES, "their size together", 0, 0, count_in_bytes},
	{"waits", "WAITS", UNIT_COUNT, "times it found a lock held, in this interval", 0, 0,
	 count_waits},
};

static int rows(const struct model *m)
{
	return m->threads_of ? m->threads_of->n : 0;
}

static bool note(const struct model *m, int i, char *out, size_t len)
{
	if (i || !m->threads_of || !m->threads_of->without)
		return false;
	snprintf(out, len, "%d threads have not used the allocator", m->threads_of->without);
	return true;
}

const struct view view_threads = {
	.name = "threads",
	.by_bpf = "waits_per_s wait_ns waits",
	.title = "threads",
	.columns = COLUMNS(columns),
	.rows = rows,
	.shown = always_shown,
	.sort = 2,
	.key = '4',
	.source = &source_threads,
	.note = note,
};
