/*
 * Contention: the locks of the allocator, by its own counters and probes; and beside them what
 * else the process waits for by futex(2): in all, and the words it waits for longest.
 */
#include "calls.h"
#include "stacks.h"
#include "report.h"
#include "views.h"

#include <linux/futex.h>
#include <stdio.h>
#include <string.h>

/*
 * Rows: the allocator's locks; the application's waits by the operation of futex(2), of which
 * there are less than OPS; its words.
 */
#define OPS 16
#define WORDS_AT (HAK_LOCK_COUNT + OPS)

static int lock_rows(const struct model *m)
{
	return m->syscalls ? WORDS_AT + m->syscalls->ntop : HAK_LOCK_COUNT;
}

static bool is_ours(int row)
{
	return row < HAK_LOCK_COUNT;
}

/* The application's row, or NULL. */
static const struct wait_row *wait_of(const struct model *m, int row)
{
	const struct syscalls *s = m->syscalls;

	if (is_ours(row))
		return NULL;
	if (row >= WORDS_AT)
		return &s->d.waits[s->top[row - WORDS_AT].row];
	for (size_t i = 0; i < s->d.nwaits; i++)
		if (s->d.waits[i].by == BY_REST && !s->d.waits[i].word &&
		    (int)s->d.waits[i].op == row - HAK_LOCK_COUNT)
			return &s->d.waits[i];
	return NULL;
}

static bool lock_shown(const struct model *m, int row)
{
	const struct wait_row *w = wait_of(m, row);

	return is_ours(row) || (w && (w->waits || w->ns || w->now));
}

/* A word that is not that of a lock with one address is a heap's. */
static int lock_of(const struct syscalls *s, uint64_t word)
{
	for (int i = 0; i < HAK_LOCK_COUNT; i++)
		if (s->lock_addr[i] && s->lock_addr[i] == word)
			return i;
	return HAK_LOCK_HEAP;
}

/* The part of a lock's waits in which threads slept. */
static struct wait_row asleep_of(const struct model *m, int row)
{
	const struct syscalls *s = m->syscalls;
	struct wait_row sum = {0};

	for (size_t i = 0; i < s->d.nwaits; i++) {
		const struct wait_row *w = &s->d.waits[i];

		if (w->by != BY_ALLOCATOR || !w->word || lock_of(s, w->word) != row)
			continue;
		sum.ns += w->ns;
		sum.going_ns += w->going_ns;
		sum.now += w->now;
	}
	return sum;
}

static const char *op_meaning(uint32_t op)
{
	switch (op) {
	case FUTEX_WAIT:
		return "locks, barriers";
	case FUTEX_WAIT_BITSET:
		return "conditions, semaphores";
	default:
		return "priority-inheriting locks";
	}
}

static struct value lock_name(const struct model *m, int row)
{
	if (is_ours(row))
		return value_text_of(hak_lock_names[row], -row);
	if (row >= WORDS_AT)
		return value_text_of(m->syscalls->top[row - WORDS_AT].name, -row);
	return value_text_of(futex_op_name((uint32_t)(row - HAK_LOCK_COUNT)), -row);
}

static struct value lock_owner(const struct model *m, int row)
{
	if (!is_ours(row) && !m->syscalls->d.split)
		return value_none(); /* the allocator's may be among them */
	return value_text_of(caller_names[is_ours(row) ? BY_ALLOCATOR : BY_REST], 0);
}

static struct value lock_what(const struct model *m, int row)
{
	if (is_ours(row))
		return value_text_of(hak_lock_protects[row], 0);
	if (row >= WORDS_AT)
		return value_text_of(m->syscalls->top[row - WORDS_AT].where, 0);
	return value_text_of(op_meaning((uint32_t)(row - HAK_LOCK_COUNT)), 0);
}

static struct value lock_address(const struct model *m, int row)
{
	uint64_t word = 0;

	if (row >= WORDS_AT)
		word = wait_of(m, row)->word;
	else if (is_ours(row) && m->syscalls)
		word = m->syscalls->lock_addr[row];
	return word ? value_of(VALUE_ADDRESS, (double)word) : value_none();
}

static struct value lock_op(const struct model *m, int row)
{
	const struct wait_row *w = wait_of(m, row);

