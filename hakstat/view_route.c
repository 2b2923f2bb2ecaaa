/*
 * Which layer served requests of which size. Rows: the classes; what is above them; then requests
 * the system had to serve directly, by powers of two and by reason. Those that a layer above is
 * there for are an alarm: a size that falls through takes a hundred times as long.
 */
#include "views.h"

#define LARGE_MAX                                                                      \
	((uint64_t)2 << 20) /* a segment can serve this (HAK_LARGE_MAX in lib/types.h) \
			     */

#define FALLBACK_ROWS (HAK_FALLBACK_COUNT * HIST_SLOTS)

/* Rows 0 .. classes - 1 are classes, 0 what is above them; the rest fallbacks. */
static bool is_fallback(const struct model *m, int row)
{
	return row >= (int)m->classes;
}

static unsigned reason_of(const struct model *m, int row)
{
	return (unsigned)(row - (int)m->classes) / HIST_SLOTS;
}

static unsigned slot_of(const struct model *m, int row)
{
	return (unsigned)(row - (int)m->classes) % HIST_SLOTS;
}

static uint64_t fallbacks_in(const struct model *m, int row)
{
	return m->fallback_sizes[reason_of(m, row)][slot_of(m, row)];
}

/* Large blocks served by no system call of their own are hits, those of fallbacks other rows. */
static uint64_t requests(const struct model *m, int row)
{
	uint64_t n = m->class_[is_fallback(m, row) ? 0 : row].allocs;

	if (is_fallback(m, row))
		return fallbacks_in(m, row);
	if (row == 0)
		return n > m->fallbacks ? n - m->fallbacks : 0;
	return n;
}

/* Bounds of sizes are told to the byte as long as they are short. */
static struct value bytes_exactly(double bytes)
{
	return value_of(bytes < 1e6 ? VALUE_COUNT : VALUE_BYTES, bytes);
}

static struct value from_bytes(const struct model *m, int row)
{
	uint64_t least;

	if (is_fallback(m, row))
		least = slot_of(m, row) ? (uint64_t)1 << slot_of(m, row) : 0;
	else if (row == 0)
		least = m->class_[m->classes - 1].block_bytes + 1;
	else
		least = row == 1 ? 0 : m->class_[row - 1].block_bytes + 1;
	return bytes_exactly((double)least);
}

static struct value to_bytes(const struct model *m, int row)
{
	if (is_fallback(m, row))
		return bytes_exactly(2 * (double)((uint64_t)1 << slot_of(m, row)) - 1);
	return row ? bytes_exactly((double)m->class_[row].block_bytes) : value_none();
}

static struct value request_rate(const struct model *m, int row)
{
	return value_per_second(m, (double)requests(m, row));
}

static struct value request_count(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, (double)requests(m, row));
}

static struct value share(const struct model *m, int row)
{
	return value_ratio(VALUE_PERCENT, 100 * (double)requests(m, row), (double)m->allocs);
}

/* Of a run or span above the classes a hit is one of the allocator's own memory. */
static struct value by_cache(const struct model *m, int row)
{
	const struct class_delta *d = &m->class_[row < (int)m->classes ? row : 0];

	if (is_fallback(m, row))
		return value_of(VALUE_COUNT, 0);
	if (row == 0)
		return value_none();
	return d->allocs >= d->refills ? value_of(VALUE_COUNT, (double)(d->allocs - d->refills))
				       : value_none();
}

static struct value by_source(const struct model *m, int row, enum hak_source source)
{
	if (is_fallback(m, row))
		return value_of(VALUE_COUNT, 0);
	if (!model_knows(m, PROBE_BIT(HAK_P_hakmem_refill)) || row == 0)
		return value_none();
	return value_of(VALUE_COUNT, (double)m->class_[row].refills_from[source]);
}

static struct value by_page(const struct model *m, int row)
{
	return by_source(m, row, HAK_SOURCE_PAGE);
}

static struct value by_remote(const struct model *m, int row)
{
	return by_source(m, row, HAK_SOURCE_REMOTE);
}

static struct value by_fresh(const struct model *m, int row)
{
	return by_source(m, row, HAK_SOURCE_FRESH);
}

static struct value by_adopted(const struct model *m, int row)
{
	return by_source(m, row, HAK_SOURCE_ADOPTED);
}

