/* hakstat help: what a column is, or which columns a view has; or all of them. */
#include "alert.h"
#include "contract.h"
#include "hakstat.h"
#include "near.h"
#include "report.h"
#include "text.h"
#include "views.h"

#include <argp.h>
#include <string.h>

struct options {
	const char *name; /* NULL: all of them */
	enum report_format format;
};

/* A column of a view, or an argument of a probe, which are columns of `hakstat trace'. */
struct entry {
	const struct view *view;
	const struct column *column;
	const struct probe_desc *probe;
	const struct probe_arg *arg; /* NULL: a column */
};
#define ENTRY(m) ((const struct entry *)(m)->own)

static const char *alerts_of(const struct entry *e)
{
	return !e->arg && e->column->unit != UNIT_TEXT ? alert_selector(e->view) : NULL;
}

/* What `hakstat trace' makes of an argument, in the words for columns where they have one. */
static const char *argument_unit(const struct probe_arg *a)
{
	static const struct {
		const char *unit;
		enum unit as;
	} same[] = {{"bytes", UNIT_BYTES},
		    {"ns", UNIT_NS},
		    {"blocks", UNIT_COUNT},
		    {"id", UNIT_COUNT},
		    {"tid", UNIT_COUNT}};

	if (!strncmp(a->unit, "enum:", 5))
		return unit_names[UNIT_TEXT];
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		if (!strcmp(a->unit, same[i].unit))
			return unit_names[same[i].as];
	return a->unit;
}

#define TEXT_(name, of_column, of_argument)                                      \
	static struct value name(const struct model *m, int row)                 \
	{                                                                        \
		const struct entry *e = ENTRY(m);                                \
                                                                                 \
		(void)row;                                                       \
		return value_text_or_none(e->arg ? (of_argument) : (of_column)); \
	}
TEXT_(column, e->column->id, e->arg->name)
TEXT_(heading, e->column->width ? e->column->title : NULL, NULL)
TEXT_(unit, unit_names[e->column->unit], argument_unit(e->arg))
TEXT_(view, e->view->name, e->view->name)
TEXT_(probe, NULL, e->probe->name)
TEXT_(help, e->column->help, e->arg->meaning)

static struct value alert(const struct model *m, int row)
{
	static char text[128];
	const struct entry *e = ENTRY(m);
	const char *selector = alerts_of(e);

	(void)row;
	if (!selector)
		return value_none();
	snprintf(text, sizeof(text), "%s%s", selector, e->column->id);
	return value_text_of(text, 0);
}

static const struct column columns[] = {
	{"column", "COLUMN", UNIT_TEXT, "id of a column", 20, 99, column},
	{"heading", "HEADING", UNIT_TEXT, "what tables have above it, if they show it", 8, 98,
	 heading},
	{"unit", "UNIT", UNIT_TEXT, "what its numbers are", 16, 97, unit},
	{"view", "VIEW", UNIT_TEXT, "table the column is of", 12, 96, view},
	{"probe", "PROBE", UNIT_TEXT, "probe whose argument it is", 12, 80, probe},
	{"alert", "ALERT", UNIT_TEXT, "how it is named in alerts (hakstat watch)", 24, 70, alert},
	{"help", "HELP", UNIT_TEXT, "what it means", 40, 95, help},
};

const struct view view_help = {
	.name = "help",
	.title = "columns of all tables",
	.columns = COLUMNS(columns),
	.rows = own_row,
	.shown = always_shown,
	.sort = VIEW_UNSORTED,
};

/* --- a column in words --- */

static void print_entry(const struct entry *e)
{
	const struct column *c = e->column;
	const char *alerts = alerts_of(e);
	char prefix[64], text[256];

	if (e->arg) {
		snprintf(prefix, sizeof(prefix), "%-20s %-8s ", e->arg->name, "-");
		snprintf(text, sizeof(text), "%s; in: %s, of %s", argument_unit(e->arg),
			 e->view->name, e->probe->name);
	} else {
		snprintf(prefix, sizeof(prefix), "%-20s %-8s ", c->id, c->width ? c->title : "-");
		snprintf(text, sizeof(text), "%s; in: %s%s%s%s", unit_names[c->unit], e->view->name,
			 alerts ? "; in alerts: " : "", alerts ? alerts : "", alerts ? c->id : "");
	}
	text_print_after(stdout, prefix, e->arg ? e->arg->meaning : c->help, text_fold_width());
	snprintf(prefix, sizeof(prefix), "%-20s %-8s ", "", "");
	text_print_after(stdout, prefix, text, text_fold_width());
}

