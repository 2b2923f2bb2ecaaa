#include "report.h"
#include "hakstat.h"
#include "recorded.h"
#include "replay.h"
#include "text.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WIDTH_FILE 120
/* They tell of a process that has ended what it allocated and freed since the last look. */
#define ENDS (PROBE_BIT(HAK_P_hakmem_refill) | PROBE_BIT(HAK_P_hakmem_flush))
#define ALERT_ON "\033[1;31m" /* bold red */
#define ALERT_OFF "\033[0m"

enum { KEY_REPLAY = 512, KEY_AT, KEY_FROM, KEY_TO };

static const struct argp_option option_table[] = {
	REPORT_FORMAT_OPTIONS("JSON: plain numbers in the units of `hakstat help COLUMN'",
			      "CSV, the same numbers"),
	{"output", 'o', "FILE", 0, "write the report to FILE", 0},
	{"sort", 's', "COLUMN", 0, "sort by this column, highest first", 0},
	{"reverse", 'r', NULL, 0, "the other way round", 0},
	{"rows", 'n', "ROWS", 0, "no more rows than that", 0},
	{"width", 'w', "WIDTH", 0, "of the table (default: the terminal's, or 120)", 0},
	{"replay", KEY_REPLAY, "FILE", 0, "of a recording (hakstat record), all of it, or:", 1},
	{"at", KEY_AT, "TIME", 0,
	 "its interval at TIME: [YYYY-MM-DD ]HH:MM[:SS], @SECONDS since 1970, +SECONDS from its "
	 "begin, -SECONDS from its end",
	 1},
	{"from", KEY_FROM, "TIME", 0, "from there on", 1},
	{"to", KEY_TO, "TIME", 0, "up to there", 1},
	{0},
};

static int parse_number(struct argp_state *state, const char *text, int least, int most)
{
	char *end;
	long v = strtol(text, &end, 10);

	if (!*text || *end || v < least || v > most)
		argp_error(state, "not a number from %d to %d: %s", least, most, text);
	return (int)v;
}

static void find_sort(struct report_options *o, struct argp_state *state)
{
	const char *name = o->sort_name;
	const struct view *v = o->view;
	char ids[512] = "";

	o->sort = name ? view_column(v, name) : v->sort;
	if (o->sort >= 0)
		return;
	for (int i = 0; i < v->ncolumns; i++)
		snprintf(ids + strlen(ids), sizeof(ids) - strlen(ids), " %s", v->columns[i].id);
	argp_error(state, "no column '%s'; there are%s", name, ids);
}

static void begin(struct report_options *o)
{
	o->sort_name = NULL;
	o->width = 0;
}

static void end(struct report_options *o, struct argp_state *state)
{
	const struct whom *w = &o->whom;

	if (o->replay && (w->process || w->command || w->seconds > 0))
		argp_error(state, "--replay is of a file, without -p, -c and -d");
	if (!o->replay)
		whom_check(w, state);
	if ((o->at || o->from || o->to) && !o->replay)
		argp_error(state, "--at, --from and --to are times of a recording: --replay FILE");
	if (o->at && (o->from || o->to))
		argp_error(state, "--at is one interval, without --from and --to");
	find_sort(o, state);
	o->seconds = w->seconds > 0 ? w->seconds : w->process ? o->pid_seconds : -1;
	o->fold = o->width ? o->width : o->output ? INT_MAX : text_fold_width();
	if (!o->width)
		o->width = o->output ? WIDTH_FILE : text_width();
}

