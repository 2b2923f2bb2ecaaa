#include "alert.h"
#include "growth.h"
#include "near.h"
#include "quantity.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#define EPSILON 1e-3 /* seconds: looks come a little late, never early */

/* Which view has the rows, and which of its columns name them. */
static const struct selector {
	const char *name;
	const struct view *view;
	int ids;  /* the first columns */
	bool bpf; /* without it, rows are missing */
} selectors[] = {
	{"class", &view_classes, 1, false},	  {"thread", &view_threads, 2, false},
	{"lock", &view_locks, 1, false},	  {"call", &view_os, 2, false},
	{"syscall", &view_syscalls, 2, true},	  {"memory", &view_memory, 1, false},
	{"fragments", &view_fragments, 1, false}, {"route", &view_route, 1, false},
	{"freed_by", &view_remote, 2, true},
};
#define SELECTORS (sizeof(selectors) / sizeof(selectors[0]))

/* Longer ones first. */
static const struct {
	const char *text;
	enum comparison op;
} operators[] = {{"<=", AT_MOST}, {">=", AT_LEAST}, {"==", EQUAL}, {"!=", UNEQUAL},
		 {"<", LESS},	  {">", MORE},	    {"=", EQUAL}};
#define OPERATORS (sizeof(operators) / sizeof(operators[0]))

const char *alert_selector(const struct view *v)
{
	static char text[64];

	if (v == &view_processes)
		return "";
	for (size_t i = 0; i < SELECTORS; i++)
		if (selectors[i].view == v) {
			snprintf(text, sizeof(text), "%s=%s ", selectors[i].name,
				 v->columns[0].title);
			return text;
		}
	return NULL;
}

static const struct selector *selector_of(const struct view *v)
{
	for (size_t i = 0; i < SELECTORS; i++)
		if (selectors[i].view == v)
			return &selectors[i];
	return NULL;
}

/* --- parsing --- */

struct parser {
	const char *at;
	char *err;
	size_t errlen;
};

static void skip(struct parser *p)
{
	p->at += strspn(p->at, " \t");
}

static size_t name_length(const struct parser *p)
{
	return strcspn(p->at, " \t<>=!");
}

static bool take_word(struct parser *p, const char *word)
{
	size_t n = strlen(word);

	skip(p);
	if (strncmp(p->at, word, n) != 0 || isalnum((unsigned char)p->at[n]) || p->at[n] == '_')
		return false;
	p->at += n;
	return true;
}

static bool wrong_name(struct parser *p, const struct view *v, const char *name)
{
	struct near n = {0};
	char *to = p->err;
	size_t room = p->errlen;

	for (int i = 0; i < v->ncolumns; i++)
		if (v->columns[i].unit != UNIT_TEXT)
			near_add(&n, name, v->columns[i].id);
	snprintf(to, room, "no column '%s' of %s; near: %s, %s, %s", name,
		 v == &view_processes ? "a whole process" : v->name, n.id[0], n.id[1], n.id[2]);
	return false;
}

/* "class=64 ": false where it is none, or ended by an error. */
static bool parse_selector(struct parser *p, struct condition *c)
{
	size_t n = name_length(p), len;

	for (size_t i = 0; i < SELECTORS; i++) {
		const char *value = p->at + n + 1;

		if (strlen(selectors[i].name) != n || strncmp(p->at, selectors[i].name, n) != 0 ||
		    p->at[n] != '=' || *value == '=')
			continue;
		c->view = selectors[i].view;
		if (*value == '"' || *value == '\'') {
			const char *end = strchr(value + 1, *value);

			len = end ? (size_t)(end - value) - 1 : 0;
			p->at = end ? end + 1 : value;
			value++;
		} else {
			len = strcspn(value, " \t");
			p->at = value + len;
		}
		if (!len || len >= sizeof(c->row)) {
			p->at = value;
			snprintf(p->err, p->errlen,
				 "which %s? a name, a number or a pattern (%s=*)",
				 selectors[i].name, selectors[i].name);
			return false;
		}
		snprintf(c->row, sizeof(c->row), "%.*s", (int)len, value);
	}
	return true;
}

static bool parse_column(struct parser *p, struct condition *c)
{
	size_t n;
	char name[64];
	int i;

	skip(p);
	n = name_length(p);
	if (!n || n >= sizeof(name)) {
		snprintf(p->err, p->errlen, "the name of a column is expected here");
		return false;
	}
	snprintf(name, sizeof(name), "%.*s", (int)n, p->at);
	i = view_column(c->view, name);
	if (i < 0)
		return wrong_name(p, c->view, name);
	c->column = &c->view->columns[i];
	if (c->column->unit == UNIT_TEXT) {
		snprintf(p->err, p->errlen, "%s is text, only numbers can be compared", name);
		return false;
	}
	p->at += n;
	return true;
}

