/* hakstat help: what a column is, or which columns a view has. */
#include "hakstat.h"
#include "views.h"

#include <argp.h>
#include <ctype.h>
#include <string.h>

#define NAME_MAX_ 40 /* names are compared up to that */
#define NEAR 3	     /* names told for one that is unknown */

static void one_column(const struct view *v, const struct column *c)
{
	printf("%-20s %-8s %s\n", c->id, c->width ? c->title : "-", c->help);
	printf("%-20s %-8s %s; in: %s\n", "", "", unit_names[c->unit], v->name);
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

/* Levenshtein distance, in any case. */
static int distance(const char *a, const char *b)
{
	int row[NAME_MAX_ + 1], n = (int)strnlen(b, NAME_MAX_);

	for (int k = 0; k <= n; k++)
		row[k] = k;
	for (int i = 0; a[i] && i < NAME_MAX_; i++) {
		int corner = row[0]++;

		for (int k = 1; k <= n; k++) {
			bool equal =
				tolower((unsigned char)a[i]) == tolower((unsigned char)b[k - 1]);
			int least = row[k] < row[k - 1] ? row[k] + 1 : row[k - 1] + 1;

			if (corner + !equal < least)
				least = corner + !equal;
			corner = row[k];
			row[k] = least;
		}
	}
	return row[n];
}

/* By the id or any part of it: "hits" is near to hit_rate. */
static int farness(const char *name, const char *id)
{
	int least = strstr(id, name) ? 0 : 1 + distance(name, id);
	char parts[NAME_MAX_ + 1], *save = NULL;

	snprintf(parts, sizeof(parts), "%s", id);
	for (char *p = strtok_r(parts, "_", &save); p; p = strtok_r(NULL, "_", &save)) {
		int far = 1 + distance(name, p);

		least = far < least ? far : least;
	}
	return least;
}

struct near {
	const char *id[NEAR];
	int far[NEAR];
};

static void keep_near(struct near *n, const char *name, const char *id)
{
	int far = farness(name, id), at = NEAR;

	for (int i = 0; i < NEAR; i++)
		if (n->id[i] && !strcmp(n->id[i], id))
			return;
	while (at > 0 && (!n->id[at - 1] || far < n->far[at - 1]))
		at--;
	for (int i = NEAR - 1; i > at; i--) {
		n->id[i] = n->id[i - 1];
		n->far[i] = n->far[i - 1];
	}
	if (at < NEAR) {
		n->id[at] = id;
		n->far[at] = far;
	}
}

static int unknown(const char *name)
{
	struct near n = {0};

	for (int k = 0; k < VIEWS; k++) {
		keep_near(&n, name, views[k]->name);
		for (int i = 0; i < views[k]->ncolumns; i++)
			keep_near(&n, name, views[k]->columns[i].id);
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