	return w ? value_text_of(futex_op_name(w->op), 0) : value_none();
}

static uint64_t waits_of(const struct model *m, int row)
{
	const struct wait_row *w = wait_of(m, row);

	return w ? w->waits : m->lock[row].waits;
}

/*
 * In waits that ended, as they count them themselves; and so far in those that go on, without
 * what an interval before has had of it.
 */
static uint64_t ns_of(const struct model *m, int row)
{
	const struct wait_row *w = wait_of(m, row);
	int64_t ns;

	if (w)
		return w->ns;
	ns = (int64_t)m->lock[row].wait_ns;
	if (m->syscalls)
		ns += asleep_of(m, row).going_ns;
	return ns > 0 ? (uint64_t)ns : 0;
}

/* Words are watched while the budget allows; the allocator counts by itself. */
static double seconds_of(const struct model *m, int row)
{
	return is_ours(row) ? m->seconds : calls_watched(m);
}

static struct value lock_rate(const struct model *m, int row)
{
	return value_ratio(VALUE_RATE, (double)waits_of(m, row), seconds_of(m, row));
}

static struct value lock_waits(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, (double)waits_of(m, row));
}

static struct value lock_total(const struct model *m, int row)
{
	return value_of(VALUE_NS, (double)ns_of(m, row));
}

static struct value lock_asleep(const struct model *m, int row)
{
	if (!m->syscalls || !m->syscalls->d.split || (is_ours(row) && m->syscalls->d.off_s > 0))
		return value_none();
	return value_of(VALUE_NS,
			(double)(is_ours(row) ? asleep_of(m, row).ns : wait_of(m, row)->ns));
}

static struct value lock_mean(const struct model *m, int row)
{
	return value_ratio(VALUE_NS, (double)ns_of(m, row), (double)waits_of(m, row));
}

static struct value lock_quantile(const struct model *m, int row, double share, uint64_t ours)
{
	const struct wait_row *w = wait_of(m, row);

	if (w)
		return w->waits ? value_of(VALUE_NS, (double)calls_quantile(w, share))
				: value_none();
	return m->lock[row].has_bpf && m->lock[row].waits ? value_of(VALUE_NS, (double)ours)
							  : value_none();
}

static struct value lock_p50(const struct model *m, int row)
{
	return lock_quantile(m, row, 0.5, is_ours(row) ? m->lock[row].p50_ns : 0);
}

static struct value lock_p99(const struct model *m, int row)
{
	return lock_quantile(m, row, 0.99, is_ours(row) ? m->lock[row].p99_ns : 0);
}

static struct value lock_max(const struct model *m, int row)
{
	const struct wait_row *w = wait_of(m, row);

	if (w)
		return w->waits ? value_of(VALUE_NS, (double)w->max_ns) : value_none();
	return m->lock[row].has_bpf && m->lock[row].waits
		       ? value_of(VALUE_NS, (double)m->lock[row].max_ns)
		       : value_none();
}

static struct value lock_share(const struct model *m, int row)
{
	return value_ratio(VALUE_PERCENT, 100.0 * (double)ns_of(m, row) / 1e9,
			   seconds_of(m, row) * (m->syscalls ? m->syscalls->threads : m->threads));
}

static struct value lock_threads(const struct model *m, int row)
{
	return value_ratio(VALUE_FACTOR, (double)ns_of(m, row) / 1e9, seconds_of(m, row));
}

static struct value lock_now(const struct model *m, int row)
{
	const struct wait_row *w = wait_of(m, row);

	if (!m->syscalls || m->syscalls->gone || (!w && !m->syscalls->d.split))
		return value_none();
	return value_of(VALUE_COUNT, w ? w->now : asleep_of(m, row).now);
}

