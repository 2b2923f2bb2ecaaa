/*
 * Alerts: what has to be true of a process, for how long, before somebody is told.
 *
 *   ALERT     = CONDITION { "and" CONDITION } [ "for" TIME ]
 *   CONDITION = [ SELECTOR ] COLUMN [ "grows" ] OPERATOR NUMBER [ UNIT ] [ "/" TIME_UNIT ]
 *   SELECTOR  = ( "class" | "thread" | "lock" | ... ) "=" ROW
 *   OPERATOR  = "<" | "<=" | ">" | ">=" | "==" | "!="
 *
 * Columns are those of the views: without a selector those of view_processes, of the whole process.
 */
#ifndef HAKSTAT_ALERT_H
#define HAKSTAT_ALERT_H

#include "views.h"

#define CONDITIONS_MAX 8
#define ROW_NAME_BYTES 64

enum comparison { LESS, AT_MOST, MORE, AT_LEAST, EQUAL, UNEQUAL };

struct condition {
	const struct view *view;
	const struct column *column;
	char row[ROW_NAME_BYTES]; /* a pattern for the name of the row; empty: the process */
	bool grows;
	enum comparison op;
	double limit; /* in what values are shown in; where it grows, by that a second */
	double per;   /* seconds of its time unit, as written; 0: none was */
	const char *per_name;
	/* as of the last look */
	struct value value;	 /* where it grows, a second */
	char of[ROW_NAME_BYTES]; /* the row it is of */
	double since;		 /* it has been true without a break; negative: it is not */
	struct growth *growth;	 /* NULL where it does not grow */
};

struct alert {
	const char *text;
	struct condition c[CONDITIONS_MAX];
	int n;
	double hold; /* seconds */
	bool on;
	double on_since;
};

enum alert_change { ALERT_SAME, ALERT_ON, ALERT_OVER };

/* False: what is wrong in err, and where in *at, an offset in text. text must outlive it. */
bool alert_parse(struct alert *a, const char *text, char *err, size_t errlen, size_t *at);
void alert_free(struct alert *a);

/* A look at the process at `now` (seconds of any clock). What is unknown fulfils no condition. */
enum alert_change alert_look(struct alert *a, const struct model *m, double now);
/* The process has become another program: what was, was of the one before. */
void alert_restart(struct alert *a);

/* "hit_rate 91.20%", of each condition. */
void alert_values(const struct alert *a, char *out, size_t len);
/* A value as in the JSON of views; false: unknown. */
bool condition_number(const struct condition *c, double *number);

/* What selects a row of the view in alerts, "class=SIZE " or ""; NULL: alerts do not know it. */
const char *alert_selector(const struct view *v);
/* Does a condition need BPF, or only what the counters tell? */
bool alert_needs_bpf(const struct alert *a);

#endif
