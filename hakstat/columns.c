#include "columns.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TEXT_(id, text) text,
const char *const unit_names[] = {UNITS(TEXT_)};

struct value value_none(void)
{
	return (struct value){VALUE_NONE, -1, NULL};
}

struct value value_of(enum value_kind kind, double number)
{
	return (struct value){kind, number, NULL};
}

struct value value_text_of(const char *text, double order)
{
	return (struct value){VALUE_TEXT, order, text};
}

struct value value_text_or_none(const char *text)
{
	return text && *text ? value_text_of(text, 0) : value_none();
}

struct value value_per_second(const struct model *m, double n)
{
	return m->seconds > 0 ? value_of(VALUE_RATE, n / m->seconds) : value_none();
}

struct value value_ratio(enum value_kind kind, double part, double whole)
{
	return whole > 0 ? value_of(kind, part / whole) : value_none();
}

bool view_by_bpf(const struct view *v, const struct column *c)
{
	size_t n = strlen(c->id);

	for (const char *at = v->by_bpf; at && *at; at += strcspn(at, " "), at += *at == ' ')
		if (*at == '*' || (!strncmp(at, c->id, n) && (!at[n] || at[n] == ' ')))
			return true;
	return false;
}

int own_row(const struct model *m)
{
	return m->own != NULL;
}

bool always_shown(const struct model *m, int row)
{
	(void)m;
	(void)row;
	return true;
}

static void scaled(double v, double step, const char *const *units, char *out, size_t len)
{
	const char *sign = v <= -0.5 ? "-" : "";
	int u = 0;

	v = v < 0 ? -v : v;
	while (v >= 999.5 && units[u + 1]) {
		v /= step;
		u++;
	}
	snprintf(out, len, u == 0 || v >= 99.95 ? "%s%.0f%s" : "%s%.1f%s", sign, v, units[u]);
}

void bytes_text(double bytes, char *out, size_t len)
{
	static const char *const units[] = {"B", "K", "M", "G", "T", "P", NULL};

	scaled(bytes, 1024, units, out, len);
}

void rate_text(double per_second, char *out, size_t len)
{
	static const char *const units[] = {"", "k", "M", "G", "T", NULL};

	if (per_second > 0 && per_second < 9.95)
		snprintf(out, len, "%.1f", per_second);
	else
		scaled(per_second, 1000, units, out, len);
}

static void ns_text(double ns, char *out, size_t len)
{
	static const char *const units[] = {"ns", "us", "ms", NULL};

	if (ns >= 99.995e9)
		snprintf(out, len, "%.0fs", ns / 1e9);
	else if (ns >= 999.5e6)
		snprintf(out, len, "%.2fs", ns / 1e9);
	else
		scaled(ns, 1000, units, out, len);
}

void value_text(const struct value *v, char *out, size_t len)
{
	switch (v->kind) {
	case VALUE_NONE:
		snprintf(out, len, "-");
		break;
	case VALUE_COUNT:
		if (v->number < 1e6)
			snprintf(out, len, "%.0f", v->number);
		else
			rate_text(v->number, out, len);
		break;
	case VALUE_ID:
		snprintf(out, len, "%.0f", v->number);
		break;
	case VALUE_ADDRESS:
		snprintf(out, len, "%#llx", (unsigned long long)v->number);
		break;
	case VALUE_RATE:
		rate_text(v->number, out, len);
		break;
	case VALUE_BYTES:
		bytes_text(v->number, out, len);
		break;
	case VALUE_PERCENT:
		/* 100 means all of them: no rounding up to it */
		snprintf(out, len, "%.2f",
			 v->number >= 99.995 && v->number < 100 ? 99.99 : v->number);
		break;
	case VALUE_NS:
		ns_text(v->number, out, len);
		break;
	case VALUE_FACTOR:
		snprintf(out, len, "%.1f", v->number);
		break;
	case VALUE_BOOL:
		snprintf(out, len, "%s", v->number != 0 ? "yes" : "no");
		break;
	case VALUE_DIGITS:
	case VALUE_TEXT:
		snprintf(out, len, "%s", v->text);
		break;
	}
}

