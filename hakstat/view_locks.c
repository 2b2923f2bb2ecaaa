/* Contention: the locks of the allocator. */
#include "stacks.h"
#include "views.h"

static struct value lock_name(const struct model *m, int row)
{
	(void)m;
	return value_text_of(hak_lock_names[row], -row);
}

static struct value lock_rate(const struct model *m, int row)
{
	return value_per_second(m, (double)m->lock[row].waits);
}

static struct value lock_waits(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, (double)m->lock[row].waits);
}

static struct value lock_total(const struct model *m, int row)
{
	return value_of(VALUE_NS, (double)m->lock[row].wait_ns);
}

static struct value lock_mean(const struct model *m, int row)
{
	return value_ratio(VALUE_NS, (double)m->lock[row].wait_ns, (double)m->lock[row].waits);
}

static struct value lock_by_bpf(const struct model *m, int row, uint64_t ns)
{
	return m->lock[row].has_bpf && m->lock[row].waits ? value_of(VALUE_NS, (double)ns)
							  : value_none();
}

static struct value lock_p50(const struct model *m, int row)
{
	return lock_by_bpf(m, row, m->lock[row].p50_ns);
}

static struct value lock_p99(const struct model *m, int row)
{
	return lock_by_bpf(m, row, m->lock[row].p99_ns);
}

static struct value lock_max(const struct model *m, int row)
{
	return lock_by_bpf(m, row, m->lock[row].max_ns);
}

static const struct column columns[] = {
	{"lock", "LOCK", UNIT_TEXT, "name of the lock", 10, 99, lock_name},
	{"waits_per_s", "WAIT/s", UNIT_RATE, "times a thread found it held", 8, 98, lock_rate},
	{"waits", "WAITS", UNIT_COUNT, "times a thread found it held, in this interval", 8, 80,
	 lock_waits},
	{"wait_ns", "TOTAL", UNIT_NS, "time all threads waited for it, together", 8, 97,
	 lock_total},
	{"mean_ns", "MEAN", UNIT_NS, "time of one wait", 8, 96, lock_mean},
	{"p50_ns", "P50", UNIT_NS, "half of the waits were shorter (upper edge of a power of two)",
	 8, 70, lock_p50},
	{"p99_ns", "P99", UNIT_NS, "99 % of the waits were shorter (likewise)", 8, 94, lock_p99},
	{"max_ns", "MAX", UNIT_NS, "longest wait of the interval", 8, 95, lock_max},
};

static int lock_rows(const struct model *m)
{
	(void)m;
	return HAK_LOCK_COUNT;
}

static bool lock_explain(const struct model *m, int row, struct stacks_options *o)
{
	(void)m;
	return stacks_explain(o, HAK_P_hakmem_lock_wait_done, "enum:HAK_LOCKS", (uint32_t)row,
			      hak_lock_names[row]);
}

const struct view view_locks = {
	.name = "locks",
	.title = "locks of the allocator",
	.columns = COLUMNS(columns),
	.rows = lock_rows,
	.shown = always_shown,
	.sort = 3,
	.key = '2',
	.explain = lock_explain,
};
