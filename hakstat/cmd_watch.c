/* hakstat watch: waits for something to get bad, and tells. */
#include "alert.h"
#include "cgroup.h"
#include "errand.h"
#include "hakstat.h"
#include "privilege.h"
#include "processes.h"
#include "report.h"
#include "sources.h"
#include "watch.h"
#include "whom.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ALERTS_MAX 32

enum { KEY_EXEC = 512, KEY_ONCE };

struct options {
	struct whom whom;
	const char *exec;
	double interval;
	enum report_format format;
	bool once;
	struct alert alert[ALERTS_MAX];
	int n;
};

/* What is told of. */
struct guard {
	const struct options *o;
	struct watch w;
	struct errand errand;
	struct sample s[2]; /* taken in turn */
	int last;
	unsigned programs;
	bool any;
	struct model m;
	struct process_row row;
	struct processes whole;
	bool fired;
};

static const struct argp_option option_table[] = {
	{"alert", 'a', "ALERT", 0,
	 "tell when this is true, and when it is over: 'hit_rate<95 for 10s'; may be repeated", 0},
	{"exec", KEY_EXEC, "CMD", 0,
	 "run CMD on each alert, with HAKSTAT_ variables that tell of it", 0},
	{"interval", 'i', "SECONDS", 0, "time between looks (default 1)", 0},
	{"once", KEY_ONCE, NULL, 0, "end with the first alert", 0},
	REPORT_FORMAT_OPTIONS("a JSON object a line", "CSV: a line for each condition of an alert"),
	{0},
};