static bool matches(const struct view *v, const struct model *m, int row, const char *filter)
{
	char text[64];

	if (!filter || !*filter)
		return true;
	for (int i = 0; i < v->ncolumns; i++) {
		struct value x = v->columns[i].get(m, row);

		if (i > 0 && x.kind != VALUE_TEXT && x.kind != VALUE_ID)
			continue; /* names and sizes are what one looks for */
		value_text(&x, text, sizeof(text));
		if (strstr(text, filter))
			return true;
	}
	return false;
}

/* A row with what it is sorted by. */
struct sorted {
	struct value by;
	bool alert;
	int row;
};

static int order(const struct value *x, const struct value *y)
{
	if (x->number != y->number)
		return x->number < y->number ? 1 : -1;
	return x->kind == VALUE_TEXT && y->kind == VALUE_TEXT ? strcmp(x->text, y->text) : 0;
}

/* What is wrong comes first, equal rows keep their order, whichever way the others go. */
static int compare(const struct sorted *x, const struct sorted *y, int by)
{
	if (x->alert != y->alert)
		return x->alert ? -1 : 1;
	return by ? by : x->row - y->row;
}

static int highest_first(const void *a, const void *b)
{
	const struct sorted *x = a, *y = b;

	return compare(x, y, order(&x->by, &y->by));
}

static int lowest_first(const void *a, const void *b)
{
	const struct sorted *x = a, *y = b;

	return compare(x, y, order(&y->by, &x->by));
}

static bool make_room(struct row_list *rows, int n)
{
	int *more;

	if (n <= 0 || n <= rows->room)
		return true;
	more = realloc(rows->row, (size_t)n * sizeof(*more));
	if (!more)
		return false;
	rows->row = more;
	rows->room = n;
	return true;
}

static int view_flat(const struct view *v, const struct model *m, int sort, bool reverse,
		     const char *filter, struct row_list *rows)
{
	int total = v->rows(m), n = 0;
	struct sorted *all = calloc((size_t)total + 1, sizeof(*all));

	rows->n = 0;
	for (int row = 0; all && row < total; row++)
		if (v->shown(m, row) && matches(v, m, row, filter))
			all[n++] = (struct sorted){
				sort == VIEW_UNSORTED ? value_none() : v->columns[sort].get(m, row),
				v->alert && v->alert(m, row), row};
	if (all && make_room(rows, n)) {
		qsort(all, (size_t)n, sizeof(*all), reverse ? lowest_first : highest_first);
		for (int i = 0; i < n; i++)
			rows->row[i] = all[i].row;
		rows->n = n;
	}
	free(all);
	return rows->n;
}

/* --- trees --- */

/* Rows count from 1, and 0 is none: the one above the first ones. */
struct tree_sort {
	const int *first, *next; /* of a row's children in order; of siblings */
	struct row_list *rows;
};

static void add_tree(const struct tree_sort *t, int row)
{
	for (int i = t->first[row]; i; i = t->next[i]) {
		t->rows->row[t->rows->n++] = i - 1;
		add_tree(t, i);
	}
}

/* Rows that match, and what is above them. */
static void match_tree(const struct view *v, const struct model *m, int total, const char *filter,
		       bool *in)
{
	for (int row = 0; row < total; row++) {
		in[row] = !filter || !*filter ? v->shown(m, row) : matches(v, m, row, filter);
		for (int up = v->parent(m, row); in[row] && up >= 0 && !in[up];
		     up = v->parent(m, up))
			in[up] = true;
	}
}

/* Links siblings in the order of `all`, whose n entries are sorted. */
static void tree_rows(const struct view *v, const struct model *m, const struct sorted *all, int n,
		      int total, struct row_list *rows)
{
	int *first = calloc(2 * ((size_t)total + 1), sizeof(*first));
	int *next = first ? first + total + 1 : NULL;
	struct tree_sort t = {first, next, rows};

	rows->n = 0;
	if (!first)
		return;
	for (int i = n; i--;) {
		int up = v->parent(m, all[i].row) + 1, row = all[i].row + 1;

		next[row] = first[up];
		first[up] = row;
	}
	add_tree(&t, 0);
	free(first);
}