static const struct column columns[] = {
	{"lock", "LOCK", UNIT_TEXT, "its name; of the application the operation, symbol or address",
	 14, 99, lock_name},
	{"owner", "OWNER", UNIT_TEXT, "who waits by it: the allocator, or anything else", 11, 98,
	 lock_owner},
	{"protects", "PROTECTS", UNIT_TEXT,
	 "what the lock protects; of a word, the file or memory it is in", 26, 65, lock_what},
	{"futex_op", "", UNIT_TEXT, "operation of futex(2)", 0, 0, lock_op},
	{"waits_per_s", "WAIT/s", UNIT_RATE, "times a thread found it held, or went to sleep", 7,
	 93, lock_rate},
	{"waits", "WAITS", UNIT_COUNT, "the same, in this interval", 7, 60, lock_waits},
	{"wait_ns", "WAITED", UNIT_NS, "time all threads waited for it, together", 7, 97,
	 lock_total},
	{"asleep_ns", "ASLEEP", UNIT_NS, "of it, in futex(2); the rest is spinning", 7, 55,
	 lock_asleep},
	{"mean_ns", "MEAN", UNIT_NS, "time of one wait", 7, 90, lock_mean},
	{"p50_ns", "P50", UNIT_NS, "half of the waits were shorter (upper edge of a power of two)",
	 7, 70, lock_p50},
	{"p99_ns", "P99", UNIT_NS, "99 % of the waits were shorter (likewise)", 7, 91, lock_p99},
	{"max_ns", "MAX", UNIT_NS, "longest wait of the interval", 7, 92, lock_max},
	{"share", "SHARE%", UNIT_RATIO, "WAITED / (interval x threads, the most there were)", 6, 94,
	 lock_share},
	{"threads_mean", "THRDS", UNIT_FACTOR, "threads that waited, on average: WAITED / interval",
	 5, 50, lock_threads},
	{"now", "NOW", UNIT_COUNT, "threads that sleep for it right now", 4, 75, lock_now},
	{"address", "ADDRESS", UNIT_COUNT, "of the word that threads sleep on", 0, 0, lock_address},
};

struct split {
	uint64_t waits, ns;
};

/* Waits by futex(2) of one caller; of the application those of locks, or the others. */
static struct split split_of(const struct model *m, enum caller by, bool locks)
{
	const struct syscalls *s = m->syscalls;
	struct split sum = {0};

	for (size_t i = 0; i < s->d.nwaits; i++) {
		const struct wait_row *w = &s->d.waits[i];

		if (w->word || w->by != by || (w->op != FUTEX_WAIT_BITSET) != locks)
			continue;
		sum.waits += w->waits;
		sum.ns += w->ns;
	}
	return sum;
}

static const char *ns_text(char *buf, uint64_t ns)
{
	struct value v = value_of(VALUE_NS, (double)ns);

	value_text(&v, buf, 16);
	return buf;
}

static void futex_note(const struct model *m, char *out, size_t len)
{
	struct split ours = split_of(m, BY_ALLOCATOR, true), locks = split_of(m, BY_REST, true),
		     others = split_of(m, BY_REST, false);
	char a[16], b[16], c[16];

	if (!m->syscalls->d.split)
		calls_no_split_note(m, out, len);
	else
		snprintf(out, len,
			 "asleep in futex(2): allocator %s; application %s in wait (locks), %s in "
			 "wait_bitset (conditions, semaphores, idle)",
			 ns_text(a, ours.ns), ns_text(b, locks.ns), ns_text(c, others.ns));
}

static bool lock_note(const struct model *m, int i, char *out, size_t len)
{
	uint64_t lost = m->syscalls ? m->syscalls->d.lost : 0;

	if (!m->syscalls) {
		snprintf(out, len, "%s: the allocator's own counters, nothing else",
			 m->recorded ? "recorded" : "without BPF");
		return i == 0;
	}
	if (i == 0) {
		futex_note(m, out, len);
		return true;
	}
	if (m->syscalls->d.off_s > 0 && --i == 0)
		return calls_off_note(m, out, len);
	if (lost && --i == 0) {
		snprintf(out, len, "%llu waits could not be counted", (unsigned long long)lost);
		return true;
	}
	if (i != 1 || !m->waits || m->stacks)
		return false;
	snprintf(out, len, "where the allocator waits from: hakstat locks --stacks -p %d",
		 m->target->pid);
	return true;
}

static void json_split(struct json *j, const char *key, struct split s)
{
	json_open(j, key, '{');
	json_number(j, "waits", s.waits);
	json_number(j, "ns", s.ns);
	json_close(j, '}');
}

