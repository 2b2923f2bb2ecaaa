/* hakstat stacks: which code makes a probe fire. */
#include "hakstat.h"
#include "quantity.h"
#include "report.h"
#include "stack_print.h"
#include "views.h"

#include "../lib/class.h" /* the sizes of classes, before there is a process to ask */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_DEFAULT 20 /* of a table */

enum { KEY_ON = 1024, KEY_CLASS, KEY_LOCK, KEY_BY, KEY_FOLDED, KEY_RATE };

struct options {
	struct report_options report;
	struct stacks_options stacks;
	const char *class, *lock;
	bool folded;
};

static const struct argp_option option_table[] = {
	{"on", KEY_ON, "PROBE[,PROBE...]", 0,
	 "any probe of `hakstat probes' (lock_wait: lock_wait_done)", 0},
	{"class", KEY_CLASS, "BYTES|#N", 0,
	 "only the class for blocks of that size, as 100, 33K; or class number N", 0},
	{"lock", KEY_LOCK, "NAME", 0, "only this lock, as `hakstat top' names it", 0},
	{"by", KEY_BY, "stack|function", 0,
	 "a row for each stack (default), or for each function that called the allocator", 0},
	{"folded", KEY_FOLDED, NULL, 0,
	 "folded stacks, for flame graphs; of events, or of what --sort says", 0},
	{"rate", KEY_RATE, "STACKS", 0,
	 "stacks of a probe taken a second at most, chosen at random; 0: all (default 1000)", 0},
	{0},
};

static void parse_probes(struct options *o, struct argp_state *state, const char *list)
{
	char *copy = strdup(list), *at = copy, *name;
	char names[512];
	int i;

	while ((name = strsep(&at, ","))) {
		i = contract_probe(name);
		if (i >= 0) {
			o->stacks.sampler.which |= PROBE_BIT(i);
			continue;
		}
		contract_probe_names(names, sizeof(names));
		argp_error(state, "no probe '%s'; there are%s", name, names);
	}
	free(copy);
}

/* --- what to look at --- */

static void filter_by(struct options *o, struct argp_state *state, const char *unit, uint32_t value,
		      const char *option)
{
	int without = stacks_filter(&o->stacks, unit, value);

	if (without >= 0)
		argp_error(state, "%s: the probe %s does not tell", option,
			   hak_probes[without].name);
}

static void filter_class(struct options *o, struct argp_state *state)
{
	const char *text = o->class;
	double n;
	unsigned class;

	if (!size_parse(*text == '#' ? text + 1 : text, &n) || n > UINT32_MAX)
		argp_error(state, "--class: neither a size nor #N: %s", text);
	class = *text == '#' ? (unsigned)n : (unsigned)HAK_CLASS_OF((uint64_t)n);
	if (class >= HAK_CLASSES)
		argp_error(state, "--class: the largest class is %d, of 512K", HAK_CLASSES - 1);
	else
		filter_by(o, state, "class", class, "--class");
}

static void filter_lock(struct options *o, struct argp_state *state)
{
	char names[256] = "";

	for (int i = 0; i < HAK_LOCK_COUNT; i++) {
		if (!strcmp(hak_lock_names[i], o->lock)) {
			filter_by(o, state, "enum:HAK_LOCKS", (uint32_t)i, "--lock");
			return;
		}
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s %s",
			 i ? "," : "", hak_lock_names[i]);
	}
	argp_error(state, "no lock '%s'; there are%s", o->lock, names);
}

static void end(struct options *o, struct argp_state *state)
{
	if (!o->stacks.sampler.which)
		argp_error(state, "say which probes: --on refill, for example");
	if (o->class && o->lock)
		argp_error(state, "--class and --lock: no probe tells both");
	if (o->class)
		filter_class(o, state);
	if (o->lock)
		filter_lock(o, state);
	if (o->folded && o->stacks.by == STACKS_BY_STACK)
		o->stacks.by = STACKS_BY_FOLDED;
	if (o->report.format == REPORT_TABLE && !o->folded && !o->report.limit)
		o->report.limit = ROWS_DEFAULT;
}

