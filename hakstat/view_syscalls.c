/*
 * System calls, each once for the allocator and once for everything else of the process. Without
 * BPF the counters of the allocator tell how often it mapped, unmapped, purged and filled.
 */
#include "calls.h"
#include "views.h"

#include <stdio.h>
#include <string.h>

/* Rows by the counters. */
static const char *const counted[] = {"mmap", "munmap", "madvise"};
#define COUNTED ((int)(sizeof(counted) / sizeof(counted[0])))

static int call_rows(const struct model *m)
{
	return m->syscalls ? (int)m->syscalls->d.nrows * CALLERS : COUNTED;
}

static struct call_count count_of(const struct model *m, int row)
{
	const uint64_t calls[COUNTED] = {m->maps, m->unmaps, m->purges + m->fills};

	if (m->syscalls)
		return m->syscalls->d.rows[row / CALLERS].by[row % CALLERS];
	return (struct call_count){.calls = calls[row]};
}

static bool call_shown(const struct model *m, int row)
{
	struct call_count n = count_of(m, row);

	return n.calls || n.now || n.ns;
}

static uint64_t all_ns(const struct model *m)
{
	return calls_total(&m->syscalls->d, BY_ALLOCATOR).ns +
	       calls_total(&m->syscalls->d, BY_REST).ns;
}

static struct value call_syscall(const struct model *m, int row)
{
	return value_text_of(m->syscalls ? m->syscalls->d.rows[row / CALLERS].name : counted[row],
			     0);
}

/* Without the library's note nobody knows which are its. */
static struct value call_caller(const struct model *m, int row)
{
	if (!m->syscalls)
		return value_text_of(caller_names[BY_ALLOCATOR], 0);
	return m->syscalls->d.split ? value_text_of(caller_names[row % CALLERS], 0) : value_none();
}

static struct value call_rate(const struct model *m, int row)
{
	if (!m->syscalls)
		return value_per_second(m, (double)count_of(m, row).calls);
	return value_ratio(VALUE_RATE, (double)count_of(m, row).calls, calls_watched(m));
}

static struct value call_calls(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, (double)count_of(m, row).calls);
}

static struct value call_errors(const struct model *m, int row)
{
	return m->syscalls ? value_of(VALUE_COUNT, (double)count_of(m, row).errors) : value_none();
}

static struct value call_time(const struct model *m, int row)
{
	return m->syscalls ? value_of(VALUE_NS, (double)count_of(m, row).ns) : value_none();
}

static struct value call_share(const struct model *m, int row)
{
	if (!m->syscalls)
		return value_none();
	return value_ratio(VALUE_PERCENT, 100.0 * (double)count_of(m, row).ns, (double)all_ns(m));
}

static struct value call_threads(const struct model *m, int row)
{
	if (!m->syscalls)
		return value_none();
	return value_ratio(VALUE_FACTOR, (double)count_of(m, row).ns / 1e9, calls_watched(m));
}

static struct value call_mean(const struct model *m, int row)
{
	struct call_count n = count_of(m, row);

	return m->syscalls ? value_ratio(VALUE_NS, (double)n.ns, (double)n.calls) : value_none();
}

static struct value call_max(const struct model *m, int row)
{
	struct call_count n = count_of(m, row);

	return m->syscalls && n.calls ? value_of(VALUE_NS, (double)n.max_ns) : value_none();
}

static struct value call_now(const struct model *m, int row)
{
	return m->syscalls && !m->syscalls->gone ? value_of(VALUE_COUNT, count_of(m, row).now)
						 : value_none();
}

static const struct column columns[] = {
	{"syscall", "SYSCALL", UNIT_TEXT, "system call", 17, 99, call_syscall},
	{"caller", "CALLER", UNIT_TEXT,
	 "who made it: the allocator, or anything else in the process", 11, 98, call_caller},
	{"share", "SHARE%", UNIT_RATIO,
	 "of the time all threads of the process spent in system calls", 6, 90, call_share},
	{"time_ns", "TIME", UNIT_NS, "from entry to return, waiting included, all threads together",
	 7, 97, call_time},
	{"mean_ns", "MEAN", UNIT_NS, "time of one call", 7, 92, call_mean},
	{"max_ns", "MAX", UNIT_NS, "longest call that ended in the interval", 7, 70, call_max},
	{"calls_per_s", "CALL/s", UNIT_RATE, "calls that ended", 7, 95, call_rate},
	{"calls", "CALLS", UNIT_COUNT, "calls that ended in the interval", 7, 80, call_calls},
	{"errors", "ERRORS", UNIT_COUNT, "of them, those that failed", 6, 94, call_errors},
	{"threads_mean", "THRDS", UNIT_FACTOR, "threads that were in it, on average", 5, 60,
	 call_threads},
	{"now", "NOW", UNIT_COUNT, "threads in it at the end of the interval", 4, 75, call_now},
};

static double part(double a, double b)
{
	return a + b > 0 ? 100 * a / (a + b) : 0;
}

static bool call_note(const struct model *m, int i, char *out, size_t len)
{
	const struct syscalls *s = m->syscalls;
	struct call_count ours, rest;
	unsigned long long calls;

	if (!s)
		snprintf(out, len, "without BPF: the allocator's own counters, nothing else");
	if (!s)
		return i == 0;
	ours = calls_total(&s->d, BY_ALLOCATOR);
	rest = calls_total(&s->d, BY_REST);
	calls = ours.calls + rest.calls;
	if (i == 0 && s->d.split)
		snprintf(out, len, "by the allocator: %.3g%% of %llu calls, %.3g%% of their time",
			 part((double)ours.calls, (double)rest.calls), calls,
			 part((double)ours.ns, (double)rest.ns));
	else if (i == 0)
		calls_no_split_note(m, out, len);
	if (i == 0 || (i == 1 && calls_off_note(m, out, len)))
		return true;
	if (i != (s->d.off_s > 0 ? 2 : 1) || !s->d.lost)
		return false;
	snprintf(out, len, "%llu calls could not be counted", (unsigned long long)s->d.lost);
	return true;
}

static void json_total(struct json *j, const struct calls_sample *d, enum caller by)
{
	struct call_count n = calls_total(d, by);

	json_open(j, caller_names[by], '{');
	json_number(j, "calls", n.calls);
	json_number(j, "errors", n.errors);
	json_number(j, "time_ns", n.ns);
	json_close(j, '}');
}

static void call_json(struct json *j, const struct model *m)
{
	if (!m->syscalls) {
		json_null(j, "total");
	} else {
		json_open(j, "total", '{');
		for (int by = m->syscalls->d.split ? BY_ALLOCATOR : BY_REST; by < CALLERS; by++)
			json_total(j, &m->syscalls->d, (enum caller)by);
		json_close(j, '}');
		json_number(j, "not_counted", m->syscalls->d.lost);
		json_real(j, "watched_s", calls_watched(m));
	}
	/* what the allocator says of itself: maps are mmap and mremap */
	json_open(j, "counters", '{');
	json_number(j, "maps", m->maps);
	json_number(j, "unmaps", m->unmaps);
	json_number(j, "purges", m->purges);
	json_number(j, "fills", m->fills);
	json_close(j, '}');
}

const struct view view_syscalls = {
	.name = "syscalls",
	.by_bpf = "share time_ns mean_ns max_ns errors threads_mean now",
	.title = "system calls",
	.columns = COLUMNS(columns),
	.rows = call_rows,
	.shown = call_shown,
	.sort = 3,
	.key = '9',
	.source = &source_calls,
	.note = call_note,
	.json = call_json,
};