bool report_format_key(int key, enum report_format *format)
{
	if (key == REPORT_KEY_JSON)
		*format = REPORT_JSON;
	else if (key == REPORT_KEY_CSV)
		*format = REPORT_CSV;
	return key == REPORT_KEY_JSON || key == REPORT_KEY_CSV;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct report_options *o = state->input;

	if (report_format_key(key, &o->format))
		return 0;
	switch (key) {
	case ARGP_KEY_INIT:
		begin(o);
		state->child_inputs[0] = &o->whom;
		return 0;
	case 'o':
		o->output = arg;
		return 0;
	case 's':
		o->sort_name = arg;
		return 0;
	case 'r':
		o->reverse = true;
		return 0;
	case 'n':
		o->limit = parse_number(state, arg, 1, INT_MAX);
		return 0;
	case 'w':
		o->width = parse_number(state, arg, 20, WIDTH_MAX);
		return 0;
	case KEY_REPLAY:
		o->replay = arg;
		return 0;
	case KEY_AT:
		o->at = arg;
		return 0;
	case KEY_FROM:
		o->from = arg;
		return 0;
	case KEY_TO:
		o->to = arg;
		return 0;
	case ARGP_KEY_END:
		end(o, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_child whom[] = {{&whom_argp, 0, NULL, 0}, {0}};
const struct argp report_argp = {option_table, parse, NULL, NULL, whom, NULL, NULL};

/* --- text --- */

/* The rows a report shows: all, or the first ones. */
static int report_rows(const struct view *v, const struct model *m, const struct report_options *o,
		       struct row_list *rows)
{
	int sort = o->view == v ? o->sort : v->sort;
	int n = view_rows(v, m, sort, o->view == v && o->reverse, NULL, rows);

	return o->limit && o->limit < n ? o->limit : n;
}

void report_header(FILE *out, const struct model *m, const struct report_options *o)
{
	char header[HEADER_LINES][256], who[192];
	int n;

	snprintf(who, sizeof(who), "%s [%d]   hakmem %s (%s)", m->target->comm, m->target->pid,
		 m->target->version, link_names[m->target->link]);
	n = header_lines(m, who, o->width - 1, header);
	fprintf(out, "\n");
	if (m->recorded)
		text_print(out, m->recorded, o->fold);
	for (int i = 0; i < n; i++)
		fprintf(out, " %s\n", header[i]);
}

static void print_title(FILE *out, const struct view *v, int width)
{
	fprintf(out, "\n");
	text_print(out, v->title, width);
}

/* A row with something wrong is marked without colours, too. */
static void print_row(FILE *out, const char *line, bool alert, bool colours)
{
	if (!alert)
		fprintf(out, " %s\n", line);
	else if (colours)
		fprintf(out, ALERT_ON "!%s" ALERT_OFF "\n", line);
	else
		fprintf(out, "!%s\n", line);
}

bool report_table(FILE *out, const struct view *v, const struct model *m,
		  const struct report_options *o)
{
	int fit[COLUMNS_MAX];
	bool colours = report_colours(out);
	struct row_list rows = {0};
	char line[WIDTH_MAX + 64];
	int n = report_rows(v, m, o, &rows);

	if (n) {
		print_title(out, v, o->fold);
		view_fit(v, o->width - 1, fit);
		view_line(v, m, -1, fit, line, sizeof(line));
		fprintf(out, " %s\n", line);
	}
	for (int i = 0; i < n; i++) {
		view_line(v, m, rows.row[i], fit, line, sizeof(line));
		print_row(out, line, v->alert && v->alert(m, rows.row[i]), colours);
	}
	if (n < rows.n)
		fprintf(out, " ... %d more rows\n", rows.n - n);
	row_list_free(&rows);
	return n > 0;
}

/* In one line, however long: it may hold a command, which is to be copied. */
void report_lacks(FILE *out, const struct view *v, const struct model *m)
{
	char line[PATH_MAX + 512];

	if (view_lacks(v, m, line, sizeof(line)))
		fprintf(out, "\n %s\n", line);
}

void report_notes(FILE *out, const struct view *v, const struct model *m,
		  const struct report_options *o)
{
	char line[512];

	for (int i = 0; v->note && v->note(m, i, line, sizeof(line)); i++) {
		if (!i)
			fprintf(out, "\n");
		text_print(out, line, o->fold);
	}
	for (int i = 0; v->matrix && v->matrix(m, i, o->width - 1, line, sizeof(line)); i++)
		fprintf(out, "%s %s\n", i ? "" : "\n", line);
	report_lacks(out, v, m);
	report_ended(out, m, o);
}

void report_ended(FILE *out, const struct model *m, const struct report_options *o)
{
	char line[256];

	if (!m->ended)
		return;
	if (~m->watched & ENDS)
		snprintf(line, sizeof(line), "it ended: counts and memory are as of %.3f s",
			 m->counters_seconds);
	else
		snprintf(line, sizeof(line),
			 "it ended: counts after %.3f s are what its probes told%s, memory is as "
			 "of then",
			 m->counters_seconds, m->off ? ", those that were not off" : "");
	fprintf(out, "\n");
	text_print(out, line, o->fold);
}

void report_text(FILE *out, const struct view *v, const struct model *m,
		 const struct report_options *o)
{
	report_header(out, m, o);
	if (!report_table(out, v, m, o)) {
		print_title(out, v, o->fold);
		fprintf(out, " nothing in this interval\n");
	}
	report_notes(out, v, m, o);
}

/* --- JSON and CSV --- */

/* A number without loss, in the base unit of its column, or true or false. False: unknown. */
static bool plain_number(const struct value *v, char *out, size_t len)
{
	switch (v->kind) {
	case VALUE_NONE:
	case VALUE_TEXT:
		return false;
	case VALUE_PERCENT:
		snprintf(out, len, "%.9g", v->number / 100);
		return true;
	case VALUE_DIGITS:
		snprintf(out, len, "%s", v->text);
		return true;
	case VALUE_BOOL:
		snprintf(out, len, "%s", v->number != 0 ? "true" : "false");
		return true;
	case VALUE_COUNT:
	case VALUE_ID:
	case VALUE_ADDRESS:
		snprintf(out, len, "%.0f", v->number);
		return true;
	default:
		snprintf(out, len, "%.15g", v->number);
		return true;
	}
}

void report_json_columns(struct json *j, const struct view *v, const struct model *m, int row)
{
	char number[64];

	for (int i = 0; i < v->ncolumns; i++) {
		struct value x = v->columns[i].get(m, row);

		if (x.kind == VALUE_TEXT)
			json_text(j, v->columns[i].id, x.text);
		else if (plain_number(&x, number, sizeof(number)))
			json_literal(j, v->columns[i].id, number);
		else
			json_null(j, v->columns[i].id);
	}
}

static void json_row(struct json *j, const struct view *v, const struct model *m, int row)
{
	json_open(j, NULL, '{');
	report_json_columns(j, v, m, row);
	if (v->alert)
		json_bool(j, "alert", v->alert(m, row));
	if (v->json_row)
		v->json_row(j, m, row);
	json_close(j, '}');
}

void report_json_rows(struct json *j, const char *key, const struct view *v, const struct model *m)
{
	struct row_list rows = {0};
	int n = view_rows(v, m, v->sort, false, NULL, &rows);

	json_open(j, key, '[');
	for (int i = 0; i < n; i++)
		json_row(j, v, m, rows.row[i]);
	json_close(j, ']');
	row_list_free(&rows);
}

void report_json_times(struct json *j, const struct model *m)
{
	if (!m->recorded)
		return;
	json_number(j, "from_ns", m->from_ns);
	json_number(j, "to_ns", m->to_ns);
}

void report_json_self(struct json *j, const struct model *m)
{
	json_open(j, "self", '{');
	json_known(j, "events", m->events);
	json_known(j, "lost", m->lost);
	json_known(j, "bpf_ns", m->bpf_ns);
	json_number(j, "budget", budget_get());
	json_open(j, "off_s", '{'); /* probes that the budget kept off, for how long */
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		if (m->off & PROBE_BIT(i))
			json_real(j, hak_probes[i].name, m->off_s[i]);
	json_close(j, '}');
	json_close(j, '}');
}

void report_json(FILE *out, const struct view *v, const struct model *m,
		 const struct report_options *o)
{
	struct row_list rows = {0};
	struct json j = {out, false};
	char schema[64];
	int n = report_rows(v, m, o, &rows);

	snprintf(schema, sizeof(schema), "hakstat.%s/1", v->name);
	json_open(&j, NULL, '{');
	json_text(&j, "schema", schema);
	if (m->target) {
		json_number(&j, "pid", (uint64_t)m->target->pid);
		json_text(&j, "comm", m->target->comm);
	}
	json_real(&j, "duration_s", m->seconds);
	report_json_times(&j, m);
	json_open(&j, "rows", '[');
	for (int i = 0; i < n; i++)
		json_row(&j, v, m, rows.row[i]);
	json_close(&j, ']');
	if (v->json)
		v->json(&j, m);
	report_json_self(&j, m);
	json_close(&j, '}');
	fputc('\n', out);
	row_list_free(&rows);
}

void report_csv_heads(struct csv *c, const struct view *v)
{
	for (int i = 0; i < v->ncolumns; i++)
		csv_text(c, v->columns[i].id);
}

void report_csv_cells(struct csv *c, const struct view *v, const struct model *m, int row)
{
	char number[64];

	for (int i = 0; i < v->ncolumns; i++) {
		struct value x = v->columns[i].get(m, row);

		if (x.kind == VALUE_TEXT)
			csv_text(c, x.text);
		else if (plain_number(&x, number, sizeof(number)))
			csv_literal(c, number);
		else
			csv_unknown(c);
	}
}

void report_csv_head(FILE *out, const struct view *v)
{
	struct csv c = {out, false};

	report_csv_heads(&c, v);
	csv_end(&c);
}

void report_csv_row(FILE *out, const struct view *v, const struct model *m, int row)
{
	struct csv c = {out, false};

	report_csv_cells(&c, v, m, row);
	csv_end(&c);
}

void report_csv(FILE *out, const struct view *v, const struct model *m,
		const struct report_options *o)
{
	struct row_list rows = {0};
	int n = report_rows(v, m, o, &rows);

	report_csv_head(out, v);
	for (int k = 0; k < n; k++)
		report_csv_row(out, v, m, rows.row[k]);
	row_list_free(&rows);
}

void report_view(FILE *out, const struct view *v, const struct model *m,
		 const struct report_options *o)
{
	switch (o->format) {
	case REPORT_JSON:
		report_json(out, v, m, o);
		break;
	case REPORT_CSV:
		report_csv(out, v, m, o);
		break;
	case REPORT_TABLE:
		report_text(out, v, m, o);
		break;
	}
}

/* --- the command --- */

static void report_own(FILE *out, const struct model *m, const struct report_options *o)
{
	report_view(out, o->view, m, o);
}

FILE *report_open(const struct report_options *o)
{
	FILE *out = o->output ? fopen(o->output, "we") : stdout;

	if (!out)
		complain("cannot write %s: %s", o->output, strerror(errno));
	return out;
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

int report_close(const struct report_options *o, FILE *out)
{
	int r = EXIT_OK;

	errno = 0;
	if ((ferror(out) | fflush(out)) && (o->output || !reader_is_gone()))
		r = unwritten(out, o->output, errno);
	if (o->output && fclose(out) && r == EXIT_OK) {
		complain("cannot write %s: %s", o->output, strerror(errno));
		r = EXIT_FAIL;
	}
	return r;
}

typedef void print_fn(FILE *out, const struct model *m, const struct report_options *o);

static int print_model(const struct report_options *o, const struct model *m, print_fn *print)
{
	FILE *out = report_open(o);

	if (!out)
		return EXIT_FAIL;
	(print ? print : report_own)(out, m, o);
	return report_close(o, out);
}

static bool find_time(const struct replay *p, const char *text, uint64_t *ns)
{
	if (replay_parse_time(p, text, ns))
		return true;
	complain("not a time: %s (give [YYYY-MM-DD ]HH:MM[:SS], @SECONDS, +SECONDS or -SECONDS)",
		 text);
	return false;
}

/* A second later is no other time: that is how they are given. */
static bool is_recorded(const struct replay *p, uint64_t from, uint64_t to, bool at)
{
	uint64_t begin = replay_begin(p), end = replay_time(p, p->intervals - 1);
	char a[40], b[40];

	if (from <= end && to >= begin && (!at || to <= end + 1000000000U))
		return true;
	time_text(begin, false, a, sizeof(a));
	time_text(end, false, b, sizeof(b));
	complain("the recording is of %s to %s", a, b);
	return false;
}

/* The intervals asked for. */
static bool find_intervals(const struct report_options *o, const struct replay *p, size_t *first,
			   size_t *last)
{
	uint64_t from = 0, to = replay_time(p, p->intervals - 1);

	if ((o->at && !find_time(p, o->at, &to)) || (o->from && !find_time(p, o->from, &from)) ||
	    (o->to && !find_time(p, o->to, &to)) || !is_recorded(p, from, to, o->at))
		return false;
	*last = replay_at(p, to);
	*first = o->at ? *last : replay_at(p, from);
	/* one that ends at that time is not wanted */
	if (o->from && *first < *last && replay_time(p, *first) == from)
		++*first;
	if (*first <= *last)
		return true;
	complain("--to is before --from");
	return false;
}

static int run_replay(const struct report_options *o, print_fn *print)
{
	const char *without = recorded_without(o->view);
	static struct replay p;
	static struct model m;
	size_t first, last;
	char err[PATH_MAX + 256];
	int r = EXIT_FAIL;

	if (without)
		complain("%s: %s", o->view->name, without);
	else if (replay_open(&p, o->replay, err, sizeof(err)))
		complain("%s", err);
	else if (!find_intervals(o, &p, &first, &last))
		r = EXIT_USAGE;
	else if (!replay_model(&p, first, last, &m))
		complain("%s: damaged at that time", o->replay);
	else
		r = print_model(o, &m, print);
	if (r == EXIT_OK && p.first > first)
		complain("the recording was interrupted, or the process became another program: "
			 "counted is from %s on",
			 m.recorded + strcspn(m.recorded, ",") + 2);
	replay_close(&p);
	return r;
}

int report_run(const struct report_options *o, const void *options, print_fn *print)
{
	static struct interval x;
	int r;
	FILE *out;

	if (o->replay)
		return run_replay(o, print);
	attach_want(PROBES_LIGHT | o->view->probes | o->probes);
	r = interval_open(&x, o->whom.process, o->whom.command,
			  o->source ? o->source : o->view->source, options);
	/* before the interval: who cannot write should not wait for it first */
	out = r == EXIT_OK ? report_open(o) : NULL;

	if (out)
		r = interval_run(&x, o->whom.command != NULL, o->seconds);
	else if (r == EXIT_OK)
		r = EXIT_FAIL;
	if (r == EXIT_OK) {
		(print ? print : report_own)(out, &x.m, o);
		r = report_close(o, out);
	} else if (out && o->output) {
		fclose(out);
	}
	interval_close(&x);
	return r;
}

static error_t hand_down(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	if (key != ARGP_KEY_INIT)
		return ARGP_ERR_UNKNOWN;
	state->child_inputs[0] = state->input;
	return 0;
}

void report_parse(int argc, char **argv, struct report_options *o, const char *about)
{
	static const struct argp_child children[] = {{&report_argp, 0, NULL, 0}, {0}};
	const struct argp argp = {NULL, hand_down, NULL, about, children, NULL, NULL};

	argp_parse(&argp, argc, argv, 0, NULL, o);
}

int report_command(int argc, char **argv, const struct view *v, const char *about)
{
	struct report_options o = {.view = v, .pid_seconds = 1};

	report_parse(argc, argv, &o, about);
	return report_run(&o, NULL, NULL);
}
