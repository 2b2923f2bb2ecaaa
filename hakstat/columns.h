/*
 * Tables. A view is a list of columns over the model; a column is its id, title, unit, help, width
 * and the number itself. Text, screen, JSON, CSV and `hakstat help` are all made from it.
 */
#ifndef HAKSTAT_COLUMNS_H
#define HAKSTAT_COLUMNS_H

#include "emit.h"
#include "model.h"

enum value_kind {
	VALUE_NONE, /* unknown: shown as "-", never as 0 */
	VALUE_COUNT,
	VALUE_ID, /* a number that is a name: in full */
	VALUE_ADDRESS,
	VALUE_RATE, /* per second */
	VALUE_BYTES,
	VALUE_PERCENT,
	VALUE_NS,
	VALUE_FACTOR,
	VALUE_BOOL,
	VALUE_DIGITS, /* the number is text, since it has more digits than a double */
	VALUE_TEXT,
};

struct value {
	enum value_kind kind;
	double number;	  /* also what rows are sorted by, highest first */
	const char *text; /* of VALUE_TEXT and VALUE_DIGITS; lives as long as the model */
};

struct value value_none(void);
struct value value_of(enum value_kind kind, double number);
struct value value_text_of(const char *text, double order);
struct value value_text_or_none(const char *text);		/* none: NULL or empty */
struct value value_per_second(const struct model *m, double n); /* n: in the interval */
/* none where `whole` is 0 */
struct value value_ratio(enum value_kind kind, double part, double whole);

/* What a column's numbers are, in JSON and CSV too: no prefixes there, ratios from 0 to 1. */
#define UNITS(X)                                        \
	X(TEXT, "text")                                 \
	X(COUNT, "count")                               \
	X(RATE, "per second")                           \
	X(BYTES, "bytes")                               \
	X(BYTES_RATE, "bytes per second")               \
	X(RATIO, "ratio, 0 to 1; tables show percents") \
	X(NS, "nanoseconds")                            \
	X(FACTOR, "mean count")                         \
	X(BOOL, "true or false")                        \
	X(SECONDS, "seconds")                           \
	X(VARIES, "that of the column it is of")
#define UNIT_(id, text) UNIT_##id,
enum unit { UNITS(UNIT_) UNIT_LIST_END };
extern const char *const unit_names[];

struct column {
	const char *id, *title;
	enum unit unit;
	const char *help;
	int width; /* 0: too much for a table, in JSON and CSV only */
	int keep;  /* columns that do not fit go by this, lowest first */
	struct value (*get)(const struct model *m, int row);
};

struct source;	       /* source.h */
struct stacks_options; /* stacks.h */

/* What keys ask a view to do with its rows. */
enum view_act {
	VIEW_ACT_TOGGLE, /* Enter: opens or closes a row of a tree */
	VIEW_ACT_OPEN,
	VIEW_ACT_CLOSE,
	VIEW_ACT_TURN, /* callers below callees, or the other way round */
};

#define VIEW_UNSORTED (-1)

struct view {
	const char *name; /* of its command, where it has one, and in the schema of its JSON */
	const char *title;
	const struct column *columns;
	int ncolumns;
	int (*rows)(const struct model *m);
	bool (*shown)(const struct model *m, int row); /* rows without anything are left out */
	int sort; /* column sorted by at first, descending; VIEW_UNSORTED: rows as they are */
	char key; /* of top; 0: not a screen of top */
	/* The rest may be NULL. */
	uint64_t probes;	     /* it shows what they tell, beside PROBES_LIGHT, a bit each */
	const char *by_bpf;	     /* ids of columns that are unknown without BPF; "*": all */
	const struct source *source; /* collects what the samples do not have */
	bool in_stat;		     /* of stat, too, without its source */
	bool (*alert)(const struct model *m, int row); /* something is wrong with what it shows */
	/* Line i below the table, folded where it is too long; false: there are no more. */
	bool (*note)(const struct model *m, int i, char *out, size_t len);
	/* Line i of another table below that, which keeps to the width. */
	bool (*matrix)(const struct model *m, int i, int width, char *out, size_t len);
	/* Enter on a row of top: the stacks of the probe that explain it. False: none do. */
	bool (*explain)(const struct model *m, int row, struct stacks_options *o);
	/* Line i below the table of top, of the row under the cursor, or -1; false: the end. */
	bool (*detail)(const struct model *m, int row, int i, char *out, size_t len);
	/*
	 * Of a tree: the row above one, or -1. Rows come after their parents; siblings are sorted;
	 * a filter finds rows that are not shown, and shows what is above them.
	 */
	int (*parent)(const struct model *m, int row);
	void (*act)(const struct model *m, int row, enum view_act act);
	/* More keys for the JSON object, beside rows. */
	void (*json)(struct json *j, const struct model *m);
	/* And for the object of a row, beside its columns. */
	void (*json_row)(struct json *j, const struct model *m, int row);
};
/* The rows of another view as an array of an object. (report.c) */
void report_json_rows(struct json *j, const char *key, const struct view *v, const struct model *m);

#define COLUMNS(c) c, (int)(sizeof(c) / sizeof((c)[0]))
#define COLUMNS_MAX 32

/* Is this column of the view unknown without BPF? */
bool view_by_bpf(const struct view *v, const struct column *c);

/* Without BPF: which columns are unknown, and how to know them. False: none. (lacks.c) */
bool view_lacks(const struct view *v, const struct model *m, char *out, size_t len);

bool always_shown(const struct model *m, int row);
int own_row(const struct model *m); /* rows of a command's table that prints `own' as it comes: 1 */

/* A value as text. */
void value_text(const struct value *v, char *out, size_t len);
void bytes_text(double bytes, char *out, size_t len);
void rate_text(double per_second, char *out, size_t len);

/* Rows of a view in the order they are shown in; start with {0}, row_list_free at the end. */
struct row_list {
	int *row;
	int n, room;
};
/* The rows to show; returns how many. filter: text some cell must contain. */
int view_rows(const struct view *v, const struct model *m, int sort, bool reverse,
	      const char *filter, struct row_list *rows);
void row_list_free(struct row_list *rows);

/* Which columns fit into `width`: fit[i] is how wide each is shown, 0 if it is not. */
void view_fit(const struct view *v, int width, int fit[COLUMNS_MAX]);
/* The same of those that are set already: takes away what does not fit. */
void view_narrow(const struct view *v, int width, int fit[COLUMNS_MAX]);
/* One line of the table; row -1 is the heading. */
void view_line(const struct view *v, const struct model *m, int row, const int *fit, char *out,
	       size_t len);
/* Index of the column with this id, or its title in any case; -1: there is none. */
int view_column(const struct view *v, const char *name);

/* Lines above the table; returns how many were written. (header.c) */
#define HEADER_LINES 5
int header_lines(const struct model *m, const char *who, int width, char out[HEADER_LINES][256]);

#endif