static int view_tree(const struct view *v, const struct model *m, int sort, bool reverse,
		     const char *filter, struct row_list *rows)
{
	int total = v->rows(m), n = 0;
	struct sorted *all = calloc((size_t)total + 1, sizeof(*all));
	bool *in = calloc((size_t)total + 1, sizeof(*in));

	rows->n = 0;
	if (all && in && make_room(rows, total)) {
		match_tree(v, m, total, filter, in);
		for (int row = 0; row < total; row++)
			if (in[row])
				all[n++] =
					(struct sorted){v->columns[sort].get(m, row), false, row};
		qsort(all, (size_t)n, sizeof(*all), reverse ? lowest_first : highest_first);
		tree_rows(v, m, all, n, total, rows);
	}
	free(all);
	free(in);
	return rows->n;
}

int view_rows(const struct view *v, const struct model *m, int sort, bool reverse,
	      const char *filter, struct row_list *rows)
{
	if (v->parent)
		return view_tree(v, m, sort, reverse, filter, rows);
	return view_flat(v, m, sort, reverse, filter, rows);
}

void row_list_free(struct row_list *rows)
{
	free(rows->row);
	*rows = (struct row_list){0};
}

int view_column(const struct view *v, const char *name)
{
	for (int i = 0; i < v->ncolumns; i++)
		if (!strcmp(v->columns[i].id, name) || !strcasecmp(v->columns[i].title, name))
			return i;
	return -1;
}

void view_fit(const struct view *v, int width, int fit[COLUMNS_MAX])
{
	for (int i = 0; i < v->ncolumns; i++)
		fit[i] = v->columns[i].width;
	view_narrow(v, width, fit);
}

/* Of a column that names its row: rather than leave it out it is cut, to no less. */
#define NAME_KEEP 98
#define NAME_LEAST 16

static int widest_name(const struct view *v, const int *fit)
{
	int widest = -1;

	for (int i = 0; i < v->ncolumns; i++)
		if (fit[i] > NAME_LEAST && v->columns[i].unit == UNIT_TEXT &&
		    v->columns[i].keep >= NAME_KEEP && (widest < 0 || fit[i] > fit[widest]))
			widest = i;
	return widest;
}

static int least_kept(const struct view *v, const int *fit)
{
	int least = -1;

	for (int i = 0; i < v->ncolumns; i++)
		if (fit[i] && (least < 0 || v->columns[i].keep < v->columns[least].keep))
			least = i;
	return least;
}

void view_narrow(const struct view *v, int width, int fit[COLUMNS_MAX])
{
	int used = -1;

	for (int i = 0; i < v->ncolumns; i++)
		used += fit[i] ? fit[i] + 1 : 0;
	while (used > width) {
		int least = least_kept(v, fit), name = widest_name(v, fit), cut;

		if (least < 0)
			return;
		if (name >= 0 && v->columns[least].keep >= NAME_KEEP) {
			cut = used - width < fit[name] - NAME_LEAST ? used - width
								    : fit[name] - NAME_LEAST;
			fit[name] -= cut;
			used -= cut;
		} else {
			used -= fit[least] + 1;
			fit[least] = 0;
		}
	}
}

/*
 * "~" stands for the part of a name that is left out, which is not what comes after a symbol; half
 * a number would be another one.
 */
static void cut(char *text, const struct column *c, size_t width)
{
	size_t n = strlen(text), tail;
	const char *offset = strstr(text, "+0x");

	if (n <= width)
		return;
	if (c->unit != UNIT_TEXT) {
		memset(text, '#', width);
	} else {
		tail = offset ? strlen(offset) : 0;
		if (tail + 2 > width)
			tail = 0;
		text[width - tail - 1] = '~';
		memmove(text + width - tail, text + n - tail, tail);
	}
	text[width] = '\0';
}

void view_line(const struct view *v, const struct model *m, int row, const int *fit, char *out,
	       size_t len)
{
	size_t at = 0;

	out[0] = 0;
	for (int i = 0; i < v->ncolumns && at < len; i++) {
		const struct column *c = &v->columns[i];
		char text[128];
		struct value x = {VALUE_TEXT, 0, c->title};

		if (!fit[i])
			continue;
		if (row >= 0)
			x = c->get(m, row);
		value_text(&x, text, sizeof(text));
		cut(text, c, (size_t)fit[i]);
		at += (size_t)snprintf(out + at, len - at,
				       c->unit == UNIT_TEXT ? "%s%-*s" : "%s%*s", at ? " " : "",
				       fit[i], text);
	}
	at = strlen(out);
	while (at && out[at - 1] == ' ')
		out[--at] = '\0';
}
