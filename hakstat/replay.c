#include "replay.h"
#include "hakstat.h"
#include "progress.h"
#include "recorded.h"
#include "sample_instant.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS 1000000000U

void time_text(uint64_t wall_ns, bool fine, char *out, size_t len)
{
	time_t s = (time_t)(wall_ns / NS);
	struct tm tm;
	size_t n;

	n = localtime_r(&s, &tm) ? strftime(out, len, "%Y-%m-%d %H:%M:%S", &tm) : 0;
	if (!n)
		snprintf(out, len, "-");
	else if (fine)
		snprintf(out + n, len - n, ".%03u", (unsigned)(wall_ns % NS / 1000000));
}

/* --- the file --- */

static void tell_damage(const struct recording *r, const char *path)
{
	if (r->damaged)
		complain("%s: %llu bytes in the middle are damaged: what was there is left out",
			 path, (unsigned long long)r->damaged);
	if (r->good < r->size)
		complain("%s: cut off at its end: the last %llu bytes are no whole frame", path,
			 (unsigned long long)(r->size - r->good));
}

/* Between two frames of the same session that are numbered one after the other, or nearly. */
static bool find_intervals(struct replay *p)
{
	const struct recording *r = &p->r;

	p->interval = calloc(r->frames + 1, sizeof(*p->interval));
	for (size_t i = 1; p->interval && i < r->frames; i++)
		if (r->frame[i].session == r->frame[i - 1].session)
			p->interval[p->intervals++] = (uint32_t)i;
	return p->interval;
}

int replay_open(struct replay *p, const char *path, char *err, size_t errlen)
{
	int e;

	memset(p, 0, sizeof(*p));
	e = recording_open(&p->r, path, err, errlen);
	if (e)
		return e;
	p->state = source_several.open(&recorded_sources);
	if (!p->state || !find_intervals(p)) {
		snprintf(err, errlen, "no memory");
		return -ENOMEM;
	}
	tell_damage(&p->r, path);
	if (p->intervals)
		return 0;
	snprintf(err, errlen, "%s has no interval: the recording ended before its second frame",
		 path);
	return -ENODATA;
}

void replay_close(struct replay *p)
{
	if (p->state)
		source_several.close(p->state);
	recording_close(&p->r);
	free(p->interval);
	memset(p, 0, sizeof(*p));
}

/* --- times --- */

uint64_t replay_time(const struct replay *p, size_t interval)
{
	return p->r.frame[p->interval[interval]].wall_ns;
}

uint64_t replay_begin(const struct replay *p)
{
	return p->r.frame[p->interval[0] - 1].wall_ns;
}

static bool relative_time(const struct replay *p, const char *text, uint64_t *ns)
{
	uint64_t base = *text == '-'   ? replay_time(p, p->intervals - 1)
			: *text == '+' ? replay_begin(p)
				       : 0;
	char *end;
	double s = strtod(text + 1, &end);

	if (!text[1] || *end || !isfinite(s) || s < 0 || s > 1e10)
		return false;
	if (*text == '-')
		*ns = s * NS < (double)base ? base - (uint64_t)(s * NS) : 0;
	else
		*ns = base + (uint64_t)(s * NS);
	return true;
}

/* The last such time of day that is not after the end. */
static bool time_of_day(const struct replay *p, const char *text, uint64_t *ns)
{
	uint64_t last = replay_time(p, p->intervals - 1);
	time_t s = (time_t)(last / NS), t;
	struct tm tm;
	const char *end;

	if (!localtime_r(&s, &tm))
		return false;
	tm.tm_sec = 0;
	end = strptime(text, "%H:%M:%S", &tm);
	if (!end)
		end = strptime(text, "%H:%M", &tm);
	if (!end || *end)
		return false;
	tm.tm_isdst = -1;
	t = mktime(&tm);
	if (t > s) {
		tm.tm_mday--;
		tm.tm_isdst = -1;
		t = mktime(&tm);
	}
	*ns = t < 0 ? 0 : (uint64_t)t * NS;
	return true;
}