static bool parse_operator(struct parser *p, struct condition *c)
{
	skip(p);
	for (size_t i = 0; i < OPERATORS; i++) {
		size_t n = strlen(operators[i].text);

		if (strncmp(p->at, operators[i].text, n) != 0)
			continue;
		c->op = operators[i].op;
		p->at += n;
		return true;
	}
	snprintf(p->err, p->errlen, "a comparison is expected here: < <= > >= == !=");
	return false;
}

static bool is_rate(const struct condition *c)
{
	return c->column->unit == UNIT_RATE || c->column->unit == UNIT_BYTES_RATE;
}

static bool parse_limit(struct parser *p, struct condition *c)
{
	struct quantity q;
	const char *begin, *end;

	skip(p);
	begin = p->at;
	end = quantity_parse(begin, c->column->unit, &q, p->err, p->errlen, &p->at);
	if (!end)
		return false;
	if (c->grows && !q.per) {
		p->at = end;
		snprintf(p->err, p->errlen, "grows by that in which time? As in 1MiB/min or 100/s");
		return false;
	}
	if (q.per && !c->grows && !is_rate(c)) {
		p->at = strchr(begin, '/');
		snprintf(p->err, p->errlen,
			 "%s is no rate; to compare how fast it grows: %s grows>...", c->column->id,
			 c->column->id);
		return false;
	}
	p->at = end;
	c->per = q.per;
	c->per_name = q.per_name;
	c->limit = q.per ? q.number / q.per : q.number;
	return true;
}

static bool parse_condition(struct parser *p, struct condition *c)
{
	*c = (struct condition){.view = &view_processes, .since = -1, .value = value_none()};
	skip(p);
	if (!parse_selector(p, c) || !parse_column(p, c))
		return false;
	c->grows = take_word(p, "grows");
	if (!parse_operator(p, c) || !parse_limit(p, c))
		return false;
	if (c->grows && !(c->growth = calloc(1, sizeof(*c->growth)))) {
		snprintf(p->err, p->errlen, "no memory");
		return false;
	}
	return true;
}

static bool parse_hold(struct parser *p, struct alert *a)
{
	const char *end;

	if (take_word(p, "for")) {
		skip(p);
		end = duration_parse(p->at, &a->hold, p->err, p->errlen, &p->at);
		if (!end)
			return false;
		if (a->hold < 0 || a->hold > 1e9) {
			snprintf(p->err, p->errlen, "not a length of time");
			return false;
		}
		p->at = end;
	}
	skip(p);
	if (!*p->at)
		return true;
	snprintf(p->err, p->errlen,
		 a->hold > 0 ? "nothing more is expected here"
			     : "'and', 'for' or the end is expected here");
	return false;
}

static bool parse(struct parser *p, struct alert *a)
{
	do {
		if (a->n == CONDITIONS_MAX) {
			snprintf(p->err, p->errlen, "no more than %d conditions", CONDITIONS_MAX);
			return false;
		}
		if (!parse_condition(p, &a->c[a->n++]))
			return false;
	} while (take_word(p, "and"));
	return parse_hold(p, a);
}

bool alert_parse(struct alert *a, const char *text, char *err, size_t errlen, size_t *at)
{
	struct parser p = {text, err, errlen};
	bool good;

	*a = (struct alert){.text = text};
	good = parse(&p, a);
	*at = (size_t)(p.at - text);
	for (int i = 0; good && i < a->n; i++)
		if (a->c[i].growth)
			a->c[i].growth->window = a->hold;
	if (!good)
		alert_free(a);
	return good;
}

void alert_free(struct alert *a)
{
	for (int i = 0; i < a->n; i++)
		free(a->c[i].growth);
	a->n = 0;
}

/* --- rows --- */

static bool is_number(const char *text)
{
	return *text && !text[strspn(text, "0123456789")];
}

/* The class that serves a request of that size, as malloc has it; the large ones are row 0. */
static int class_for(const struct model *m, const char *size)
{
	unsigned long bytes = strtoul(size, NULL, 10);

	for (unsigned k = 1; k < m->classes; k++)
		if (m->class_[k].block_bytes >= bytes)
			return (int)k;
	return 0;
}

static bool is_row(const struct condition *c, const struct model *m, int row)
{
	const struct selector *s = selector_of(c->view);

	if (!s)
		return true;
	if (c->view == &view_classes && is_number(c->row))
		return row == class_for(m, c->row);
	for (int i = 0; i < s->ids; i++) {
		struct value v = c->view->columns[i].get(m, row);
		char name[ROW_NAME_BYTES];

		value_text(&v, name, sizeof(name));
		if (!fnmatch(c->row, name, 0))
			return true;
	}
	return false;
}

