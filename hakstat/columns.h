/*
 * The one table of columns a view: id, title, unit, width, help and the number itself. Text,
 * screen and the column help are made from it.
 */
#ifndef HAKSTAT_COLUMNS_H
#define HAKSTAT_COLUMNS_H

#include "model.h"

enum value_kind {
	VALUE_NONE, /* unknown: shown as "-", never as 0 */
	VALUE_COUNT,
	VALUE_RATE, /* per second */
	VALUE_BYTES,
	VALUE_PERCENT,
	VALUE_NS,
	VALUE_FACTOR,
	VALUE_TEXT,
};

struct value {
	enum value_kind kind;
	double number; /* also what rows are sorted by */
	const char *text;
};

struct column {
	const char *id, *title, *help;
	int width;
	int keep; /* columns that do not fit go by this, lowest first */
	struct value (*get)(const struct model *m, int row);
};

struct view {
	const char *name; /* as a key binding calls it */
	const char *title;
	const struct column *columns;
	int ncolumns;
	int (*rows)(const struct model *m);
	bool (*shown)(const struct model *m, int row); /* rows without anything are left out */
	int sort;				       /* column sorted by at first, descending */
};

enum { VIEW_CLASSES, VIEW_LOCKS, VIEW_OS, VIEWS };
extern const struct view views[VIEWS];

/* A value as text of at most `width` characters. */
void value_text(const struct value *v, char *out, size_t len);
void bytes_text(double bytes, char *out, size_t len);
void rate_text(double per_second, char *out, size_t len);

#define ROWS_MAX 128
/* The rows of a view to show, in order; returns how many. filter: text some cell must contain. */
int view_rows(const struct view *v, const struct model *m, int sort, bool reverse,
	      const char *filter, int rows[ROWS_MAX]);
/* Which columns fit into `width`: fit[i] for each column. */
void view_fit(const struct view *v, int width, bool *fit);
/* One line of the table; row -1 is the heading. */
void view_line(const struct view *v, const struct model *m, int row, const bool *fit, char *out,
	       size_t len);

/* Lines above the table; returns how many were written. */
#define HEADER_LINES 5
int header_lines(const struct model *m, const char *who, int width, char out[HEADER_LINES][256]);

#endif