struct printer {
	const struct options *o;
	struct json j;
	int found;
};

static void tell(struct printer *p, const struct entry *e)
{
	static struct model m;

	p->found++;
	m.own = e;
	switch (p->o->format) {
	case REPORT_JSON:
		json_open(&p->j, NULL, '{');
		report_json_columns(&p->j, &view_help, &m, 0);
		json_close(&p->j, '}');
		break;
	case REPORT_CSV:
		report_csv_row(stdout, &view_help, &m, 0);
		break;
	case REPORT_TABLE:
		print_entry(e);
		break;
	}
	m.own = NULL;
}

/* --- which ones --- */

/* Those of the name, or all. */
static void tell_columns(struct printer *p)
{
	for (int k = 0; k < VIEWS_AND_TABLES; k++)
		for (int i = 0; i < views[k]->ncolumns; i++) {
			const struct entry e = {views[k], &views[k]->columns[i], NULL, NULL};

			if (!p->o->name || view_column(views[k], p->o->name) == i)
				tell(p, &e);
		}
}

static void tell_arguments(struct printer *p)
{
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		for (int k = 0; k < hak_probes[i].nargs; k++) {
			const struct entry e = {&view_trace, NULL, &hak_probes[i],
						&hak_probes[i].arg[k]};

			if (!p->o->name || !strcmp(e.arg->name, p->o->name))
				tell(p, &e);
		}
}

static void tell_view(struct printer *p)
{
	for (int k = 0; p->o->name && k < VIEWS_AND_TABLES; k++) {
		const struct view *v = views[k];

		if (strcmp(v->name, p->o->name) != 0)
			continue;
		if (p->o->format == REPORT_TABLE)
			printf("%s: %s\n\n", v->name, v->title);
		for (int i = 0; i < v->ncolumns; i++) {
			const struct entry e = {v, &v->columns[i], NULL, NULL};

			tell(p, &e);
		}
	}
}

static int unknown(const char *name)
{
	struct near n = {0};

	for (int k = 0; k < VIEWS_AND_TABLES; k++) {
		near_add(&n, name, views[k]->name);
		for (int i = 0; i < views[k]->ncolumns; i++)
			near_add(&n, name, views[k]->columns[i].id);
	}
	complain("no column or view '%s'; near: %s, %s, %s", name, n.id[0], n.id[1], n.id[2]);
	return EXIT_USAGE;
}

static const struct argp_option option_table[] = {
	REPORT_FORMAT_OPTIONS("JSON; without a name of all columns", "CSV; likewise"),
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	if (report_format_key(key, &o->format))
		return 0;
	switch (key) {
	case ARGP_KEY_ARG:
		if (o->name)
			argp_usage(state);
		o->name = arg;
		return 0;
	case ARGP_KEY_END:
		if (!o->name && o->format == REPORT_TABLE)
			argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_help(int argc, char **argv)
{
	static const struct argp argp = {option_table,
					 parse,
					 "[COLUMN|VIEW]",
					 "What a column means, by its id or its title; the columns "
					 "of a view; of all of them.",
					 NULL,
					 NULL,
					 NULL};
	struct options o = {0};
	struct printer p = {&o, {stdout, false}, 0};

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (o.format == REPORT_CSV)
		report_csv_head(stdout, &view_help);
	if (o.format == REPORT_JSON) {
		json_open(&p.j, NULL, '{');
		json_text(&p.j, "schema", "hakstat.help/2");
		json_open(&p.j, "columns", '[');
	}
	tell_columns(&p);
	tell_arguments(&p);
	tell_view(&p);
	if (o.format == REPORT_JSON) {
		json_close(&p.j, ']');
		json_close(&p.j, '}');
		printf("\n");
	}
	return p.found ? EXIT_OK : unknown(o.name);
}
