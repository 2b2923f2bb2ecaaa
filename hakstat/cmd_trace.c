/* hakstat trace: what the probes tell, a line each, as strace does. */
#include "hakstat.h"
#include "privilege.h"
#include "report.h"
#include "trace.h"
#include "views.h"
#include "watch.h"
#include "whom.h"

#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RATE_DEFAULT 10000
#define NAMES_MAX (6 * HAK_PROBE_COUNT)

enum { KEY_MIN_NS = 256, KEY_RATE };

struct options {
	struct trace_options trace;
	struct whom whom;
	long count; /* 0: no end */
	enum report_format format;
};

static const struct argp_option option_table[] = {
	{"events", 'e', "PROBE[,PROBE...]", 0,
	 "only these probes of `hakstat probes' (default: all; lock_wait: lock_wait_done)", 0},
	{"min-ns", KEY_MIN_NS, "NS", 0, "only events that took so long: of locks and system calls",
	 0},
	{"rate", KEY_RATE, "EVENTS", 0,
	 "so many a second at most, the first ones of each; 0: all (default 10000)", 0},
	{"count", 'n', "COUNT", 0, "end after so many events", 0},
	REPORT_FORMAT_OPTIONS("an object a line",
			      "CSV: a column for each argument of the probes chosen"),
	{0},
};

static uint64_t number(struct argp_state *state, const char *text, const char *what)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno)
		argp_error(state, "%s: not a number: %s", what, text);
	return v;
}

static void parse_probes(struct options *o, struct argp_state *state, const char *list)
{
	char *copy = strdup(list), *at = copy, *name, names[512];
	int i;

	while ((name = strsep(&at, ","))) {
		i = contract_probe(name);
		if (i >= 0) {
			o->trace.which |= PROBE_BIT(i);
			continue;
		}
		contract_probe_names(names, sizeof(names));
		argp_error(state, "no probe '%s'; there are%s", name, names);
	}
	free(copy);
}

