/* hakstat report: the tables of a recording. */
#include "hakstat.h"
#include "report.h"
#include "views.h"

#include <string.h>

enum { KEY_VIEW = 600 };

struct options {
	struct report_options report;
	bool one; /* view, not what `stat' prints */
};

static const struct argp_option option_table[] = {
	{"view", KEY_VIEW, "NAME", 0,
	 "classes, locks, os, threads, route, remote, memory, fragments or pages (default: what "
	 "`hakstat stat' prints)",
	 0},
	{0},
};

static void find_view(struct options *o, struct argp_state *state, const char *name)
{
	char names[256] = "";

	o->one = true;
	for (int i = 0; i < VIEWS; i++) {
		if (!strcmp(views[i]->name, name)) {
			o->report.view = views[i];
			return;
		}
		snprintf(names + strlen(names), sizeof(names) - strlen(names), " %s",
			 views[i]->name);
	}
	argp_error(state, "no view '%s'; there are%s", name, names);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->report;
		return 0;
	case KEY_VIEW:
		find_view(o, state, arg);
		return 0;
	case ARGP_KEY_END:
		if (!o->report.replay)
			argp_error(state, "give a recording with --replay");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cmd_report(int argc, char **argv)
{
	static const struct argp_child children[] = {{&report_argp, 0, NULL, 0}, {0}};
	static const struct argp argp = {
		option_table,
		parse,
		NULL,
		"The tables of a recording (hakstat record): of all of it, of a time, of one "
		"interval. It needs neither the process nor any privilege.",
		children,
		NULL,
		NULL};
	struct options o = {.report = {.view = &view_classes}};

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (!o.one)
		return report_run(&o.report, NULL, report_stat);
	return report_run(&o.report, NULL, o.report.view == &view_memory ? report_memory : NULL);
}