static void parse_by(struct options *o, struct argp_state *state, const char *arg)
{
	if (!strcmp(arg, "function"))
		o->stacks.by = STACKS_BY_FUNCTION;
	else if (!strcmp(arg, "stack"))
		o->stacks.by = STACKS_BY_STACK;
	else
		argp_error(state, "--by stack or --by function, not '%s'", arg);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->report;
		state->child_inputs[1] = &o->stacks;
		return 0;
	case KEY_ON:
		parse_probes(o, state, arg);
		return 0;
	case KEY_CLASS:
		o->class = arg;
		return 0;
	case KEY_LOCK:
		o->lock = arg;
		return 0;
	case KEY_BY:
		parse_by(o, state, arg);
		return 0;
	case KEY_FOLDED:
		o->folded = true;
		return 0;
	case KEY_RATE:
		o->stacks.sampler.per_second = stack_number(state, arg, 0, 1000000, "--rate");
		return 0;
	case ARGP_KEY_END:
		end(o, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --- what is printed --- */

/* The columns that say something about these probes, and how much there is of each. */
static void fit_columns(const struct stacks *s, const struct report_options *o,
			const struct stack_printer *p, int *fit)
{
	const struct view *v = o->view;
	bool bytes = false, ns = false;

	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		if (s->which & PROBE_BIT(i)) {
			bytes |= probe_has_bytes(i);
			ns |= probe_has_ns(i);
		}
	for (int i = 0; i < v->ncolumns; i++) {
		const char *id = v->columns[i].id;

		fit[i] = v->columns[i].width;
		if (!strcmp(id, "callers") || (!bytes && !strcmp(id, "bytes")) ||
		    (!ns && (!strcmp(id, "time_ns") || !strcmp(id, "mean_ns"))))
			fit[i] = 0;
	}
	view_narrow(v, stack_print_room(p, o), fit);
}

static const struct stack_row *stack_of(const struct model *m, int row)
{
	return &m->stacks->row[row];
}

static void print_table(FILE *out, const struct model *m, const struct report_options *o, bool flat)
{
	const struct stack_printer printer = {flat, stack_of, NULL};
	int fit[COLUMNS_MAX];

	report_header(out, m, o);
	fit_columns(m->stacks, o, &printer, fit);
	if (!stack_print(out, m, o, fit, &printer))
		fprintf(out, " no event in this interval\n");
	report_notes(out, o->view, m, o);
}

/* Of the column sorted by, if it can be added up. */
static void print_folded(FILE *out, const struct model *m, const struct report_options *o)
{
	const char *id = o->view->columns[o->sort].id;
	struct row_list rows = {0};
	int n = view_rows(o->view, m, o->sort, o->reverse, NULL, &rows);

	if (o->limit && o->limit < n)
		n = o->limit;
	for (int i = 0; i < n; i++) {
		const struct stack_row *r = &m->stacks->row[rows.row[i]];
		double v = !strcmp(id, "bytes")	    ? r->sum.bytes
			   : !strcmp(id, "time_ns") ? r->sum.ns
						    : r->sum.events;

		if (v >= 0.5)
			fprintf(out, "%s %.0f\n", r->folded, v);
	}
	row_list_free(&rows);
}

static void print(FILE *out, const struct model *m, const struct report_options *report)
{
	const struct options *o = (const struct options *)report; /* its first member */

	if (!m->stacks)
		return;
	if (o->folded)
		print_folded(out, m, report);
	else if (report->format == REPORT_TABLE)
		print_table(out, m, report, o->stacks.by == STACKS_BY_FUNCTION);
	else
		report_view(out, report->view, m, report);
	if (o->folded || report->format != REPORT_TABLE) { /* a table has them below it */
		char line[256];

		if (m->stacks->counts.skipped + m->stacks->counts.lost + m->stacks->unkept &&
		    report->view->note(m, 0, line, sizeof(line)))
			complain("%s", line);
	}
	stack_tell_denied(m->stacks, m->target->pid, o->stacks.refused);
}

int cmd_stacks(int argc, char **argv)
{
	static const struct argp_child children[] = {
		{&report_argp, 0, NULL, 0}, {&stack_argp, 0, NULL, 0}, {0}};
	static const struct argp argp = {
		option_table,
		parse,
		NULL,
		"Which code makes a probe fire: events, bytes and time by user stack.",
		children,
		NULL,
		NULL};
	static struct options o;
	int refused = 0, r;

	o.report.view = &view_stacks;
	o.report.pid_seconds = 5;
	stacks_options_init(&o.stacks);
	o.stacks.refused = &refused;
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	r = report_run(&o.report, &o.stacks, print);
	return refused ? exit_code_of(refused) : r;
}
