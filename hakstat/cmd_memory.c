/* hakstat memory: RSS by what it is for. */
#include "hakstat.h"
#include "report.h"
#include "views.h"

#include <string.h>

struct options {
	struct report_options report;
	const struct view *by;
};

enum { KEY_BY = 256 };

static const struct argp_option option_table[] = {
	{"by", KEY_BY, "line|class|page", 0,
	 "one of the three tables alone, also for --csv and --json", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	if (key == ARGP_KEY_INIT) {
		state->child_inputs[0] = &o->report;
		return 0;
	}
	if (key != KEY_BY)
		return ARGP_ERR_UNKNOWN;
	if (!strcmp(arg, "line"))
		o->by = &view_memory;
	else if (!strcmp(arg, "class"))
		o->by = &view_fragments;
	else if (!strcmp(arg, "page"))
		o->by = &view_pages;
	else
		argp_error(state, "--by: line, class or page, not %s", arg);
	o->report.view = o->by;
	return 0;
}

void report_memory(FILE *out, const struct model *m, const struct report_options *o)
{
	report_view(out, &view_memory, m, o);
	if (o->format != REPORT_TABLE)
		return;
	report_table(out, &view_fragments, m, o);
	report_table(out, &view_pages, m, o);
}

int cmd_memory(int argc, char **argv)
{
	static const struct argp_child children[] = {{&report_argp, 0, NULL, 0}, {0}};
	static const struct argp argp = {
		option_table,
		parse,
		NULL,
		"Where the memory of a process is: its RSS line by line, by size class, and the "
		"pages that are used least. The process goes on meanwhile.",
		children,
		NULL,
		NULL};
	struct options o = {.report = {.view = &view_memory, .pid_seconds = 0.2}};

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	return report_run(&o.report, &o, o.by ? NULL : report_memory);
}
