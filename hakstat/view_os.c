/*
 * What the allocator asked of the system. Rows are kinds x reasons of system calls, then reasons of
 * fallbacks, all by BPF. Without it there is one row a kind instead, by the counters, which know
 * neither reasons nor times.
 */
#include "stacks.h"
#include "views.h"

#define OS_PROBES                                                             \
	(PROBE_BIT(HAK_P_hakmem_os_map) | PROBE_BIT(HAK_P_hakmem_os_unmap) |  \
	 PROBE_BIT(HAK_P_hakmem_os_purge) | PROBE_BIT(HAK_P_hakmem_os_fill) | \
	 PROBE_BIT(HAK_P_hakmem_mmap_fallback))
#define OS_ROWS (OS_KINDS * HAK_OS_COUNT)
#define OS_BPF_ROWS (OS_ROWS + HAK_FALLBACK_COUNT)

static struct os_delta os_row(const struct model *m, int row)
{
	const struct os_delta totals[OS_KINDS + 1] = {
		[OS_MAP] = {m->maps, m->map_bytes, 0},
		[OS_UNMAP] = {m->unmaps, m->unmap_bytes, 0},
		[OS_PURGE] = {m->purges, m->purge_bytes, 0},
		[OS_FILL] = {m->fills, m->fill_bytes, 0},
		[OS_KINDS] = {m->fallbacks, m->fallback_bytes, 0},
	};

	if (row >= OS_BPF_ROWS)
		return totals[row - OS_BPF_ROWS];
	return row < OS_ROWS ? m->os[row / HAK_OS_COUNT][row % HAK_OS_COUNT]
			     : m->fallback[row - OS_ROWS];
}

static struct value os_kind(const struct model *m, int row)
{
	static const char *const names[] = {"map", "unmap", "purge", "fill", "mmap_fallback"};
	int kind = row < OS_ROWS ? row / HAK_OS_COUNT : OS_KINDS;

	(void)m;
	return value_text_of(names[row < OS_BPF_ROWS ? kind : row - OS_BPF_ROWS], -row);
}

static struct value os_reason(const struct model *m, int row)
{
	(void)m;
	if (row >= OS_BPF_ROWS)
		return value_none();
	return value_text_of(row < OS_ROWS ? hak_os_names[row % HAK_OS_COUNT]
					   : hak_fallback_names[row - OS_ROWS],
			     -row);
}

static struct value os_rate(const struct model *m, int row)
{
	return value_per_second(m, (double)os_row(m, row).calls);
}

static struct value os_calls(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, (double)os_row(m, row).calls);
}

static struct value os_bytes(const struct model *m, int row)
{
	return value_of(VALUE_BYTES, (double)os_row(m, row).bytes);
}

static struct value os_mean(const struct model *m, int row)
{
	struct os_delta d = os_row(m, row);

	return row < OS_ROWS ? value_ratio(VALUE_NS, (double)d.ns, (double)d.calls) : value_none();
}

static const struct column columns[] = {
	{"call", "CALL", UNIT_TEXT,
	 "what the system was asked; mmap_fallback: what only it could serve", 13, 99, os_kind},
	{"reason", "REASON", UNIT_TEXT, "for what, or why", 17, 97, os_reason},
	{"calls_per_s", "CALL/s", UNIT_RATE, "calls", 6, 98, os_rate},
	{"calls", "CALLS", UNIT_COUNT, "calls in this interval", 9, 90, os_calls},
	{"bytes", "BYTES", UNIT_BYTES, "mapped, unmapped, given back, filled or requested", 7, 95,
	 os_bytes},
	{"mean_ns", "MEAN", UNIT_NS, "time of one system call", 9, 80, os_mean},
};

static int os_rows(const struct model *m)
{
	(void)m;
	return OS_BPF_ROWS + OS_KINDS + 1;
}

static bool os_shown(const struct model *m, int row)
{
	return model_knows(m, OS_PROBES) == (row < OS_BPF_ROWS) && os_row(m, row).calls != 0;
}

static bool os_explain(const struct model *m, int row, struct stacks_options *o)
{
	static const int probes[] = {HAK_P_hakmem_os_map, HAK_P_hakmem_os_unmap,
				     HAK_P_hakmem_os_purge, HAK_P_hakmem_os_fill};
	uint32_t reason = (uint32_t)(row % HAK_OS_COUNT);

	(void)m;
	if (row >= OS_BPF_ROWS)
		return false; /* there is no BPF */
	if (row < OS_ROWS)
		return stacks_explain(o, probes[row / HAK_OS_COUNT], "enum:HAK_OS_REASONS", reason,
				      hak_os_names[reason]);
	reason = (uint32_t)(row - OS_ROWS);
	return stacks_explain(o, HAK_P_hakmem_mmap_fallback, "enum:HAK_FALLBACK_REASONS", reason,
			      hak_fallback_names[reason]);
}

const struct view view_os = {
	.name = "os",
	.by_bpf = "reason mean_ns",
	.title = "system calls and fallbacks",
	.columns = COLUMNS(columns),
	.rows = os_rows,
	.shown = os_shown,
	.sort = 3,
	.key = '3',
	.explain = os_explain,
};