/* Of rows the one to look at is the one nearest to what the alert is about. */
static bool is_further(const struct condition *c, double a, double b)
{
	return c->op == LESS || c->op == AT_MOST ? a < b : a > b;
}

static void find_value(struct condition *c, const struct model *m)
{
	int rows = c->view->rows(m), found = -1;

	c->value = value_none();
	c->of[0] = '\0';
	for (int row = 0; row < rows; row++) {
		struct value v;

		if (!is_row(c, m, row) || !c->view->shown(m, row))
			continue;
		v = c->column->get(m, row);
		if (v.kind == VALUE_NONE || v.kind == VALUE_TEXT)
			continue;
		if (found >= 0 && !is_further(c, v.number, c->value.number))
			continue;
		found = row;
		c->value = v;
	}
	if (found >= 0 && selector_of(c->view)) {
		struct value name = c->view->columns[0].get(m, found);

		value_text(&name, c->of, sizeof(c->of));
	}
}

/* --- looking --- */

static void find_growth(struct condition *c, double now)
{
	double rate;

	if (c->value.kind == VALUE_NONE) {
		growth_clear(c->growth);
		return;
	}
	growth_add(c->growth, now, c->value.number);
	if (growth_rate(c->growth, &rate))
		c->value.number = rate;
	else
		c->value = value_none();
}

static bool holds(const struct condition *c)
{
	double v = c->value.number;

	if (c->value.kind == VALUE_NONE)
		return false;
	switch (c->op) {
	case LESS:
		return v < c->limit;
	case AT_MOST:
		return v <= c->limit;
	case MORE:
		return v > c->limit;
	case AT_LEAST:
		return v >= c->limit;
	case EQUAL:
		return v == c->limit;
	case UNEQUAL:
		return v != c->limit;
	}
	return false;
}

enum alert_change alert_look(struct alert *a, const struct model *m, double now)
{
	bool all = true, long_enough = true;

	for (int i = 0; i < a->n; i++) {
		struct condition *c = &a->c[i];

		find_value(c, m);
		if (c->grows)
			find_growth(c, now);
		if (!holds(c)) {
			c->since = -1;
			all = false;
		} else if (c->since < 0) {
			c->since = now;
		}
		/* growth is over that time already */
		long_enough &= c->grows || now - c->since >= a->hold - EPSILON;
	}
	if (a->on && !all) {
		a->on = false;
		return ALERT_OVER;
	}
	if (a->on || !all || !long_enough)
		return ALERT_SAME;
	a->on = true;
	a->on_since = now;
	return ALERT_ON;
}

void alert_restart(struct alert *a)
{
	for (int i = 0; i < a->n; i++) {
		a->c[i].since = -1;
		if (a->c[i].growth)
			growth_clear(a->c[i].growth);
	}
}

/* --- telling --- */

static const char *mark_of(const struct condition *c)
{
	if (c->value.kind == VALUE_NONE)
		return "";
	return c->column->unit == UNIT_RATIO ? "%" : "";
}

static void one_value(const struct condition *c, char *out, size_t len)
{
	const struct selector *s = selector_of(c->view);
	struct value v = c->value;
	const char *per = c->grows || is_rate(c) ? c->per_name ? c->per_name : "s" : NULL;
	bool known = v.kind != VALUE_NONE, falls = known && v.number < 0;
	char number[48], of[ROW_NAME_BYTES + 16] = "";

	if (s)
		snprintf(of, sizeof(of), "%s=%s ", s->name, *c->of ? c->of : c->row);
	if (known && c->per > 0)
		v.number *= c->per;
	if (falls)
		v.number = -v.number;
	value_text(&v, number, sizeof(number));
	snprintf(out, len, "%s%s%s %s%s%s%s%s", of, c->column->id, c->grows ? " grows" : "",
		 falls ? "-" : "", number, mark_of(c), known && per ? "/" : "",
		 known && per ? per : "");
}

void alert_values(const struct alert *a, char *out, size_t len)
{
	size_t at = 0;

	out[0] = '\0';
	for (int i = 0; i < a->n && at < len; i++) {
		char text[192];

		one_value(&a->c[i], text, sizeof(text));
		at += (size_t)snprintf(out + at, len - at, "%s%s", i ? ", " : "", text);
	}
}

bool condition_number(const struct condition *c, double *number)
{
	*number = c->value.kind == VALUE_PERCENT ? c->value.number / 100 : c->value.number;
	return c->value.kind != VALUE_NONE;
}

bool alert_needs_bpf(const struct alert *a)
{
	for (int i = 0; i < a->n; i++) {
		const struct selector *s = selector_of(a->c[i].view);

		if ((s && s->bpf) || view_by_bpf(a->c[i].view, a->c[i].column))
			return true;
	}
	return false;
}
