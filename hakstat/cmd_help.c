/* hakstat help: what a column is, or which columns a view has. */
#include "alert.h"
#include "hakstat.h"
#include "near.h"
#include "text.h"
#include "views.h"

#include <argp.h>
#include <string.h>

static void one_column(const struct view *v, const struct column *c)
{
	const char *alerts = c->unit != UNIT_TEXT ? alert_selector(v) : NULL;
	char prefix[64], text[256];

	snprintf(prefix, sizeof(prefix), "%-20s %-8s ", c->id, c->width ? c->title : "-");
	text_print_after(stdout, prefix, c->help, text_fold_width());
	snprintf(prefix, sizeof(prefix), "%-20s %-8s ", "", "");
	snprintf(text, sizeof(text), "%s; in: %s%s%s%s", unit_names[c->unit], v->name,
		 alerts ? "; in alerts: " : "", alerts ? alerts : "", alerts ? c->id : "");
	text_print_after(stdout, prefix, text, text_fold_width());
}

static int named_columns(const char *name)
{
	int found = 0;

	for (int k = 0; k < VIEWS; k++) {
		int i = view_column(views[k], name);

		if (i < 0)
			continue;
		one_column(views[k], &views[k]->columns[i]);
		found++;
	}
	return found;
}

static bool named_view(const char *name)
{
	for (int k = 0; k < VIEWS; k++) {
		const struct view *v = views[k];

		if (strcmp(v->name, name) != 0)
			continue;
		printf("%s: %s\n\n", v->name, v->title);
		for (int i = 0; i < v->ncolumns; i++)
			one_column(v, &v->columns[i]);
		return true;
	}
	return false;
}

static int unknown(const char *name)
{
	struct near n = {0};

	for (int k = 0; k < VIEWS; k++) {
		near_add(&n, name, views[k]->name);
		for (int i = 0; i < views[k]->ncolumns; i++)
			near_add(&n, name, views[k]->columns[i].id);
	}
	complain("no column or view '%s'; near: %s, %s, %s", name, n.id[0], n.id[1], n.id[2]);
	return EXIT_USAGE;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	const char **name = state->input;

	if (key == ARGP_KEY_ARG && !*name)
		*name = arg;
	else if (key == ARGP_KEY_ARG || key == ARGP_KEY_NO_ARGS)
		argp_usage(state);
	else
		return ARGP_ERR_UNKNOWN;
	return 0;
}

int cmd_help(int argc, char **argv)
{
	static const struct argp argp = {
		NULL, parse, "COLUMN|VIEW", "What a column means, by its id or its title.",
		NULL, NULL,  NULL};
	const char *name = NULL;

	argp_parse(&argp, argc, argv, 0, NULL, &name);
	if (named_columns(name) | named_view(name))
		return EXIT_OK;
	return unknown(name);
}
