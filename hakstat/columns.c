#include "columns.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct value none(void)
{
	return (struct value){VALUE_NONE, -1, NULL};
}

static struct value of(enum value_kind kind, double number)
{
	return (struct value){kind, number, NULL};
}

static struct value per_second(const struct model *m, uint64_t n)
{
	return m->seconds > 0 ? of(VALUE_RATE, (double)n / m->seconds) : none();
}

static struct value ratio(enum value_kind kind, double part, uint64_t whole)
{
	return whole ? of(kind, part / (double)whole) : none();
}

/* Classes */

#define CLASS(m, row) (&(m)->class_[row])

static struct value class_size(const struct model *m, int row)
{
	if (row == 0)
		return (struct value){VALUE_TEXT, 1e18, "large"};
	return of(VALUE_COUNT, (double)CLASS(m, row)->block_bytes);
}

static struct value class_allocs(const struct model *m, int row)
{
	return per_second(m, CLASS(m, row)->allocs);
}

static struct value class_frees(const struct model *m, int row)
{
	return per_second(m, CLASS(m, row)->frees);
}

static struct value class_hit(const struct model *m, int row)
{
	const struct class_delta *d = CLASS(m, row);
	uint64_t hits = row == 0 ? m->large_hits : d->allocs - d->refills;

	return d->allocs < d->refills ? none()
				      : ratio(VALUE_PERCENT, 100.0 * (double)hits, d->allocs);
}

static struct value class_refills(const struct model *m, int row)
{
	return row ? per_second(m, CLASS(m, row)->refills) : none();
}

static struct value class_per_refill(const struct model *m, int row)
{
	return ratio(VALUE_FACTOR, (double)CLASS(m, row)->refill_blocks, CLASS(m, row)->refills);
}

static struct value class_flushes(const struct model *m, int row)
{
	return row ? per_second(m, CLASS(m, row)->flushes) : none();
}

static struct value class_remote(const struct model *m, int row)
{
	return row ? per_second(m, CLASS(m, row)->remote_blocks) : none();
}

static struct value class_live(const struct model *m, int row)
{
	return of(VALUE_COUNT, (double)CLASS(m, row)->live);
}

static struct value class_held(const struct model *m, int row)
{
	return of(VALUE_BYTES, (double)CLASS(m, row)->held_bytes);
}

static struct value class_waste(const struct model *m, int row)
{
	return row ? of(VALUE_BYTES, (double)CLASS(m, row)->waste_bytes) : none();
}

static struct value class_cached(const struct model *m, int row)
{
	return row ? of(VALUE_COUNT, (double)CLASS(m, row)->cached) : none();
}

