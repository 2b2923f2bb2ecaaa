/* A process a row: `top -a`, and what alerts on a whole process are about. */
#include "processes.h"
#include "views.h"

#include <string.h>

#define ROW(m, row) (&(m)->processes->row[row])

void process_row_make(struct process_row *r, const struct model *m)
{
	r->seconds = m->seconds;
	r->rss = m->rss;
	r->threads = m->threads;
	r->allocs = m->allocs;
	r->frees = m->frees;
	r->small_allocs = m->small_allocs;
	r->refills = m->refills;
	r->remote_blocks = m->remote_blocks;
	r->waits = m->waits;
	r->os_calls = model_os_calls(m);
	r->fallbacks = m->fallbacks;
	r->queued_blocks = m->queued_blocks;
	r->ooms = m->ooms;
	r->misuses = m->misuses;
	r->now = m->now;
	r->wait_ns = r->flushes = r->live_blocks = r->held_bytes = r->cached_blocks = 0;
	r->live_bytes = m->large_live_bytes;
	for (int i = 0; i < HAK_LOCK_COUNT; i++)
		r->wait_ns += m->lock[i].wait_ns;
	for (unsigned c = 0; c < m->classes; c++) {
		const struct class_delta *d = &m->class_[c];

		r->live_blocks += d->live;
		r->live_bytes += d->live * d->block_bytes;
		r->held_bytes += d->held_bytes;
		r->cached_blocks += d->cached;
		r->flushes += d->flushes;
	}
}

static struct value per_second(const struct process_row *r, uint64_t n)
{
	return r->seconds > 0 ? value_of(VALUE_RATE, (double)n / r->seconds) : value_none();
}

static struct value pid(const struct model *m, int row)
{
	return value_of(VALUE_ID, ROW(m, row)->pid);
}

static struct value comm(const struct model *m, int row)
{
	return value_text_of(ROW(m, row)->comm, 0);
}

static struct value cgroup(const struct model *m, int row)
{
	const char *name = ROW(m, row)->cgroup;

	return *name ? value_text_of(name, 0) : value_none();
}

static struct value rss(const struct model *m, int row)
{
	uint64_t bytes = ROW(m, row)->rss;

	return bytes ? value_of(VALUE_BYTES, (double)bytes) : value_none();
}

static struct value shared(const struct model *m, int row)
{
	const struct process_row *r = ROW(m, row);

	return r->shared ? value_of(VALUE_BYTES, (double)r->shared) : value_none();
}

static struct value title(const struct model *m, int row)
{
	const char *text = ROW(m, row)->title;

	return *text ? value_text_of(text, 0) : value_none();
}

static struct value threads(const struct model *m, int row)
{
	int n = ROW(m, row)->threads;

	return n ? value_of(VALUE_COUNT, n) : value_none();
}

static struct value hit_rate(const struct model *m, int row)
{
	const struct process_row *r = ROW(m, row);

	if (!(r->seconds > 0) || r->small_allocs < r->refills)
		return value_none();
	return value_ratio(VALUE_PERCENT, 100 * (double)(r->small_allocs - r->refills),
			   (double)r->small_allocs);
}

static struct value remote_share(const struct model *m, int row)
{
	const struct process_row *r = ROW(m, row);

	return r->seconds > 0 ? value_ratio(VALUE_PERCENT, 100 * (double)r->remote_blocks,
					    (double)r->frees)
			      : value_none();
}

static struct value wait_ns(const struct model *m, int row)
{
	const struct process_row *r = ROW(m, row);

	return r->seconds > 0 ? value_of(VALUE_NS, (double)r->wait_ns) : value_none();
}

#define RATE_(field)                                                     \
	static struct value rate_##field(const struct model *m, int row) \
	{                                                                \
		return per_second(ROW(m, row), ROW(m, row)->field);      \
	}
RATE_(allocs)
RATE_(frees)
RATE_(refills)
RATE_(flushes)
RATE_(remote_blocks)
RATE_(waits)
RATE_(os_calls)
RATE_(fallbacks)

#define NOW_(name, kind, field)                                    \
	static struct value name(const struct model *m, int row)   \
	{                                                          \
		return value_of(kind, (double)ROW(m, row)->field); \
	}
NOW_(live_blocks, VALUE_COUNT, live_blocks)
NOW_(live_bytes, VALUE_BYTES, live_bytes)
NOW_(held_bytes, VALUE_BYTES, held_bytes)
NOW_(cached_blocks, VALUE_COUNT, cached_blocks)
NOW_(queued_blocks, VALUE_COUNT, queued_blocks)
NOW_(used_bytes, VALUE_BYTES, now.used_bytes)
NOW_(unused_bytes, VALUE_BYTES, now.dirty_bytes)
NOW_(kept_bytes, VALUE_BYTES, now.cached_bytes)
NOW_(meta_bytes, VALUE_BYTES, now.meta_bytes)
NOW_(ooms, VALUE_COUNT, ooms)
NOW_(misuses, VALUE_COUNT, misuses)