/* The expression, and below it a caret where it is wrong. */
static void add_alert(struct options *o, const char *text)
{
	char err[256];
	size_t at;

	if (o->n == ALERTS_MAX) {
		complain("no more than %d alerts", ALERTS_MAX);
		exit(EXIT_USAGE);
	}
	if (alert_parse(&o->alert[o->n++], text, err, sizeof(err), &at))
		return;
	complain("--alert: %s", err);
	fprintf(stderr, "  %s\n  %*s^\n", text, (int)at, "");
	exit(EXIT_USAGE);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	if (report_format_key(key, &o->format))
		return 0;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->whom;
		break;
	case 'a':
		add_alert(o, arg);
		break;
	case KEY_EXEC:
		o->exec = arg;
		break;
	case 'i':
		o->interval = parse_seconds(arg);
		if (o->interval < 0.01)
			argp_error(state, "not a number of seconds, at least 0.01: %s", arg);
		break;
	case KEY_ONCE:
		o->once = true;
		break;
	case ARGP_KEY_ARG:
		argp_usage(state);
		break;
	case ARGP_KEY_END:
		whom_check(&o->whom, state);
		if (!o->n)
			argp_error(state, "give an alert, as in --alert 'hit_rate<95 for 10s'");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* --- telling --- */

static void time_text(char *out, size_t len)
{
	time_t now = time(NULL);
	struct tm tm;

	strftime(out, len, "%FT%T%z", localtime_r(&now, &tm));
}

/* One change of an alert; a row is a condition of it. */
struct told {
	const struct target *t;
	const struct alert *a;
	const char *event, *when;
	double lasted; /* negative: it goes on */
};
#define TOLD(m) ((const struct told *)(m)->own)

#define CELL_(name, result)                                      \
	static struct value name(const struct model *m, int row) \
	{                                                        \
		const struct told *t = TOLD(m);                  \
		const struct condition *c = &t->a->c[row];       \
                                                                 \
		(void)c;                                         \
		return result;                                   \
	}
CELL_(when, value_text_of(t->when, 0))
CELL_(event, value_text_of(t->event, 0))
CELL_(pid, value_of(VALUE_ID, t->t->pid))
CELL_(comm, value_text_of(t->t->comm, 0))
CELL_(expression, value_text_of(t->a->text, 0))
CELL_(held, value_of(VALUE_FACTOR, t->a->hold))
CELL_(lasted, t->lasted < 0 ? value_none() : value_of(VALUE_FACTOR, t->lasted))
CELL_(view_name, value_text_of(c->view->name, 0))
CELL_(row_name, value_text_or_none(c->of))
CELL_(column_id, value_text_of(c->column->id, 0))
CELL_(grows, value_of(VALUE_BOOL, c->grows))

static struct value value_now(const struct model *m, int row)
{
	double v;

	return condition_number(&TOLD(m)->a->c[row], &v) ? value_of(VALUE_FACTOR, v) : value_none();
}

/* The first ones are of the alert, those from CONDITION_COLUMNS on of each condition. */
static const struct column columns[] = {
	{"time", "TIME", UNIT_TEXT, "when, with the offset of local time", 0, 0, when},
	{"event", "EVENT", UNIT_TEXT, "alert, when it becomes true, or over", 0, 0, event},
	{"pid", "PID", UNIT_COUNT, "its number", 0, 0, pid},
	{"comm", "COMMAND", UNIT_TEXT, "its name", 0, 0, comm},
	{"expression", "ALERT", UNIT_TEXT, "the alert as it was given", 0, 0, expression},
	{"for_s", "FOR", UNIT_SECONDS, "how long its conditions must be true", 0, 0, held},
	{"lasted_s", "LASTED", UNIT_SECONDS, "how long an alert that is over was on", 0, 0, lasted},
	{"view", "VIEW", UNIT_TEXT, "table the column is of", 0, 0, view_name},
	{"row", "ROW", UNIT_TEXT, "name of the row a condition is of", 0, 0, row_name},
	{"column", "COLUMN", UNIT_TEXT, "id of a column", 0, 0, column_id},
	{"grows", "GROWS", UNIT_BOOL, "the value is how much it grows a second", 0, 0, grows},
	{"value", "VALUE", UNIT_VARIES, "what a condition compares", 0, 0, value_now},
};
#define CONDITION_COLUMNS 7

static int rows(const struct model *m)
{
	return m->own ? TOLD(m)->a->n : 0;
}

const struct view view_watch = {
	.name = "watch",
	.title = "conditions of alerts",
	.columns = COLUMNS(columns),
	.rows = rows,
	.shown = always_shown,
	.sort = VIEW_UNSORTED,
};

static void tell_json(const struct model *m)
{
	static const struct view of_alert = {.columns = columns, .ncolumns = CONDITION_COLUMNS};
	static const struct view of_condition = {.columns = columns + CONDITION_COLUMNS,
						 .ncolumns = sizeof(columns) / sizeof(columns[0]) -
							     CONDITION_COLUMNS};
	struct json j = {stdout, false};

	json_open(&j, NULL, '{');
	json_text(&j, "schema", "hakstat.watch/1");
	report_json_columns(&j, &of_alert, m, 0);
	json_open(&j, "values", '[');
	for (int i = 0; i < TOLD(m)->a->n; i++) {
		json_open(&j, NULL, '{');
		report_json_columns(&j, &of_condition, m, i);
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_close(&j, '}');
	printf("\n");
}

static void tell_text(const struct guard *g, const struct told *t)
{
	char values[512];

	alert_values(t->a, values, sizeof(values));
	printf("%s %s %s [%d]: %s (%s)", t->when, t->lasted < 0 ? "ALERT" : "over ", g->w.t.comm,
	       g->w.t.pid, values, t->a->text);
	if (t->lasted >= 0)
		printf(" after %.1f s", t->lasted);
	printf("\n");
}

static void tell(const struct guard *g, const struct alert *a, bool on, const char *when,
		 double now)
{
	const struct told t = {&g->w.t, a, on ? "alert" : "over", when,
			       on ? -1 : now - a->on_since};
	static struct model m;

	m.own = &t;
	switch (g->o->format) {
	case REPORT_JSON:
		tell_json(&m);
		break;
	case REPORT_CSV:
		for (int i = 0; i < a->n; i++)
			report_csv_row(stdout, &view_watch, &m, i);
		break;
	case REPORT_TABLE:
		tell_text(g, &t);
		break;
	}
	m.own = NULL;
	if (fflush(stdout))
		output_error = errno;
}

#define VARIABLE_BYTES 1024

/* What the command of --exec finds in its environment. */
static void run_errand(struct guard *g, const struct alert *a, const char *when)
{
	char text[9][VARIABLE_BYTES], number[32] = "", comm[64], of[ROW_NAME_BYTES],
				      cgroup[CGROUP_BYTES];
	const struct condition *c = &a->c[0];
	const char *variables[10];
	double v;
	int n = 0;

	snprintf(comm, sizeof(comm), "%s", g->w.t.comm);
	snprintf(of, sizeof(of), "%s", c->of);
	cgroup_name(g->w.t.pid, cgroup, sizeof(cgroup));
	errand_plain(comm);
	errand_plain(of);
	errand_plain(cgroup);
	if (condition_number(c, &v))
		snprintf(number, sizeof(number), "%.9g", v);
	snprintf(text[n++], VARIABLE_BYTES, "HAKSTAT_TIME=%s", when);
	snprintf(text[n++], VARIABLE_BYTES, "HAKSTAT_PID=%d", g->w.t.pid);
	snprintf(text[n++], VARIABLE_BYTES, "HAKSTAT_COMM=%s", comm);
	snprintf(text[n++], VARIABLE_BYTES, "HAKSTAT_CGROUP=%s", cgroup);
	snprintf(text[n++], VARIABLE_BYTES, "HAKSTAT_ALERT=%s", a->text);
	snprintf(text[n++], VARIABLE_BYTES, "HAKSTAT_VIEW=%s", c->view->name);
	snprintf(text[n++], VARIABLE_BYTES, "HAKSTAT_ROW=%s", of);
	snprintf(text[n++], VARIABLE_BYTES, "HAKSTAT_COLUMN=%s", c->column->id);
	snprintf(text[n++], VARIABLE_BYTES, "HAKSTAT_VALUE=%s", number);
	for (int i = 0; i < n; i++)
		variables[i] = text[i];
	variables[n] = NULL;
	errand_start(&g->errand, variables);
}

/* --- looking --- */

static void look(struct guard *g, struct options *o)
{
	double now = clock_s();
	char when[64];

	process_row_make(&g->row, &g->m);
	g->row.pid = g->w.t.pid;
	g->row.shared = target_shared(g->row.pid);
	g->m.processes = &g->whole;
	time_text(when, sizeof(when));
	for (int i = 0; i < o->n; i++) {
		struct alert *a = &o->alert[i];
		enum alert_change change = alert_look(a, &g->m, now);

		if (change == ALERT_SAME)
			continue;
		tell(g, a, change == ALERT_ON, when, now);
		if (change == ALERT_OVER)
			continue;
		g->fired = true;
		if (o->exec)
			run_errand(g, a, when);
	}
}

/* Takes a sample and looks at what lies between it and the one before. */
static int step(struct guard *g, struct options *o)
{
	int next = !g->last, r = watch_sample(&g->w, &g->s[next]);

	if (r)
		return r;
	if (g->any && g->programs != g->w.programs) {
		collect_zero_of(&g->s[g->last], &g->s[next]);
		for (int i = 0; i < o->n; i++)
			alert_restart(&o->alert[i]);
	}
	g->programs = g->w.programs;
	if (g->any || g->w.launched) {
		if (!g->any)
			collect_zero_of(&g->s[g->last], &g->s[next]);
		watch_model(&g->w, &g->m, &g->s[g->last], &g->s[next]);
		look(g, o);
	} else {
		watch_mark(&g->w);
	}
	g->last = next;
	g->any = true;
	return 0;
}

static int end(struct guard *g)
{
	char text[128];

	watch_finish(&g->w, text, sizeof(text));
	complain("%s", text);
	return watch_end_code(&g->w);
}

static int run(struct guard *g, struct options *o)
{
	double begin = clock_s(), next = begin;
	int r = step(g, o);

	for (;;) {
		enum watch_event e = WATCH_TIME;

		if (r && r != -EAGAIN && r != -ESRCH) {
			complain("cannot read the counters: %s", strerror(-r));
			return exit_code_of(r);
		}
		if (r == -ESRCH && !g->w.launched)
			return end(g);
		if ((o->once && g->fired) || ferror(stdout))
			return EXIT_OK;
		if (o->whom.seconds > 0 && next - begin >= o->whom.seconds - 1e-9)
			return EXIT_OK;
		next += o->interval; /* of a grid, which late looks do not shift */
		if (next < clock_s())
			next = clock_s();
		if (o->whom.seconds > 0 && next > begin + o->whom.seconds)
			next = begin + o->whom.seconds;
		e = watch_wait(&g->w, next > clock_s() ? next - clock_s() : 0);
		if (e == WATCH_STOP)
			return EXIT_OK;
		r = step(g, o);
		if (e == WATCH_EXIT)
			return end(g);
	}
}

static int open_watch(struct guard *g, struct options *o, pid_t pid)
{
	static struct source_list list;
	const struct source *source;
	bool bpf = false;
	int r;

	for (int i = 0; i < o->n; i++) {
		bpf |= alert_needs_bpf(&o->alert[i]);
		for (int k = 0; k < o->alert[i].n; k++)
			source_list_add(&list, o->alert[i].c[k].view->source);
	}
	source = list.n ? &source_several : NULL;
	if (bpf)
		r = watch_open(&g->w, pid, o->whom.command, false, source, &list);
	else
		r = watch_open_alone(&g->w, pid, o->whom.command, source, &list);
	if (r == EXIT_OK && !bpf && !list.n && !o->whom.command && !o->exec)
		keep_to_read(); /* counters alone */
	else if (r == EXIT_OK)
		keep_to_watch(attach_by_events(g->w.a), o->whom.command || o->exec);
	return r;
}

int cmd_watch(int argc, char **argv)
{
	static const struct argp_child children[] = {{&whom_argp, 0, NULL, 0}, {0}};
	static const struct argp argp = {
		option_table,
		parse,
		NULL,
		"Tells when a number gets bad, and when it is over. The status is 5 if an alert "
		"fired, 0 if none did."
		"\vALERT is COLUMN OPERATOR NUMBER, as in 'hit_rate<95', of the whole process; "
		"'class=64 hit_rate<95' of a row of a view; 'rss_bytes grows>1MiB/min for 5min'; "
		"several with 'and'. hakstat help COLUMN tells where a column can be used.",
		children,
		NULL,
		NULL};
	static struct options o = {.interval = 1};
	static struct guard g;
	pid_t pid = 0;
	int r;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (o.exec && !errand_open(&g.errand, o.exec)) {
		complain("cannot run '%s': one command with arguments is meant; for pipes and "
			 "variables use, within single quotes: sh -c '...'",
			 o.exec);
		return EXIT_USAGE;
	}
	if (o.whom.process && !(pid = parse_process(o.whom.process)))
		return EXIT_NO_HAKMEM;
	g.o = &o;
	g.whole = (struct processes){.row = &g.row, .n = 1};
	catch_signals();
	r = open_watch(&g, &o, pid);
	if (r == EXIT_OK && o.format == REPORT_CSV)
		report_csv_head(stdout, &view_watch);
	if (r == EXIT_OK)
		r = run(&g, &o);
	watch_close(&g.w);
	if (o.exec)
		errand_close(&g.errand);
	for (int i = 0; i < o.n; i++)
		alert_free(&o.alert[i]);
	return r == EXIT_OK && g.fired ? EXIT_ALERT : r;
}
