/*
 * Which layer served requests of which size. Rows: the classes; what is above them; then requests
 * that got a mapping of their own, by powers of two and by reason. Those that a layer above is
 * there for are an alarm: a size that falls through takes a hundred times as long, or, where such a
 * mapping is used again, a hundred times its memory.
 */
#include "stacks.h"
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

/* Which requests went to mmap(2), and why. What is over-aligned is counted by the target too. */
static bool knows_fallbacks(const struct model *m)
{
	return model_knows(m, PROBE_BIT(HAK_P_hakmem_mmap_fallback));
}

static uint64_t fallbacks_in(const struct model *m, int row)
{
	return m->fallback_sizes[reason_of(m, row)][slot_of(m, row)];
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* Over-aligned requests that got a mapping once made for another. */
static uint64_t reused_in(const struct model *m, int row)
{
	return reason_of(m, row) == HAK_FALLBACK_OVER_ALIGNED
		       ? less(m->over_aligned[slot_of(m, row)], fallbacks_in(m, row))
		       : 0;
}

static uint64_t reused(const struct model *m)
{
	uint64_t n = 0;

	for (unsigned k = 0; k < HIST_SLOTS; k++)
		n += less(m->over_aligned[k], m->fallback_sizes[HAK_FALLBACK_OVER_ALIGNED][k]);
	return n;
}

/* Large blocks without those of the other rows. */
static uint64_t large_requests(const struct model *m)
{
	uint64_t n = m->class_[0].allocs, aligned = 0;

	if (knows_fallbacks(m))
		return less(n, m->fallbacks + reused(m));
	for (unsigned k = 0; k < HIST_SLOTS; k++)
		aligned += m->over_aligned[k];
	return less(n, aligned > m->fallbacks ? aligned : m->fallbacks);
}

static uint64_t requests(const struct model *m, int row)
{
	if (is_fallback(m, row))
		return fallbacks_in(m, row) + reused_in(m, row);
	return row ? m->class_[row].allocs : large_requests(m);
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
		return value_of(VALUE_COUNT, (double)less(m->large_hits, reused(m)));
	return by_source(m, row, HAK_SOURCE_ARENA);
}

static struct value by_os(const struct model *m, int row)
{
	if (row == 0)
		return value_of(VALUE_COUNT,
				(double)less(requests(m, row), less(m->large_hits, reused(m))));
	return by_source(m, row, HAK_SOURCE_OS);
}

static struct value of_fallbacks(const struct model *m, int row,
				 uint64_t (*in)(const struct model *, int))
{
	if (!is_fallback(m, row))
		return value_of(VALUE_COUNT, 0);
	return knows_fallbacks(m) ? value_of(VALUE_COUNT, (double)in(m, row)) : value_none();
}

static struct value by_mmap(const struct model *m, int row)
{
	return of_fallbacks(m, row, fallbacks_in);
}

static struct value by_reuse(const struct model *m, int row)
{
	return of_fallbacks(m, row, reused_in);
}

static struct value reason(const struct model *m, int row)
{
	return is_fallback(m, row) ? value_text_of(hak_fallback_names[reason_of(m, row)], 0)
				   : value_none();
}

static const struct column columns[] = {
	{"from_bytes", "FROM", UNIT_BYTES, "least bytes requested", 7, 99, from_bytes},
	{"to_bytes", "TO", UNIT_BYTES, "most bytes requested", 7, 98, to_bytes},
	{"requests_per_s", "REQ/s", UNIT_RATE, "allocations", 7, 97, request_rate},
	{"share", "SHARE%", UNIT_RATIO, "of all allocations", 6, 60, share},
	{"from_cache", "CACHE", UNIT_COUNT, "served by the thread cache, in this interval", 7, 94,
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
	{"from_reuse", "REUSE", UNIT_COUNT,
	 "no layer could serve it: a mapping kept from another, for over-aligned ones", 6, 93,
	 by_reuse},
	{"reason", "REASON", UNIT_TEXT, "why no layer could", 12, 96, reason},
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
	return is_fallback(m, row) && requests(m, row) &&
	       (reason_of(m, row) == HAK_FALLBACK_ARENA_EXHAUSTED ||
		((uint64_t)1 << slot_of(m, row)) < LARGE_MAX);
}

static bool note(const struct model *m, int i, char *out, size_t len)
{
	uint64_t mapped = 0, again = 0;

	if (i)
		return false;
	if (!knows_fallbacks(m)) {
		snprintf(out, len,
			 "without all events: %llu requests went to mmap(2), of which size and "
			 "why is not known",
			 (unsigned long long)m->fallbacks);
		return true;
	}
	for (int row = (int)m->classes; row < rows(m); row++) {
		mapped += alert(m, row) ? fallbacks_in(m, row) : 0;
		again += alert(m, row) ? reused_in(m, row) : 0;
	}
	if (mapped || again)
		snprintf(out, len,
			 "! %llu requests of up to 2 MiB got a mapping of their own, %llu by an "
			 "mmap(2), %llu one used before: a layer above should have served them",
			 (unsigned long long)(mapped + again), (unsigned long long)mapped,
			 (unsigned long long)again);
	else
		snprintf(out, len, "every request of up to 2 MiB was served by its layer");
	return true;
}

static bool explain(const struct model *m, int row, struct stacks_options *o)
{
	char what[32];

	if (is_fallback(m, row))
		return stacks_explain(o, HAK_P_hakmem_mmap_fallback, "enum:HAK_FALLBACK_REASONS",
				      reason_of(m, row), hak_fallback_names[reason_of(m, row)]);
	if (row == 0)
		return stacks_explain(o, HAK_P_hakmem_mmap_fallback, NULL, 0, "");
	snprintf(what, sizeof(what), "class %llu", (unsigned long long)m->class_[row].block_bytes);
	return stacks_explain(o, HAK_P_hakmem_refill, "class", (uint32_t)row, what);
}

const struct view view_route = {
	.name = "route",
	.by_bpf = "from_page from_remote from_fresh from_adopted from_arena from_os mmap_fallbacks "
		  "from_reuse",
	.title = "routes of requests by size",
	.columns = COLUMNS(columns),
	.rows = rows,
	.shown = shown,
	.sort = 2,
	.key = '5',
	.probes = PROBE_BIT(HAK_P_hakmem_refill),
	.alert = alert,
	.note = note,
	.explain = explain,
};