bool replay_parse_time(const struct replay *p, const char *text, uint64_t *ns)
{
	static const char *const formats[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S",
					      "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"};

	if (*text == '@' || *text == '+' || *text == '-')
		return relative_time(p, text, ns);
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		struct tm tm = {.tm_isdst = -1};
		const char *end = strptime(text, formats[i], &tm);
		time_t t;

		if (!end || *end)
			continue;
		t = mktime(&tm);
		*ns = t < 0 ? 0 : (uint64_t)t * NS;
		return true;
	}
	return time_of_day(p, text, ns);
}

size_t replay_at(const struct replay *p, uint64_t ns)
{
	for (size_t i = 0; i < p->intervals; i++)
		if (replay_time(p, i) >= ns)
			return i;
	return p->intervals - 1;
}

/* --- models --- */

static void set_target(struct replay *p, const struct process *of)
{
	struct target *t = &p->t;

	memset(t, 0, sizeof(*t));
	t->pid = t->reader = (pid_t)of->pid;
	t->link = (enum link_kind)of->link;
	snprintf(t->comm, sizeof(t->comm), "%s", of->comm);
	snprintf(t->exe, sizeof(t->exe), "%s", of->exe);
	snprintf(t->lib, sizeof(t->lib), "%s", of->lib);
	snprintf(t->version, sizeof(t->version), "%s", of->version);
	snprintf(t->build_id, sizeof(t->build_id), "%s", of->build_id);
	snprintf(p->who, sizeof(p->who), "%s [%d]   hakmem %s (%s)", t->comm, t->pid, t->version,
		 link_names[t->link]);
}

static bool load(struct replay *p, size_t frame, struct sample *s)
{
	const struct instant *f = recording_frame(&p->r, frame);

	if (!f || !sample_load(s, f))
		return false;
	source_several.load(p->state, f);
	return true;
}

/*
 * The last frame of an interval. Longest waits are those since the frame before each: of several
 * intervals, the longest of all.
 */
static bool load_last(struct replay *p, size_t from, size_t to)
{
	static struct sample most, s;
	struct progress frames;
	bool ok = true;

	memset(&most, 0, sizeof(most));
	progress_begin(&frames, "going through the recording", "frames");
	for (size_t i = from + 1; i < to && ok; i++) {
		const struct instant *f = recording_frame(&p->r, i);

		progress_step(&frames, i - from, to - from);
		ok = f && sample_load(&s, f);
		if (ok)
			collect_max(&most, &s);
	}
	progress_end(&frames);
	if (!ok || !load(p, to, &p->to))
		return false;
	collect_max(&p->to, &most);
	return true;
}

/* Both begin a new count: another program, or another recorder. */
static size_t since_interruption(const struct replay *p, size_t first, size_t last)
{
	uint32_t session = p->r.frame[p->interval[last]].session;

	while (p->r.frame[p->interval[first]].session != session)
		first++;
	return first;
}

static void tell_when(struct replay *p, struct model *m)
{
	const struct process *of = &p->r.process[p->r.frame[p->interval[p->last]].session];
	char from[40], to[40];

	time_text(m->from_ns, true, from, sizeof(from));
	time_text(m->to_ns, true, to, sizeof(to));
	snprintf(p->recorded, sizeof(p->recorded), "recorded on %s, %s to %s", of->host, from, to);
	m->recorded = p->recorded;
}

bool replay_model(struct replay *p, size_t first, size_t last, struct model *m)
{
	size_t from, to = p->interval[last];

	p->first = since_interruption(p, first, last);
	p->last = last;
	from = p->interval[p->first] - 1;
	set_target(p, &p->r.process[p->r.frame[to].session]);
	if (!load(p, from, &p->from))
		return false;
	source_several.mark(p->state);
	if (!load_last(p, from, to) || p->to.t_ns < p->from.t_ns)
		return false;
	model_make(m, &p->from, &p->to);
	m->target = &p->t;
	m->from_ns = p->r.frame[from].wall_ns;
	m->to_ns = p->r.frame[to].wall_ns;
	tell_when(p, m);
	source_several.fill(p->state, m);
	return true;
}
