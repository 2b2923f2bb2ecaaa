#include "heap_diff.h"
#include "calltree.h"
#include "flame.h"
#include "hakstat.h"
#include "report.h"
#include "views.h"

#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_DEFAULT 20
#define NAMED 60 /* characters of a name in the table */

enum { KEY_DIFF = 1024, KEY_ALLOC, KEY_LIVE, KEY_FOLDED, KEY_SVG };

struct options {
	const char *file[2];
	const char *svg;
	enum profile_value by;
	bool folded, live;
	enum report_format format;
	int limit;
};

/* One stack: what of a node is not of those it calls. */
struct row {
	const struct call_node *node;
	double before[PROFILE_VALUE_COUNT], after[PROFILE_VALUE_COUNT];
};

struct rows {
	struct row *row;
	size_t n, room;
	bool failed;
};

static const struct argp_option option_table[] = {
	{"diff", KEY_DIFF, NULL, 0, "compare the two profiles named", 0},
	{"live", KEY_LIVE, NULL, 0, "live bytes (default)", 0},
	{"alloc", KEY_ALLOC, NULL, 0,
	 "bytes allocated, a second where both tell how long they took", 0},
	{"folded", KEY_FOLDED, NULL, 0, "folded stacks with both values", 0},
	REPORT_FORMAT_OPTIONS("JSON", "CSV, a line for each stack"),
	{"svg", KEY_SVG, "FILE", 0, "write a flame graph: red what grew, blue what shrank", 0},
	{"rows", 'n', "ROWS", 0, "no more rows than that (default 20)", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	if (report_format_key(key, &o->format))
		return 0;
	switch (key) {
	case KEY_DIFF:
		return 0;
	case KEY_LIVE:
		o->by = PROFILE_INUSE_SPACE;
		return 0;
	case KEY_ALLOC:
		o->by = PROFILE_ALLOC_SPACE;
		return 0;
	case KEY_FOLDED:
		o->folded = true;
		return 0;
	case KEY_SVG:
		o->svg = arg;
		return 0;
	case 'n':
		o->limit = atoi(arg);
		if (o->limit < 1)
			argp_error(state, "not a number of rows: %s", arg);
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 1)
			argp_error(state, "--diff takes two profiles");
		o->file[state->arg_num] = arg;
		return 0;
	case ARGP_KEY_END:
		if (!o->file[1])
			argp_error(state,
				   "--diff takes two profiles, as -o FILE.pb.gz writes them");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --- rows --- */

static enum profile_value count_of(enum profile_value by)
{
	return by == PROFILE_ALLOC_SPACE ? PROFILE_ALLOC_OBJECTS : PROFILE_INUSE_OBJECTS;
}

static struct row *add_row(struct rows *rows)
{
	if (rows->n == rows->room) {
		size_t room = rows->room ? 2 * rows->room : 256;
		struct row *more = realloc(rows->row, room * sizeof(*more));

		if (!more) {
			rows->failed = true;
			return NULL;
		}
		rows->row = more;
		rows->room = room;
	}
	return &rows->row[rows->n++];
}

static void find_rows(struct rows *rows, const struct call_node *n, enum profile_value by)
{
	struct row own = {.node = n}, *row;

	memcpy(own.before, n->before, sizeof(own.before));
	memcpy(own.after, n->value, sizeof(own.after));
	for (const struct call_node *c = n->child; c; c = c->next) {
		for (int v = 0; v < PROFILE_VALUE_COUNT; v++) {
			own.before[v] -= c->before[v];
			own.after[v] -= c->value[v];
		}
		find_rows(rows, c, by);
	}
	/* sums of many numbers leave a rest */
	if (fmax(own.before[by], own.after[by]) <= 1e-6 * fmax(n->before[by], n->value[by]))
		return;
	row = add_row(rows);
	if (row)
		*row = own;
}

static enum profile_value sorted_by;

static int most_changed_first(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	double dx = fabs(x->after[sorted_by] - x->before[sorted_by]);
	double dy = fabs(y->after[sorted_by] - y->before[sorted_by]);

	return dx < dy ? 1 : dx > dy ? -1 : 0;
}

/* Per second, where both profiles tell how long they took; allocations only. */
static void by_second(struct profile *p, const struct options *o)
{
	if (o->by != PROFILE_ALLOC_SPACE || p->seconds <= 0)
		return;
	for (size_t i = 0; i < p->n; i++) {
		p->stack[i].value[PROFILE_ALLOC_SPACE] /= p->seconds;
		p->stack[i].value[PROFILE_ALLOC_OBJECTS] /= p->seconds;
	}
}

/* --- what is printed --- */

static void change_text(double v, char *out, size_t len)
{
	char text[32];

	bytes_text(fabs(v), text, sizeof(text));
	snprintf(out, len, "%s%s", v < -0.5 ? "-" : v > 0.5 ? "+" : "", text);
}

static void print_row(const struct row *r, const struct options *o)
{
	char before[32], after[32], change[40];
	double count = r->after[count_of(o->by)] - r->before[count_of(o->by)];

	bytes_text(r->before[o->by], before, sizeof(before));
	bytes_text(r->after[o->by], after, sizeof(after));
	change_text(r->after[o->by] - r->before[o->by], change, sizeof(change));
	printf(" %8s %8s %8s %+10.0f\n", before, after, change, count);
	for (const struct call_node *n = r->node; n->parent; n = n->parent)
		printf("      %.*s\n", NAMED, n->name);
	printf("\n");
}

static void print_table(const struct rows *rows, const struct call_node *root,
			const struct options *o)
{
	char before[32], after[32], change[40];
	size_t n = rows->n < (size_t)o->limit ? rows->n : (size_t)o->limit;
	const char *what = o->by == PROFILE_ALLOC_SPACE ? "allocated" : "live";

	bytes_text(root->before[o->by], before, sizeof(before));
	bytes_text(root->value[o->by], after, sizeof(after));
	change_text(root->value[o->by] - root->before[o->by], change, sizeof(change));
	printf("\n %s bytes: %s in %s, %s in %s, %s\n\n", what, before, o->file[0], after,
	       o->file[1], change);
	printf(" %8s %8s %8s %10s\n", "BEFORE", "AFTER", "CHANGE", "OBJECTS");
	for (size_t i = 0; i < n; i++)
		print_row(&rows->row[i], o);
	if (n < rows->n)
		printf(" ... %zu more rows (-n)\n", rows->n - n);
}

static void print_path(FILE *out, const struct call_node *n)
{
	if (n->parent && n->parent->parent) {
		print_path(out, n->parent);
		fputc(';', out);
	}
	for (const char *c = n->parent ? n->name : ""; *c; c++)
		fputc(*c == ';' ? ':' : *c, out);
}

static void print_folded(const struct rows *rows, const struct options *o)
{
	for (size_t i = 0; i < rows->n; i++) {
		print_path(stdout, rows->row[i].node);
		printf(" %.0f %.0f\n", rows->row[i].before[o->by], rows->row[i].after[o->by]);
	}
}

/* --- JSON and CSV --- */

struct told {
	const struct row *row;
	char *folded; /* NULL: no memory */
};
#define TOLD(m) ((const struct told *)(m)->own)

#define CELL_(when, what)                                                         \
	static struct value when##_##what(const struct model *m, int row)         \
	{                                                                         \
		(void)row;                                                        \
		return value_of(VALUE_COUNT, TOLD(m)->row->when[PROFILE_##what]); \
	}
CELL_(before, INUSE_SPACE)
CELL_(after, INUSE_SPACE)
CELL_(before, INUSE_OBJECTS)
CELL_(after, INUSE_OBJECTS)
CELL_(before, ALLOC_SPACE)
CELL_(after, ALLOC_SPACE)
CELL_(before, ALLOC_OBJECTS)
CELL_(after, ALLOC_OBJECTS)

static struct value folded(const struct model *m, int row)
{
	(void)row;
	return value_text_or_none(TOLD(m)->folded);
}

#define OF_ALLOC "; with --alloc a second, where both profiles tell how long they took"
static const struct column columns[] = {
	{"live_bytes_before", "BEFORE", UNIT_BYTES, "live bytes of the first profile", 8, 0,
	 before_INUSE_SPACE},
	{"live_bytes_after", "AFTER", UNIT_BYTES, "live bytes of the second profile", 8, 0,
	 after_INUSE_SPACE},
	{"live_objects_before", "OBJ BEFORE", UNIT_COUNT, "live blocks of the first profile", 0, 0,
	 before_INUSE_OBJECTS},
	{"live_objects_after", "OBJ AFTER", UNIT_COUNT, "live blocks of the second profile", 0, 0,
	 after_INUSE_OBJECTS},
	{"alloc_bytes_before", "ALLOC BEFORE", UNIT_BYTES,
	 "bytes allocated until the first profile" OF_ALLOC, 0, 0, before_ALLOC_SPACE},
	{"alloc_bytes_after", "ALLOC AFTER", UNIT_BYTES,
	 "bytes allocated until the second profile" OF_ALLOC, 0, 0, after_ALLOC_SPACE},
	{"alloc_objects_before", "ALLOC OBJ BEFORE", UNIT_COUNT,
	 "allocations until the first profile" OF_ALLOC, 0, 0, before_ALLOC_OBJECTS},
	{"alloc_objects_after", "ALLOC OBJ AFTER", UNIT_COUNT,
	 "allocations until the second profile" OF_ALLOC, 0, 0, after_ALLOC_OBJECTS},
	{"folded", "FOLDED", UNIT_TEXT, "the whole stack, as flame graphs are made from", 0, 0,
	 folded},
};

const struct view view_heap_diff = {
	.name = "heap_diff",
	.title = "what changed between two heap profiles",
	.columns = COLUMNS(columns),
	.rows = own_row,
	.shown = always_shown,
	.sort = VIEW_UNSORTED,
};

/* For a while: told.folded is to be freed. */
static struct told fold(const struct row *r)
{
	struct told t = {r, NULL};
	size_t len;
	FILE *out = open_memstream(&t.folded, &len);

	if (out) {
		print_path(out, r->node);
		fclose(out);
	}
	return t;
}

static void print_csv(const struct rows *rows)
{
	static struct model m;

	report_csv_head(stdout, &view_heap_diff);
	for (size_t i = 0; i < rows->n; i++) {
		struct told t = fold(&rows->row[i]);

		m.own = &t;
		report_csv_row(stdout, &view_heap_diff, &m, 0);
		m.own = NULL;
		free(t.folded);
	}
}

static void json_values(struct json *j, const char *key, const double *value)
{
	json_open(j, key, '{');
	for (int v = 0; v < PROFILE_VALUE_COUNT; v++)
		json_real(j, profile_types[v], value[v]);
	json_close(j, '}');
}

static void json_stack(struct json *j, const struct row *r)
{
	static struct model m;
	struct told t = fold(r);

	m.own = &t;
	json_open(j, NULL, '{');
	report_json_columns(j, &view_heap_diff, &m, 0);
	json_values(j, "before", r->before);
	json_values(j, "after", r->after);
	json_open(j, "frames", '[');
	for (const struct call_node *n = r->node; n->parent; n = n->parent)
		json_text(j, NULL, n->name);
	json_close(j, ']');
	json_close(j, '}');
	m.own = NULL;
	free(t.folded);
}

static void print_json(const struct rows *rows, const struct call_node *root)
{
	struct json j = {stdout, false};

	json_open(&j, NULL, '{');
	json_text(&j, "schema", "hakstat.heap_diff/1");
	json_values(&j, "before", root->before);
	json_values(&j, "after", root->value);
	json_open(&j, "rows", '[');
	for (size_t i = 0; i < rows->n; i++)
		json_stack(&j, &rows->row[i]);
	json_close(&j, ']');
	json_close(&j, '}');
	putchar('\n');
}

static int draw(const struct profile *p, const struct options *o)
{
	FILE *out = fopen(o->svg, "we");
	char title[256];
	bool ok;

	if (!out) {
		complain("cannot write %s: %s", o->svg, strerror(errno));
		return EXIT_FAIL;
	}
	snprintf(title, sizeof(title), "%.80s to %.80s: %s; red grew, blue shrank", o->file[0],
		 o->file[1], o->by == PROFILE_ALLOC_SPACE ? "bytes allocated" : "live bytes");
	ok = flame_write(out, &p[1], &p[0], o->by, title);
	if ((ferror(out) | fclose(out)) || !ok) {
		complain("cannot write %s", o->svg);
		return EXIT_FAIL;
	}
	return EXIT_OK;
}

static int compare(const struct profile *p, const struct options *o)
{
	struct call_node *root = calltree_make(&p[1], &p[0], o->by, false, "all");
	struct rows rows = {0};

	if (root)
		find_rows(&rows, root, o->by);
	if (!root || rows.failed) {
		complain("no memory");
	} else {
		sorted_by = o->by;
		if (rows.n)
			qsort(rows.row, rows.n, sizeof(*rows.row), most_changed_first);
		if (o->format == REPORT_JSON)
			print_json(&rows, root);
		else if (o->format == REPORT_CSV)
			print_csv(&rows);
		else if (o->folded)
			print_folded(&rows, o);
		else if (!o->svg)
			print_table(&rows, root, o);
	}
	calltree_free(root);
	free(rows.row);
	return root && !rows.failed ? EXIT_OK : EXIT_FAIL;
}

int heap_diff(int argc, char **argv)
{
	static const struct argp argp = {option_table,
					 parse,
					 "--diff A.pb.gz B.pb.gz",
					 "What changed from one heap profile to the next.",
					 NULL,
					 NULL,
					 NULL};
	struct options o = {.by = PROFILE_INUSE_SPACE, .limit = ROWS_DEFAULT};
	struct profile p[2] = {{0}, {0}};
	char err[PATH_MAX + 128];
	int r = EXIT_OK;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	for (int i = 0; i < 2 && r == EXIT_OK; i++) {
		if (profile_read(&p[i], o.file[i], err, sizeof(err))) {
			complain("%s", err);
			r = EXIT_FAIL;
		}
		by_second(&p[i], &o);
	}
	if (r == EXIT_OK && o.svg)
		r = draw(p, &o);
	if (r == EXIT_OK)
		r = compare(p, &o);
	profile_free(&p[0]);
	profile_free(&p[1]);
	return r;
}