static const struct column class_columns[] = {
	{"size", "SIZE", "bytes of one block of the class; large: above the largest class", 6, 99,
	 class_size},
	{"allocs", "ALLOC/s", "allocations per second", 8, 98, class_allocs},
	{"frees", "FREE/s", "frees per second, by whichever thread", 8, 95, class_frees},
	{"hit_rate", "HIT%", "allocations served by the thread's own cache", 6, 97, class_hit},
	{"refills", "REFIL/s", "times a second a cache was empty", 8, 90, class_refills},
	{"blocks_per_refill", "BLK/RF", "blocks a refill brought", 6, 60, class_per_refill},
	{"flushes", "FLUSH/s", "times a second a cache gave blocks back", 8, 70, class_flushes},
	{"remote", "REMOT/s", "blocks a second sent to the thread that owns them", 8, 80,
	 class_remote},
	{"live_blocks", "LIVE", "blocks allocated and not freed", 7, 92, class_live},
	{"held_bytes", "HELD", "memory in pages of the class", 7, 91, class_held},
	{"waste_bytes", "WASTE", "held, but not in live blocks: cached, free, or lost at page ends",
	 7, 65, class_waste},
	{"cached_blocks", "CACHED", "free blocks in thread caches", 7, 50, class_cached},
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

/* Locks */

static struct value lock_name(const struct model *m, int row)
{
	(void)m;
	return (struct value){VALUE_TEXT, -row, hak_lock_names[row]};
}

static struct value lock_rate(const struct model *m, int row)
{
	return per_second(m, m->lock[row].waits);
}

static struct value lock_waits(const struct model *m, int row)
{
	return of(VALUE_COUNT, (double)m->lock[row].waits);
}

static struct value lock_total(const struct model *m, int row)
{
	return of(VALUE_NS, (double)m->lock[row].wait_ns);
}

static struct value lock_mean(const struct model *m, int row)
{
	return ratio(VALUE_NS, (double)m->lock[row].wait_ns, m->lock[row].waits);
}

static struct value lock_by_bpf(const struct model *m, int row, uint64_t ns)
{
	return m->lock[row].has_bpf && m->lock[row].waits ? of(VALUE_NS, (double)ns) : none();
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

static const struct column lock_columns[] = {
	{"lock", "LOCK", "name of the lock", 10, 99, lock_name},
	{"waits_per_s", "WAIT/s", "times a second a thread found it held", 8, 98, lock_rate},
	{"waits", "WAITS", "in this interval", 8, 80, lock_waits},
	{"total", "TOTAL", "time all threads waited for it, together", 8, 97, lock_total},
	{"mean", "MEAN", "time of one wait", 8, 96, lock_mean},
	{"p50", "P50", "half of the waits were shorter (upper edge of a power of two)", 8, 70,
	 lock_p50},
	{"p99", "P99", "99 % of the waits were shorter (likewise)", 8, 94, lock_p99},
	{"max", "MAX", "longest wait of the interval", 8, 95, lock_max},
};

static int lock_rows(const struct model *m)
{
	(void)m;
	return HAK_LOCK_COUNT;
}

static bool always_shown(const struct model *m, int row)
{
	(void)m;
	(void)row;
	return true;
}

/*
 * OS: rows are kinds x reasons of system calls, then reasons of fallbacks, all by BPF. Without it
 * there is one row a kind instead, by the counters, which know neither reasons nor times.
 */

#define OS_ROWS (OS_KINDS * HAK_OS_COUNT)
#define OS_BPF_ROWS (OS_ROWS + HAK_FALLBACK_COUNT)

static struct os_delta os_row(const struct model *m, int row)
{
	const struct os_delta totals[OS_KINDS + 1] = {
		[OS_MAP] = {m->maps, m->map_bytes, 0},
		[OS_UNMAP] = {m->unmaps, m->unmap_bytes, 0},
		[OS_PURGE] = {m->purges, m->purge_bytes, 0},
		[OS_KINDS] = {m->fallbacks, m->fallback_bytes, 0},
	};

	if (row >= OS_BPF_ROWS)
		return totals[row - OS_BPF_ROWS];
	return row < OS_ROWS ? m->os[row / HAK_OS_COUNT][row % HAK_OS_COUNT]
			     : m->fallback[row - OS_ROWS];
}

static struct value os_kind(const struct model *m, int row)
{
	static const char *const names[] = {"map", "unmap", "purge", "mmap_fallback"};
	int kind = row < OS_ROWS ? row / HAK_OS_COUNT : OS_KINDS;

	(void)m;
	return (struct value){VALUE_TEXT, -row,
			      names[row < OS_BPF_ROWS ? kind : row - OS_BPF_ROWS]};
}

static struct value os_reason(const struct model *m, int row)
{
	(void)m;
	if (row >= OS_BPF_ROWS)
		return none();
	return (struct value){VALUE_TEXT, -row,
			      row < OS_ROWS ? hak_os_names[row % HAK_OS_COUNT]
					    : hak_fallback_names[row - OS_ROWS]};
}

static struct value os_rate(const struct model *m, int row)
{
	return per_second(m, os_row(m, row).calls);
}

static struct value os_calls(const struct model *m, int row)
{
	return of(VALUE_COUNT, (double)os_row(m, row).calls);
}

static struct value os_bytes(const struct model *m, int row)
{
	return of(VALUE_BYTES, (double)os_row(m, row).bytes);
}

static struct value os_mean(const struct model *m, int row)
{
	struct os_delta d = os_row(m, row);

	return row < OS_ROWS ? ratio(VALUE_NS, (double)d.ns, d.calls) : none();
}

static const struct column os_columns[] = {
	{"call", "CALL", "what the system was asked; mmap_fallback: what only it could serve", 14,
	 99, os_kind},
	{"reason", "REASON", "for what, or why", 20, 98, os_reason},
	{"calls_per_s", "CALL/s", "calls per second", 9, 97, os_rate},
	{"calls", "CALLS", "in this interval", 9, 90, os_calls},
	{"bytes", "BYTES", "mapped, unmapped, given back or requested", 9, 95, os_bytes},
	{"mean", "MEAN", "time of one system call", 9, 80, os_mean},
};

static int os_rows(const struct model *m)
{
	(void)m;
	return OS_BPF_ROWS + OS_KINDS + 1;
}

static bool os_shown(const struct model *m, int row)
{
	return m->has_bpf == (row < OS_BPF_ROWS) && os_row(m, row).calls != 0;
}

#define COLUMNS(c) c, sizeof(c) / sizeof((c)[0])
const struct view views[VIEWS] = {
	{"classes", "size classes", COLUMNS(class_columns), class_rows, class_shown, 1},
	{"contention", "locks of the allocator", COLUMNS(lock_columns), lock_rows, always_shown, 3},
	{"os", "system calls and fallbacks", COLUMNS(os_columns), os_rows, os_shown, 3},
};

/* Text */

static void scaled(double v, double step, const char *const *units, char *out, size_t len)
{
	int u = 0;

	while (v >= 999.5 && units[u + 1]) {
		v /= step;
		u++;
	}
	snprintf(out, len, u == 0 || v >= 99.95 ? "%.0f%s" : "%.1f%s", v, units[u]);
}

void bytes_text(double bytes, char *out, size_t len)
{
	static const char *const units[] = {"B", "K", "M", "G", "T", "P", NULL};

	scaled(bytes, 1024, units, out, len);
}

void rate_text(double per_second, char *out, size_t len)
{
	static const char *const units[] = {"", "k", "M", "G", "T", NULL};

	if (per_second > 0 && per_second < 9.95)
		snprintf(out, len, "%.1f", per_second);
	else
		scaled(per_second, 1000, units, out, len);
}

static void ns_text(double ns, char *out, size_t len)
{
	static const char *const units[] = {"ns", "us", "ms", NULL};

	if (ns >= 999.5e6)
		snprintf(out, len, "%.2fs", ns / 1e9);
	else
		scaled(ns, 1000, units, out, len);
}

void value_text(const struct value *v, char *out, size_t len)
{
	switch (v->kind) {
	case VALUE_NONE:
		snprintf(out, len, "-");
		break;
	case VALUE_COUNT:
		if (v->number < 1e6)
			snprintf(out, len, "%.0f", v->number);
		else
			rate_text(v->number, out, len);
		break;
	case VALUE_RATE:
		rate_text(v->number, out, len);
		break;
	case VALUE_BYTES:
		bytes_text(v->number, out, len);
		break;
	case VALUE_PERCENT:
		/* 100 means all of them: no rounding up to it */
		snprintf(out, len, "%.2f",
			 v->number >= 99.995 && v->number < 100 ? 99.99 : v->number);
		break;
	case VALUE_NS:
		ns_text(v->number, out, len);
		break;
	case VALUE_FACTOR:
		snprintf(out, len, "%.1f", v->number);
		break;
	case VALUE_TEXT:
		snprintf(out, len, "%s", v->text);
		break;
	}
}

static bool matches(const struct view *v, const struct model *m, int row, const char *filter)
{
	char text[64];

	if (!filter || !*filter)
		return true;
	for (int i = 0; i < v->ncolumns; i++) {
		struct value x = v->columns[i].get(m, row);

		if (i > 0 && x.kind != VALUE_TEXT)
			continue; /* names and sizes are what one looks for */
		value_text(&x, text, sizeof(text));
		if (strstr(text, filter))
			return true;
	}
	return false;
}

int view_rows(const struct view *v, const struct model *m, int sort, bool reverse,
	      const char *filter, int rows[ROWS_MAX])
{
	int n = 0, total = v->rows(m);

	for (int row = 0; row < total && n < ROWS_MAX; row++) {
		double x;
		int at;

		if (!v->shown(m, row) || !matches(v, m, row, filter))
			continue;
		/* insertion keeps equal rows in their order */
		x = v->columns[sort].get(m, row).number;
		for (at = n; at > 0; at--) {
			double y = v->columns[sort].get(m, rows[at - 1]).number;

			if (reverse ? y <= x : y >= x)
				break;
			rows[at] = rows[at - 1];
		}
		rows[at] = row;
		n++;
	}
	return n;
}

void view_fit(const struct view *v, int width, bool *fit)
{
	int used = -1;

	for (int i = 0; i < v->ncolumns; i++) {
		fit[i] = true;
		used += v->columns[i].width + 1;
	}
	while (used > width) {
		int least = -1;

		for (int i = 0; i < v->ncolumns; i++)
			if (fit[i] && (least < 0 || v->columns[i].keep < v->columns[least].keep))
				least = i;
		if (least < 0)
			return;
		fit[least] = false;
		used -= v->columns[least].width + 1;
	}
}

void view_line(const struct view *v, const struct model *m, int row, const bool *fit, char *out,
	       size_t len)
{
	size_t at = 0;

	out[0] = 0;
	for (int i = 0; i < v->ncolumns && at < len; i++) {
		const struct column *c = &v->columns[i];
		char text[64];
		struct value x = {VALUE_TEXT, 0, c->title};
		bool left;

		if (!fit[i])
			continue;
		if (row >= 0)
			x = c->get(m, row);
		value_text(&x, text, sizeof(text));
		left = row >= 0 ? x.kind == VALUE_TEXT : c->width > 9;
		if (v == &views[VIEW_CLASSES])
			left = false;
		at += (size_t)snprintf(out + at, len - at, left ? "%s%-*.*s" : "%s%*.*s",
				       at ? " " : "", c->width, c->width, text);
	}
}

/* Header */

static const char *per(char *buf, const struct model *m, uint64_t n)
{
	if (m->seconds > 0)
		rate_text((double)n / m->seconds, buf, 32);
	else
		snprintf(buf, 32, "-");
	return buf;
}

static const char *share(char *buf, double part, uint64_t whole)
{
	struct value v = ratio(VALUE_PERCENT, 100 * part, whole);

	value_text(&v, buf, 32);
	return buf;
}

static const char *size(char *buf, uint64_t bytes)
{
	bytes_text((double)bytes, buf, 32);
	return buf;
}

/* Items of a line, the important ones first: what does not fit in whole is left out. */
__attribute__((format(printf, 3, 4))) static void item(char *line, int width, const char *format,
						       ...)
{
	size_t used = strlen(line);
	char text[192];
	va_list args;

	va_start(args, format);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!used)
		snprintf(line, 256, "%s", text);
	else if (used + 3 + strlen(text) <= (size_t)width && used + 4 + strlen(text) < 256)
		snprintf(line + used, 256 - used, "   %s", text);
}

/* What was lost comes before what it cost: it says how far the numbers can be trusted. */
static void self_line(const struct model *m, int width, char *out)
{
	char a[32], b[32], c[32];

	if (m->events < 0) {
		item(out, width, "hakstat  without BPF");
		item(out, width, "probes not watched (hakstat doctor says why)");
		return;
	}
	if (m->bpf_ns >= 0 && m->seconds > 0)
		snprintf(b, sizeof(b), "%.2f%%", (double)m->bpf_ns / m->seconds / 1e7);
	else
		snprintf(b, sizeof(b), "-");
	if (m->lost >= 0)
		snprintf(c, sizeof(c), "%lld", (long long)m->lost);
	else
		snprintf(c, sizeof(c), "-");
	item(out, width, "hakstat  %s events/s", per(a, m, (uint64_t)m->events));
	item(out, width, "lost %s", c);
	item(out, width, "BPF %s of a CPU", b);
}

int header_lines(const struct model *m, const char *who, int width, char out[HEADER_LINES][256])
{
	uint64_t os_calls = m->maps + m->unmaps + m->purges;
	char a[32], b[32];

	for (int i = 0; i < HEADER_LINES; i++)
		out[i][0] = 0;
	item(out[0], width, "%s", who);
	item(out[0], width, "RSS %s", m->rss ? size(a, m->rss) : "-");
	snprintf(a, sizeof(a), "%d", m->threads);
	item(out[0], width, "threads %s", m->threads ? a : "-");
	item(out[1], width, "allocs/s %s", per(a, m, m->allocs));
	item(out[1], width, "frees/s %s", per(a, m, m->frees));
	item(out[1], width, "hit %s%%",
	     share(a, (double)(m->small_allocs - m->refills), m->small_allocs));
	item(out[1], width, "remote %s%% of frees", share(a, (double)m->remote_blocks, m->frees));
	item(out[2], width, "lock waits/s %s", per(a, m, m->waits));
	item(out[2], width, "OS calls/s %s", per(a, m, os_calls));
	item(out[2], width, "fallbacks/s %s", per(a, m, m->fallbacks));
	item(out[3], width, "segments: in use %s, unused %s", size(a, m->now.used_bytes),
	     size(b, m->now.dirty_bytes));
	item(out[3], width, "mappings: in use %s, kept %s", size(a, m->now.large_bytes),
	     size(b, m->now.cached_bytes));
	item(out[3], width, "metadata %s", size(a, m->now.meta_bytes));
	self_line(m, width, out[4]);
	return HEADER_LINES;
}
