/*
 * What commands that print tables share: options, table, JSON and CSV. A new one is its view (its
 * columns, and the source of their numbers) and a cmd_NAME that calls report_command.
 */
#ifndef HAKSTAT_REPORT_H
#define HAKSTAT_REPORT_H

#include "columns.h"
#include "interval.h"
#include "text.h"
#include "whom.h"

#include <argp.h>

enum report_format { REPORT_TABLE, REPORT_JSON, REPORT_CSV };

/* --json and --csv of any command: rows of its table of options, and what their keys mean (false:
 * another key). The last one given counts. */
#define REPORT_KEY_JSON 'j'
#define REPORT_KEY_CSV 0x4000
#define REPORT_FORMAT_OPTIONS(json, csv)               \
	{"json", REPORT_KEY_JSON, NULL, 0, json, 0},   \
	{                                              \
		"csv", REPORT_KEY_CSV, NULL, 0, csv, 0 \
	}
bool report_format_key(int key, enum report_format *format);

struct report_options {
	/* set before parsing, or by the command's own options */
	const struct view *view; /* --sort names one of its columns */
	double pid_seconds;	 /* of -p without -d; negative: until it ends or Ctrl-C */
	uint64_t probes;	 /* beside those the view needs: ~0 for counts up to its very end */
	const struct source *source; /* in the place of the view's, or NULL */
	/* by parsing */
	struct whom whom;
	const char *output;
	const char *replay, *at, *from, *to; /* a recording, in the place of a process */
	double seconds; /* of the interval, from all of these; negative: until it ends or Ctrl-C */
	enum report_format format;
	const char *sort_name;
	int sort; /* index of a column */
	bool reverse;
	int limit; /* rows at most; 0: all */
	int width; /* of the terminal, or 120 */
	int fold; /* texts: that, if it is a terminal's or was asked for; what a script reads is not
		   */
};

/*
 * -p -c -d --budget --json --csv -o -s -r -n -w, as a child of a command's own parser. That one
 * must set state->child_inputs[0] to its struct report_options at ARGP_KEY_INIT.
 */
extern const struct argp report_argp;

/* Where the report goes: stdout, or the file of -o. NULL after a message. */
FILE *report_open(const struct report_options *o);
/* An exit code, after a message if it could not be written. */
int report_close(const struct report_options *o, FILE *out);

/* The view in the format asked for; as a table, with the header and notes. */
void report_view(FILE *out, const struct view *v, const struct model *m,
		 const struct report_options *o);
void report_text(FILE *out, const struct view *v, const struct model *m,
		 const struct report_options *o);
/* Parts of it, for reports of several views. */
void report_header(FILE *out, const struct model *m, const struct report_options *o);
/* False, and nothing printed, if the view has no row. */
bool report_table(FILE *out, const struct view *v, const struct model *m,
		  const struct report_options *o);
void report_json(FILE *out, const struct view *v, const struct model *m,
		 const struct report_options *o);
/* When that was, of a recording. */
void report_json_times(struct json *j, const struct model *m);
void report_csv(FILE *out, const struct view *v, const struct model *m,
		const struct report_options *o);

/* What the view does not know without BPF; nothing with it. */
void report_lacks(FILE *out, const struct view *v, const struct model *m);

/* Parts of JSON and CSV, of rows that come one by one. */
void report_json_columns(struct json *j, const struct view *v, const struct model *m, int row);
void report_csv_heads(struct csv *c, const struct view *v);
void report_csv_cells(struct csv *c, const struct view *v, const struct model *m, int row);
/* And whole lines of it. */
void report_csv_head(FILE *out, const struct view *v);
void report_csv_row(FILE *out, const struct view *v, const struct model *m, int row);
/* What hakstat itself did, as "self" of a JSON object. */
void report_json_self(struct json *j, const struct model *m);

/* What has to be said of a process that has ended; nothing of others. */
void report_ended(FILE *out, const struct model *m, const struct report_options *o);
/* All that is below a table. */
void report_notes(FILE *out, const struct view *v, const struct model *m,
		  const struct report_options *o);

/* Options of a command that has none of its own. about: what --help says first. */
void report_parse(int argc, char **argv, struct report_options *o, const char *about);
/*
 * Measures one interval with the view's source and prints it. options: for the source; print: in
 * the place of report_view, or NULL.
 */
int report_run(const struct report_options *o, const void *options,
	       void (*print)(FILE *out, const struct model *m, const struct report_options *o));
/* What `stat' prints, and `memory' in full. */
void report_stat(FILE *out, const struct model *m, const struct report_options *o);
void report_memory(FILE *out, const struct model *m, const struct report_options *o);
/* All of a command without options of its own; -p without -d takes a second. */
int report_command(int argc, char **argv, const struct view *v, const char *about);

#endif
