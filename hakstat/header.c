/* The lines above the table: what the whole process does, and what watching it costs. */
#include "columns.h"
#include "processes.h"
#include "text.h"

#include <stdarg.h>
#include <string.h>

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
	struct value v = value_ratio(VALUE_PERCENT, 100 * part, (double)whole);

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

/* What was put there at once: up to the last of its items that ends in time. */
static void cut_items(char *line, size_t width)
{
	while (strlen(line) > width) {
		char *gap = NULL;

		for (char *at = line; (at = strstr(at, "   ")); at += 3)
			gap = at;
		if (!gap) {
			text_cut(line, width);
			return;
		}
		*gap = '\0';
	}
}

/* "off, above budget: refill 90%, flush 90%, 2 more": of the time, as many as fit. */
static void off_item(const struct model *m, int width, char *out)
{
	static const char begin[] = "off, above budget: ";
	size_t room = (size_t)width > strlen(out) + 20 ? (size_t)width - strlen(out) - 20 : 0;
	char text[192], one[64];
	int more = 0;

	snprintf(text, sizeof(text), "%s", begin);
	for (int i = 0; i < HAK_PROBE_COUNT && m->seconds > 0; i++) {
		const char *comma = text[sizeof(begin) - 1] ? ", " : "";

		if (!(m->off & PROBE_BIT(i)))
			continue;
		snprintf(one, sizeof(one), "%s%s %.0f%%", comma, hak_probes[i].name,
			 100 * m->off_s[i] / m->seconds);
		if (*comma && (more || strlen(text) + strlen(one) > room ||
			       strlen(text) + strlen(one) + 16 > sizeof(text)))
			more++;
		else
			strcat(text, one);
	}
	if (more)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), ", %d more", more);
	if (m->off)
		item(out, width, "%s", text);
}

/* What was lost comes before what it cost: it says how far the numbers can be trusted. */
static void self_line(const struct model *m, int width, char *out)
{
	char a[32], b[32], c[32];

	if (!m->target) { /* a host: nothing is attached */
		item(out, width, "hakstat  by counters, without BPF");
		if (m->processes->cpu_share >= 0)
			item(out, width, "%.1f%% of a CPU", 100 * m->processes->cpu_share);
		return;
	}
	if (m->events < 0) {
		item(out, width,
		     m->syscalls ? "hakstat  by BPF, but for probes" : "hakstat  without BPF");
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
	off_item(m, width, out);
	item(out, width, "BPF %s of a CPU", b);
}

int header_lines(const struct model *m, const char *who, int width, char out[HEADER_LINES][256])
{
	uint64_t os_calls = model_os_calls(m);
	char a[32], b[32];

	for (int i = 0; i < HEADER_LINES; i++)
		out[i][0] = 0;
	item(out[0], width, "%s", who);
	cut_items(out[0], (size_t)width);
	item(out[0], width, "RSS %s", m->rss ? size(a, m->rss) : "-");
	if (m->processes && !m->target)
		item(out[0], width, "of it %s shared, counted in each",
		     size(a, m->processes->shared));
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