bool view_locks_histogram(const struct model *m, int row, uint64_t hist[HIST_SLOTS], char *name,
			  size_t len)
{
	const struct wait_row *w = wait_of(m, row);

	if (!lock_shown(m, row) || !waits_of(m, row))
		return false;
	memset(hist, 0, HIST_SLOTS * sizeof(*hist));
	if (w)
		memcpy(hist, w->hist, sizeof(w->hist));
	else
		memcpy(hist, m->lock[row].hist, sizeof(m->lock[row].hist));
	snprintf(name, len, "%s: %s", lock_name(m, row).text, lock_what(m, row).text);
	return true;
}

/* --- how long waits were, in JSON --- */

struct slot {
	uint64_t from_ns, waits;
};
#define SLOT(m) ((const struct slot *)(m)->own)

static struct value slot_from(const struct model *m, int row)
{
	(void)row;
	return value_of(VALUE_NS, (double)SLOT(m)->from_ns);
}

static struct value slot_waits(const struct model *m, int row)
{
	(void)row;
	return value_of(VALUE_COUNT, (double)SLOT(m)->waits);
}

static const struct column slot_columns[] = {
	{"from_ns", "FROM NS", UNIT_NS,
	 "these waits took as long at least, and less than twice that", 0, 0, slot_from},
	{"waits", "WAITS", UNIT_COUNT, "of that length, in this interval", 0, 0, slot_waits},
};

static int slot_rows(const struct model *m)
{
	return SLOT(m) != NULL;
}

const struct view view_histograms = {
	.name = "histograms",
	.title = "how long waits for locks were",
	.columns = COLUMNS(slot_columns),
	.rows = slot_rows,
	.shown = always_shown,
	.sort = VIEW_UNSORTED,
};

static void json_histogram(struct json *j, const struct model *m, int row)
{
	uint64_t hist[HIST_SLOTS];
	char name[128];
	static struct model one;

	if (!view_locks_histogram(m, row, hist, name, sizeof(name)))
		return;
	json_open(j, NULL, '{');
	json_text(j, "lock", lock_name(m, row).text);
	json_known(j, "address",
		   lock_address(m, row).kind == VALUE_NONE ? -1
							   : (int64_t)lock_address(m, row).number);
	json_text(j, "owner", caller_names[is_ours(row) ? BY_ALLOCATOR : BY_REST]);
	json_open(j, "slots", '[');
	for (int i = 0; i < HIST_SLOTS; i++) {
		if (!hist[i])
			continue;
		one.own = &(struct slot){i ? (uint64_t)1 << i : 0, hist[i]};
		json_open(j, NULL, '{');
		report_json_columns(j, &view_histograms, &one, 0);
		json_close(j, '}');
		one.own = NULL;
	}
	json_close(j, ']');
	json_close(j, '}');
}

static void lock_json(struct json *j, const struct model *m)
{
	if (!m->syscalls) {
		json_null(j, "futex");
	} else {
		json_open(j, "futex", '{');
		json_split(j, "allocator", split_of(m, BY_ALLOCATOR, true));
		json_split(j, "application_locks", split_of(m, BY_REST, true));
		json_split(j, "application_others", split_of(m, BY_REST, false));
		json_close(j, '}');
		json_number(j, "not_counted", m->syscalls->d.lost);
		json_real(j, "watched_s", calls_watched(m));
	}
	json_open(j, "histograms", '[');
	for (int row = 0; row < lock_rows(m); row++)
		json_histogram(j, m, row);
	json_close(j, ']');
	if (m->stacks)
		report_json_rows(j, "stacks", &view_stacks, m);
}

static bool lock_explain(const struct model *m, int row, struct stacks_options *o)
{
	(void)m;
	return is_ours(row) && stacks_explain(o, HAK_P_hakmem_lock_wait_done, "enum:HAK_LOCKS",
					      (uint32_t)row, hak_lock_names[row]);
}

const struct view view_locks = {
	.name = "locks",
	.by_bpf = "futex_op asleep_ns p50_ns p99_ns max_ns now",
	.title = "locks of the allocator, and futex waits of the application",
	.columns = COLUMNS(columns),
	.rows = lock_rows,
	.shown = lock_shown,
	.sort = 6,
	.key = '2',
	.source = &source_futexes,
	.in_stat = true,
	.note = lock_note,
	.json = lock_json,
	.explain = lock_explain,
};