/* Above the classes only this is known: with or without the system's help. */
static struct value by_arena(const struct model *m, int row)
{
	if (row == 0)
		return value_of(VALUE_COUNT, (double)m->large_hits);
	return by_source(m, row, HAK_SOURCE_ARENA);
}

static struct value by_os(const struct model *m, int row)
{
	uint64_t n = requests(m, row);

	if (row == 0)
		return value_of(VALUE_COUNT, n > m->large_hits ? (double)(n - m->large_hits) : 0);
	return by_source(m, row, HAK_SOURCE_OS);
}

static struct value by_mmap(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, is_fallback(m, row) ? (double)fallbacks_in(m, row) : 0);
}

static struct value reason(const struct model *m, int row)
{
	return is_fallback(m, row) ? value_text_of(hak_fallback_names[reason_of(m, row)], 0)
				   : value_none();
}

static const struct column columns[] = {
	{"from_bytes", "FROM", UNIT_BYTES, "least bytes requested", 9, 99, from_bytes},
	{"to_bytes", "TO", UNIT_BYTES, "most bytes requested", 9, 98, to_bytes},
	{"requests_per_s", "REQ/s", UNIT_RATE, "allocations", 7, 97, request_rate},
	{"share", "SHARE%", UNIT_RATIO, "of all allocations", 6, 60, share},
	{"from_cache", "CACHE", UNIT_COUNT, "served by the thread cache, in this interval", 7, 96,
	 by_cache},
	{"from_page", "PAGE", UNIT_COUNT, "refilled from a page the thread had", 6, 90, by_page},
	{"from_remote", "REMOTE", UNIT_COUNT, "refilled with blocks other threads sent back", 6, 89,
	 by_remote},
	{"from_fresh", "FRESH", UNIT_COUNT, "refilled from an unused page of the arena", 6, 88,
	 by_fresh},
	{"from_adopted", "ADOPT", UNIT_COUNT, "refilled from a page of another thread", 6, 87,
	 by_adopted},
	{"from_arena", "ARENA", UNIT_COUNT,
	 "from new memory of the arena; above the classes, or reused there", 6, 91, by_arena},
	{"from_os", "OS", UNIT_COUNT, "the arena had to grow for it", 6, 92, by_os},
	{"mmap_fallbacks", "MMAP", UNIT_COUNT, "no layer could serve it: one mmap(2) each", 6, 95,
	 by_mmap},
	{"reason", "REASON", UNIT_TEXT, "why no layer could", 18, 94, reason},
	{"requests", "REQUESTS", UNIT_COUNT, "allocations in this interval", 0, 0, request_count},
};

static int rows(const struct model *m)
{
	return (int)m->classes + FALLBACK_ROWS;
}

static bool shown(const struct model *m, int row)
{
	return requests(m, row) != 0;
}

static bool alert(const struct model *m, int row)
{
	return is_fallback(m, row) && fallbacks_in(m, row) &&
	       (reason_of(m, row) == HAK_FALLBACK_ARENA_EXHAUSTED ||
		((uint64_t)1 << slot_of(m, row)) < LARGE_MAX);
}

static bool note(const struct model *m, int i, char *out, size_t len)
{
	uint64_t wrong = 0;

	if (i)
		return false;
	if (!model_knows(m, PROBE_BIT(HAK_P_hakmem_mmap_fallback))) {
		snprintf(out, len,
			 "without all events: %llu requests went to mmap(2), of which size and "
			 "why is not known",
			 (unsigned long long)m->fallbacks);
		return true;
	}
	for (int row = (int)m->classes; row < rows(m); row++)
		wrong += alert(m, row) ? fallbacks_in(m, row) : 0;
	if (wrong)
		snprintf(out, len,
			 "! %llu requests of up to 2 MiB cost an mmap(2) each: a layer "
			 "above should have served them",
			 (unsigned long long)wrong);
	else
		snprintf(out, len, "every request of up to 2 MiB was served by its layer");
	return true;
}

const struct view view_route = {
	.name = "route",
	.by_bpf = "from_page from_remote from_fresh from_adopted from_arena from_os mmap_fallbacks "
		  "reason",
	.title = "routes of requests by size",
	.columns = COLUMNS(columns),
	.rows = rows,
	.shown = shown,
	.sort = 2,
	.key = '5',
	.probes = PROBE_BIT(HAK_P_hakmem_refill),
	.alert = alert,
	.note = note,
};