static void end_options(struct options *o, struct argp_state *state)
{
	uint64_t with_ns = 0;

	whom_check(&o->whom, state);
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		if (trace_ns_argument(i) >= 0)
			with_ns |= PROBE_BIT(i);
	if (!o->trace.which)
		o->trace.which = ~(uint64_t)0;
	if (o->trace.min_ns && !(o->trace.which &= with_ns))
		argp_error(state, "--min-ns: none of these probes tells how long it took");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	if (report_format_key(key, &o->format))
		return 0;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->whom;
		return 0;
	case 'e':
		parse_probes(o, state, arg);
		return 0;
	case KEY_MIN_NS:
		o->trace.min_ns = number(state, arg, "--min-ns");
		return 0;
	case KEY_RATE:
		o->trace.per_second = number(state, arg, "--rate");
		return 0;
	case 'n':
		o->count = (long)number(state, arg, "-n");
		if (o->count < 1)
			argp_error(state, "-n: not a number of events: %s", arg);
		return 0;
	case ARGP_KEY_END:
		end_options(o, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --- an argument --- */

static uint64_t argument(const struct trace_event *e, int i)
{
	return !strcmp(hak_probes[e->probe].arg[i].type, "u32") ? (uint32_t)e->arg[i] : e->arg[i];
}

/* The word for a code; NULL: it is none, or not one we know. */
static const char *code_text(const struct probe_arg *a, uint64_t v)
{
	if (strncmp(a->unit, "enum:", 5) != 0)
		return NULL;
	for (int i = 0; i < hak_code_list_count; i++)
		if (!strcmp(hak_code_lists[i].name, a->unit + 5) &&
		    v < (uint64_t)hak_code_lists[i].count)
			return hak_code_lists[i].text[v];
	return NULL;
}

static void print_argument(const struct probe_arg *a, uint64_t v)
{
	const char *code = code_text(a, v);

	printf("%s=", a->name);
	if (code)
		printf("%s", code);
	else if (!strcmp(a->unit, "addr") || !strcmp(a->unit, "id"))
		printf("0x%llx", (unsigned long long)v);
	else if (!strcmp(a->unit, "bytes"))
		printf("%lluB", (unsigned long long)v);
	else
		printf("%llu%s", (unsigned long long)v,
		       !strcmp(a->unit, "blocks") && strcmp(a->name, "blocks") != 0 ? " blocks"
										    : "");
}

/* --- a line --- */

struct stream {
	const struct options *o;
	long left; /* events, if they are counted */
	uint64_t shown;
	struct trace_counts counts;
	uint64_t skipped, lost;	       /* said so far */
	int64_t to_wall;	       /* of CLOCK_MONOTONIC, ns */
	double off_s[HAK_PROBE_COUNT]; /* probes that the budget took off, in all */
	const char *name[NAMES_MAX];   /* columns of CSV: arguments of all probes chosen */
	int names;
};

/* The duration is told at the end, as strace -T does. */
static void print_line(const struct trace_event *e, uint64_t wall_ns)
{
	const struct probe_desc *p = &hak_probes[e->probe];
	int ns = trace_ns_argument((int)e->probe);
	time_t s = (time_t)(wall_ns / 1000000000);
	const char *comma = "";
	char when[16];
	struct tm tm;

	if (!localtime_r(&s, &tm) || !strftime(when, sizeof(when), "%H:%M:%S", &tm))
		when[0] = '\0';
	printf("%s.%06u [%u %s] %s(", when, (unsigned)(wall_ns % 1000000000 / 1000), e->tid,
	       e->name, p->name);
	for (int i = 0; i < p->nargs; i++) {
		if (i == ns)
			continue;
		fputs(comma, stdout);
		print_argument(&p->arg[i], argument(e, i));
		comma = ", ";
	}
	printf(")");
	if (ns >= 0)
		printf(" <%llu.%09llu>", (unsigned long long)(argument(e, ns) / 1000000000),
		       (unsigned long long)(argument(e, ns) % 1000000000));
	printf("\n");
}

/* --- JSON and CSV --- */

struct told {
	const struct trace_event *e;
	char wall_ns[24];
};
#define TOLD(m) ((const struct told *)(m)->own)

static struct value time_ns(const struct model *m, int row)
{
	(void)row;
	return (struct value){VALUE_DIGITS, 0, TOLD(m)->wall_ns};
}

static struct value thread_id(const struct model *m, int row)
{
	(void)row;
	return value_of(VALUE_ID, TOLD(m)->e->tid);
}

static struct value thread(const struct model *m, int row)
{
	(void)row;
	return value_text_of(TOLD(m)->e->name, 0);
}

static struct value probe(const struct model *m, int row)
{
	(void)row;
	return value_text_of(hak_probes[TOLD(m)->e->probe].name, 0);
}

static struct value duration(const struct model *m, int row)
{
	const struct trace_event *e = TOLD(m)->e;
	int ns = trace_ns_argument((int)e->probe);

	(void)row;
	return ns >= 0 ? value_of(VALUE_NS, (double)argument(e, ns)) : value_none();
}

static const struct column columns[] = {
	{"time_ns", "TIME", UNIT_NS, "when it fired, since 1970", 0, 0, time_ns},
	{"thread_id", "TID", UNIT_COUNT, "of the thread, in the PID namespace of the process", 0, 0,
	 thread_id},
	{"thread", "THREAD", UNIT_TEXT, "name of the thread", 0, 0, thread},
	{"probe", "PROBE", UNIT_TEXT, "which fired: hakstat probes; behind it, its arguments", 0, 0,
	 probe},
	{"duration_ns", "TOOK", UNIT_NS, "how long that took which the probe tells of", 0, 0,
	 duration},
};

const struct view view_trace = {
	.name = "trace",
	.title = "events, one by one",
	.columns = COLUMNS(columns),
	.rows = own_row,
	.shown = always_shown,
	.sort = VIEW_UNSORTED,
};

static void json_arguments(struct json *j, const struct trace_event *e)
{
	const struct probe_desc *p = &hak_probes[e->probe];

	json_open(j, "args", '{');
	for (int i = 0; i < p->nargs; i++) {
		const char *code = code_text(&p->arg[i], argument(e, i));

		if (code)
			json_text(j, p->arg[i].name, code);
		else
			json_number(j, p->arg[i].name, argument(e, i));
	}
	json_close(j, '}');
}

static void print_json(const struct model *m)
{
	struct json j = {stdout, false};

	json_open(&j, NULL, '{');
	report_json_columns(&j, &view_trace, m, 0);
	json_arguments(&j, TOLD(m)->e);
	json_close(&j, '}');
	printf("\n");
}

static void find_names(struct stream *s)
{
	for (int i = 0; i < HAK_PROBE_COUNT; i++) {
		const struct probe_desc *p = &hak_probes[i];

		for (int k = 0; s->o->trace.which & PROBE_BIT(i) && k < p->nargs; k++) {
			int at = 0;

			while (at < s->names && strcmp(s->name[at], p->arg[k].name) != 0)
				at++;
			if (at == s->names)
				s->name[s->names++] = p->arg[k].name;
		}
	}
}

/* Of CSV: the same columns, and one for each argument of all probes chosen. */
static void print_heading(const struct stream *s)
{
	struct csv c = {stdout, false};

	report_csv_heads(&c, &view_trace);
	for (int i = 0; i < s->names; i++)
		csv_text(&c, s->name[i]);
	csv_end(&c);
}

static void csv_argument(struct csv *c, const struct trace_event *e, const char *name)
{
	const struct probe_desc *p = &hak_probes[e->probe];
	const char *code;

	for (int i = 0; i < p->nargs; i++) {
		if (strcmp(p->arg[i].name, name) != 0)
			continue;
		code = code_text(&p->arg[i], argument(e, i));
		if (code)
			csv_text(c, code);
		else
			csv_number(c, argument(e, i));
		return;
	}
	csv_unknown(c);
}

static void print_csv(const struct stream *s, const struct model *m)
{
	struct csv c = {stdout, false};

	report_csv_cells(&c, &view_trace, m, 0);
	for (int i = 0; i < s->names; i++)
		csv_argument(&c, TOLD(m)->e, s->name[i]);
	csv_end(&c);
}

/* --- what is missing --- */

static void print_missing(const struct stream *s, uint64_t skipped, uint64_t lost)
{
	struct json j = {stdout, false};

	if (s->o->format == REPORT_JSON) {
		json_open(&j, NULL, '{');
		json_number(&j, "dropped", skipped);
		json_number(&j, "lost", lost);
		json_close(&j, '}');
		printf("\n");
		return;
	}
	if (skipped)
		printf("... %llu events dropped, to keep to --rate %llu\n",
		       (unsigned long long)skipped, (unsigned long long)s->o->trace.per_second);
	if (lost)
		printf("... %llu events lost: they came faster than they could be shown\n",
		       (unsigned long long)lost);
}

/* Where it happened; CSV has no place for it but the end. */
static void tell_missing(struct stream *s, uint64_t skipped, uint64_t lost)
{
	uint64_t more = skipped > s->skipped ? skipped - s->skipped : 0;
	uint64_t more_lost = lost > s->lost ? lost - s->lost : 0;

	if ((!more && !more_lost) || s->o->format == REPORT_CSV)
		return;
	print_missing(s, more, more_lost);
	s->skipped += more;
	s->lost += more_lost;
}

static bool on_event(void *arg, const struct trace_event *e)
{
	static struct model m;
	struct stream *s = arg;
	struct told told = {e, ""};
	uint64_t wall_ns = e->ns + (uint64_t)s->to_wall;

	if (s->o->count && !s->left)
		return false;
	tell_missing(s, e->skipped, e->lost);
	snprintf(told.wall_ns, sizeof(told.wall_ns), "%llu", (unsigned long long)wall_ns);
	m.own = &told;
	if (s->o->format == REPORT_JSON)
		print_json(&m);
	else if (s->o->format == REPORT_CSV)
		print_csv(s, &m);
	else
		print_line(e, wall_ns);
	m.own = NULL;
	s->shown++;
	return !s->o->count || --s->left;
}

/* The budget takes a probe off, or has put it back. */
static void on_off(void *arg, int probe, bool off)
{
	struct stream *s = arg;
	struct json j = {stdout, false};

	if (s->o->format == REPORT_JSON) {
		json_open(&j, NULL, '{');
		json_text(&j, off ? "off" : "on", hak_probes[probe].name);
		json_real(&j, "off_s", s->off_s[probe]);
		json_close(&j, '}');
		printf("\n");
	} else if (s->o->format == REPORT_TABLE && off) {
		printf("... %s is off: more than %u a second in a thread (--budget)\n",
		       hak_probes[probe].name, budget_get());
	} else if (s->o->format == REPORT_TABLE) {
		printf("... %s is on again\n", hak_probes[probe].name);
	}
}

static void on_turn(void *arg)
{
	(void)arg;
	if (fflush(stdout)) {
		output_error = errno;
		stop_requested = 1; /* main tells whether that is a failure */
	}
}

/* --- the command --- */

static int say_end(struct watch *w)
{
	char text[128];

	watch_finish(w, text, sizeof(text));
	complain("%s", text);
	return w->launched && !w->any ? watch_end_code(w) : EXIT_OK;
}

/* A look now and then tells whether the process has become another program. */
static int run(struct watch *w, const struct options *o)
{
	double end = o->whom.seconds > 0 ? clock_s() + o->whom.seconds : INFINITY;
	static struct sample s;

	for (;;) {
		double left = end - clock_s();
		enum watch_event e = watch_wait(w, left > 1 ? 1 : left > 0 ? left : 0);
		int r = e == WATCH_STOP ? 0 : watch_sample(w, &s);

		if (e == WATCH_EXIT || (r == -ESRCH && !w->launched))
			return say_end(w);
		if (e == WATCH_STOP || clock_s() >= end)
			return EXIT_OK;
		if (r && r != -EAGAIN && r != -ESRCH)
			return exit_code_of(r);
	}
}

static void say_counts(const struct stream *s)
{
	complain("%llu events shown, %llu dropped to keep to --rate, %llu lost",
		 (unsigned long long)s->shown, (unsigned long long)s->counts.skipped,
		 (unsigned long long)s->counts.lost);
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		if (s->off_s[i] > 0)
			complain("%s was off for %.1f s, to keep to --budget", hak_probes[i].name,
				 s->off_s[i]);
}

int cmd_trace(int argc, char **argv)
{
	static const struct argp_child children[] = {{&whom_argp, 0, NULL, 0}, {0}};
	static const struct argp argp = {
		option_table,
		parse,
		NULL,
		"What the probes of a process tell, a line each: time, thread, probe with its "
		"arguments, and how long it took.",
		children,
		NULL,
		NULL};
	static struct options o = {.trace.per_second = RATE_DEFAULT};
	static struct stream s;
	static bool by_events;
	static int refused;
	struct watch w;
	pid_t pid = 0;
	int r;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	s.o = &o;
	s.left = o.count;
	s.to_wall = wall_less_monotonic();
	o.trace.event = on_event;
	o.trace.turn = on_turn;
	o.trace.off = on_off;
	o.trace.arg = &s;
	o.trace.refused = &refused;
	o.trace.by_events = &by_events;
	o.trace.counts = &s.counts;
	o.trace.off_s = s.off_s;
	if (o.whom.process && !(pid = parse_process(o.whom.process)))
		return EXIT_NO_HAKMEM;
	catch_signals();
	if (o.format == REPORT_CSV) {
		find_names(&s);
		print_heading(&s);
	}
	r = watch_open(&w, pid, o.whom.command, false, &source_trace, &o.trace);
	if (r == EXIT_OK && !refused) {
		keep_to_watch(by_events, o.whom.command != NULL);
		r = run(&w, &o);
	}
	watch_close(&w);
	if (refused)
		return exit_code_of(refused);
	if (r == EXIT_OK) {
		tell_missing(&s, s.counts.skipped, s.counts.lost);
		say_counts(&s);
	}
	return r;
}