static const struct column columns[] = {
	{"pid", "PID", UNIT_COUNT, "its number", 7, 99, pid},
	{"comm", "COMMAND", UNIT_TEXT, "its name", 15, 98, comm},
	{"cgroup", "CGROUP", UNIT_TEXT, "container, pod, unit or cgroup it is in", 25, 80, cgroup},
	{"rss_bytes", "RSS", UNIT_BYTES, "memory the process has", 7, 97, rss},
	{"shared_bytes", "SHARED", UNIT_BYTES,
	 "of RSS, files and shared memory: other processes may have the same", 7, 92, shared},
	{"live_bytes", "LIVE B", UNIT_BYTES,
	 "of blocks allocated and not freed, as classes round them", 7, 93, live_bytes},
	{"allocs_per_s", "ALLOC/s", UNIT_RATE, "allocations", 8, 96, rate_allocs},
	{"frees_per_s", "FREE/s", UNIT_RATE, "frees, by whichever thread", 8, 70, rate_frees},
	{"hit_rate", "HIT%", UNIT_RATIO, "allocations served by the thread's own cache", 6, 95,
	 hit_rate},
	{"remote_share", "REMOT%", UNIT_RATIO, "frees of blocks of another thread's", 6, 75,
	 remote_share},
	{"waits_per_s", "WAIT/s", UNIT_RATE, "times a thread found a lock of the allocator held", 7,
	 90, rate_waits},
	{"os_calls_per_s", "OS/s", UNIT_RATE, "system calls by the allocator for memory", 7, 85,
	 rate_os_calls},
	{"fallbacks_per_s", "FALL/s", UNIT_RATE, "requests that only the system could serve", 7, 60,
	 rate_fallbacks},
	{"threads", "THREADS", UNIT_COUNT, "threads it has", 7, 65, threads},
	{"title", "COMMAND LINE", UNIT_TEXT, "or what the process has put there", 30, 55, title},
	{"wait_ns", "WAITED", UNIT_NS, "time its threads waited for locks of the allocator", 0, 0,
	 wait_ns},
	{"refills_per_s", "REFIL/s", UNIT_RATE, "times a cache was empty", 0, 0, rate_refills},
	{"flushes_per_s", "FLUSH/s", UNIT_RATE, "times a cache gave blocks back", 0, 0,
	 rate_flushes},
	{"remote_blocks_per_s", "REMOT/s", UNIT_RATE, "blocks sent to the thread that owns them", 0,
	 0, rate_remote_blocks},
	{"live_blocks", "LIVE", UNIT_COUNT, "blocks allocated and not freed", 0, 0, live_blocks},
	{"held_bytes", "HELD", UNIT_BYTES, "memory in pages of classes and in large blocks", 0, 0,
	 held_bytes},
	{"cached_blocks", "CACHED", UNIT_COUNT, "free blocks in thread caches", 0, 0,
	 cached_blocks},
	{"queued_blocks", "QUEUED", UNIT_COUNT,
	 "freed by other threads, not yet taken by their owner", 0, 0, queued_blocks},
	{"used_bytes", "USED", UNIT_BYTES, "of segments, in pages and large blocks", 0, 0,
	 used_bytes},
	{"unused_bytes", "UNUSED", UNIT_BYTES, "of segments, free but still backed by memory", 0, 0,
	 unused_bytes},
	{"kept_bytes", "KEPT", UNIT_BYTES, "mappings kept for reuse", 0, 0, kept_bytes},
	{"meta_bytes", "META", UNIT_BYTES, "metadata of the allocator", 0, 0, meta_bytes},
	{"ooms", "OOMS", UNIT_COUNT, "requests that failed, since it began", 0, 0, ooms},
	{"misuses", "MISUSES", UNIT_COUNT, "double frees and the like found, since it began", 0, 0,
	 misuses},
};

static int rows(const struct model *m)
{
	return m->processes ? m->processes->n : 0;
}

static bool note(const struct model *m, int i, char *out, size_t len)
{
	if (i || !m->processes || !m->processes->closed)
		return false;
	snprintf(out, len,
		 "processes that could not be looked into, on libhakmem or not: %d (hakstat doctor "
		 "says what it takes)",
		 m->processes->closed);
	return true;
}

const struct view view_processes = {
	.name = "processes",
	.title = "processes on libhakmem",
	.columns = COLUMNS(columns),
	.rows = rows,
	.shown = always_shown,
	.sort = 5,
	.note = note,
};
