/* hakstat stat: one interval as a table or as JSON. */
#include "columns.h"
#include "emit.h"
#include "hakstat.h"
#include "privilege.h"
#include "watch.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
	const char *process, *command, *output;
	double seconds; /* negative: until the end */
	bool json;
};

static const struct argp_option option_table[] = {
	{"pid", 'p', "PID|NAME", 0, "process to watch", 0},
	{"command", 'c', "CMD", 0, "start CMD on libhakmem and watch it from its first allocation",
	 0},
	{"duration", 'd', "SECONDS", 0, "length of the interval (default: until it ends or Ctrl-C)",
	 0},
	{"json", 'j', NULL, 0, "JSON, schema hakstat.stat/1", 0},
	{"output", 'o', "FILE", 0, "write the report to FILE", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'p':
		o->process = arg;
		break;
	case 'c':
		o->command = arg;
		break;
	case 'd':
		o->seconds = parse_seconds(arg);
		if (o->seconds <= 0)
			argp_error(state, "not a number of seconds: %s", arg);
		break;
	case 'j':
		o->json = true;
		break;
	case 'o':
		o->output = arg;
		break;
	case ARGP_KEY_END:
		if (!o->process == !o->command)
			argp_error(state, "give a process with -p or a command with -c");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static void json_class(struct json *j, const struct class_delta *d, unsigned c)
{
	json_open(j, NULL, '{');
	json_number(j, "class", c);
	json_number(j, "size", d->block_bytes);
	json_number(j, "allocs", d->allocs);
	json_number(j, "frees", d->frees);
	json_number(j, "refills", d->refills);
	json_number(j, "refill_blocks", d->refill_blocks);
	json_number(j, "flushes", d->flushes);
	json_number(j, "flush_blocks", d->flush_blocks);
	if (d->allocs)
		json_real(j, "hit_rate", 1 - (double)d->refills / (double)d->allocs);
	else
		json_null(j, "hit_rate");
	json_number(j, "live_blocks", d->live);
	json_number(j, "held_bytes", d->held_bytes);
	json_number(j, "cached_blocks", d->cached);
	json_number(j, "remote_blocks", d->remote_blocks);
	json_close(j, '}');
}

static void json_large(struct json *j, const struct model *m)
{
	json_open(j, "large", '{');
	json_number(j, "allocs", m->large_allocs);
	json_number(j, "frees", m->large_frees);
	json_number(j, "live_bytes", m->large_live_bytes);
	json_number(j, "cache_hits", m->large_hits);
	json_close(j, '}');
}

static void json_locks(struct json *j, const struct model *m)
{
	json_open(j, "locks", '[');
	for (int i = 0; i < HAK_LOCK_COUNT; i++) {
		const struct lock_delta *l = &m->lock[i];

		json_open(j, NULL, '{');
		json_text(j, "name", hak_lock_names[i]);
		json_number(j, "waits", l->waits);
		json_number(j, "wait_ns", l->wait_ns);
		json_known(j, "max_ns", l->has_bpf ? (int64_t)l->max_ns : -1);
		json_known(j, "p50_ns", l->has_bpf ? (int64_t)l->p50_ns : -1);
		json_known(j, "p99_ns", l->has_bpf ? (int64_t)l->p99_ns : -1);
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void json_os(struct json *j, const struct model *m)
{
	json_open(j, "os", '{');
	json_number(j, "maps", m->maps);
	json_number(j, "map_bytes", m->map_bytes);
	json_number(j, "unmaps", m->unmaps);
	json_number(j, "unmap_bytes", m->unmap_bytes);
	json_number(j, "purges", m->purges);
	json_number(j, "purge_bytes", m->purge_bytes);
	json_number(j, "mmap_fallbacks", m->fallbacks);
	json_number(j, "mmap_fallback_bytes", m->fallback_bytes);
	json_close(j, '}');
}

/* Sums BPF made of probe arguments beside the counters as of the last probes. */
static void json_check(struct json *j, const struct model *m)
{
	if (!m->has_bpf) {
		json_null(j, "check");
		return;
	}
	json_open(j, "check", '{');
	json_number(j, "bpf_allocs", m->bpf_allocs);
	json_number(j, "counter_seen_allocs", m->seen_allocs);
	json_number(j, "bpf_frees", m->bpf_frees);
	json_number(j, "counter_seen_frees", m->seen_frees);
	json_number(j, "bpf_refills", m->bpf_refills);
	json_number(j, "counter_refills", m->seen_refills);
	json_number(j, "bpf_flushes", m->bpf_flushes);
	json_number(j, "counter_flushes", m->seen_flushes);
	json_close(j, '}');
}

static void print_json(FILE *out, const struct watch *w, const struct model *m)
{
	struct json j = {out, false};

	json_open(&j, NULL, '{');
	json_text(&j, "schema", "hakstat.stat/1");
	json_number(&j, "pid", (uint64_t)w->t.pid);
	json_text(&j, "comm", w->t.comm);
	json_text(&j, "version", w->t.version);
	json_real(&j, "duration_s", m->seconds);
	json_real(&j, "counters_s", m->counters_seconds);
	json_known(&j, "rss_bytes", m->rss ? (int64_t)m->rss : -1);
	json_known(&j, "threads", m->threads ? m->threads : -1);
	json_open(&j, "classes", '[');
	for (unsigned c = 1; c < m->classes; c++)
		json_class(&j, &m->class_[c], c);
	json_close(&j, ']');
	json_large(&j, m);
	json_open(&j, "remote", '{');
	json_number(&j, "pushes", m->remote_pushes);
	json_number(&j, "blocks", m->remote_blocks);
	json_number(&j, "bytes", m->remote_bytes);
	json_number(&j, "drains", m->drains);
	json_close(&j, '}');
	json_locks(&j, m);
	json_os(&j, m);
	json_open(&j, "memory", '{');
	json_number(&j, "arena_bytes", m->now.arena_bytes);
	json_number(&j, "used_bytes", m->now.used_bytes);
	json_number(&j, "dirty_bytes", m->now.dirty_bytes);
	json_number(&j, "large_bytes", m->now.large_bytes);
	json_number(&j, "cached_bytes", m->now.cached_bytes);
	json_number(&j, "meta_bytes", m->now.meta_bytes);
	json_close(&j, '}');
	json_open(&j, "self", '{');
	json_known(&j, "events", m->events);
	json_known(&j, "lost", m->lost);
	json_known(&j, "bpf_ns", m->bpf_ns);
	json_close(&j, '}');
	json_check(&j, m);
	json_close(&j, '}');
	fputc('\n', out);
}

static void print_table(FILE *out, const struct watch *w, const struct model *m)
{
	char header[HEADER_LINES][256], line[512];
	int rows[ROWS_MAX], n = header_lines(m, w->who, 120, header);
	bool fit[32];

	fprintf(out, "\n");
	for (int i = 0; i < n; i++)
		fprintf(out, " %s\n", header[i]);
	for (int v = 0; v < VIEWS; v++) {
		int count = view_rows(&views[v], m, views[v].sort, false, NULL, rows);

		if (!count)
			continue;
		view_fit(&views[v], 110, fit);
		fprintf(out, "\n %s\n", views[v].title);
		view_line(&views[v], m, -1, fit, line, sizeof(line));
		fprintf(out, " %s\n", line);
		for (int i = 0; i < count; i++) {
			view_line(&views[v], m, rows[i], fit, line, sizeof(line));
			fprintf(out, " %s\n", line);
		}
	}
	fprintf(out, "\n %llu allocations, %llu frees in %.3f s\n", (unsigned long long)m->allocs,
		(unsigned long long)m->frees, m->seconds);
	if (m->ended)
		fprintf(out,
			" it ended: counts after %.3f s are what its probes told, memory is as of "
			"then\n",
			m->counters_seconds);
}

/* Half a report is none. */
static int unwritten(FILE *out, const char *output, int error)
{
	const char *why = strerror(error ? error : EIO);

	if (!output)
		complain("cannot write the report: %s", why);
	else if (ftruncate(fileno(out), 0))
		complain("cannot write %s: %s; what is there is not the whole report", output, why);
	else
		complain("cannot write %s: %s; it is left empty", output, why);
	return EXIT_FAIL;
}

static int report(const struct options *o, FILE *out, const struct watch *w, const struct model *m)
{
	int r = EXIT_OK;

	if (o->json)
		print_json(out, w, m);
	else
		print_table(out, w, m);
	errno = 0;
	if ((ferror(out) | fflush(out)) && (o->output || !reader_is_gone()))
		r = unwritten(out, o->output, errno);
	if (o->output && fclose(out) && r == EXIT_OK) {
		complain("cannot write %s: %s", o->output, strerror(errno));
		r = EXIT_FAIL;
	}
	return r;
}

/* Before the interval: who cannot write should not wait for it first. NULL after a message. */
static FILE *open_output(const struct options *o)
{
	FILE *out = o->output ? fopen(o->output, "we") : stdout;

	if (!out)
		complain("cannot write %s: %s", o->output, strerror(errno));
	return out;
}

/* A good sample: where the process became another program, the interval begins with that one. */
static void take(const struct watch *w, struct sample *from, struct sample *last, struct sample *s)
{
	if (s->root.start_ns != last->root.start_ns && last->root.start_ns) {
		complain("process %d became another program: its counts, from its start", w->t.pid);
		collect_zero_of(from, s);
	} else if (last->t_ns != from->t_ns) { /* what `from` knows was before the interval */
		collect_max(s, last);
	}
	*last = *s;
}

/* Waits for the end of the interval, keeping the last good sample of a process that goes away. */
static int interval(struct watch *w, double seconds, struct sample *from, struct sample *last)
{
	enum watch_event e;
	char text[128];

	do {
		/* one that is not ours may end at any time: read it often enough to say something
		 */
		double step = w->launched ? seconds : seconds < 0 || seconds > 0.5 ? 0.5 : seconds;
		struct sample s;
		int r;

		e = watch_wait(w, step);
		if (seconds >= 0)
			seconds -= step;
		r = watch_sample(w, &s);
		if (!r) {
			take(w, from, last, &s);
		} else if (r != -EAGAIN && r != -ESRCH) {
			complain("cannot read the counters: %s", strerror(-r));
			return exit_code_of(r);
		} else if (r == -ESRCH && !w->launched) {
			e = WATCH_EXIT;
		}
	} while (e == WATCH_TIME && (seconds < 0 ? !w->launched : seconds > 1e-9));
	if (e == WATCH_EXIT) {
		if (!w->launched && w->a && last->has_bpf)
			collect_end(last, w->a);
		watch_finish(w, text, sizeof(text));
		complain("%s", text);
	}
	return watch_end_code(w);
}

static int measure(struct watch *w, const struct options *o, struct sample *from, struct sample *to)
{
	int r = o->command ? -EAGAIN : watch_sample(w, from);

	if (r && r != -EAGAIN && r != -ESRCH) {
		complain("cannot read the counters: %s", strerror(-r));
		return exit_code_of(r);
	}
	if (r) /* nothing yet, or already gone */
		collect_zero(from);
	*to = *from;
	return interval(w, o->seconds, from, to);
}

int cmd_stat(int argc, char **argv)
{
	static const struct argp argp = {
		option_table, parse, NULL, "One interval of a process on libhakmem, exactly.",
		NULL,	      NULL,  NULL};
	struct options o = {.seconds = -1};
	static struct sample from, to;
	static struct model m;
	struct watch w;
	pid_t pid = 0;
	FILE *out;
	int r;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (o.process && !(pid = parse_process(o.process)))
		return EXIT_NO_HAKMEM;
	catch_signals();
	r = watch_open(&w, pid, o.command, false);
	out = r == EXIT_OK ? open_output(&o) : NULL;
	if (out) {
		keep_to_watch(attach_by_events(w.a), o.command != NULL);
		r = measure(&w, &o, &from, &to);
		if (r == EXIT_OK) {
			model_make(&m, &from, &to);
			r = report(&o, out, &w, &m);
		}
	} else if (r == EXIT_OK) {
		r = EXIT_FAIL;
	}
	watch_close(&w);
	return r;
}
