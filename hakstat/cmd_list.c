/* hakstat list: every process on this host that runs on libhakmem. */
#include "cgroup.h"
#include "columns.h"
#include "emit.h"
#include "hakstat.h"
#include "privilege.h"
#include "report.h"
#include "target.h"
#include "text.h"
#include "title.h"
#include "views.h"

#include <argp.h>
#include <stdlib.h>
#include <unistd.h>

struct listing {
	enum report_format format;
	struct json j;
	int count;
};

struct entry {
	const struct target *t;
	int threads;
	uint64_t rss;
	char cgroup[CGROUP_BYTES], title[TITLE_BYTES];
};

static const struct argp_option option_table[] = {
	REPORT_FORMAT_OPTIONS("JSON", "CSV, the same values"),
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct listing *l = state->input;

	(void)arg;
	if (key == ARGP_KEY_ARG)
		argp_usage(state);
	return report_format_key(key, &l->format) ? 0 : ARGP_ERR_UNKNOWN;
}

/* --- the columns --- */

#define ROW(m) ((const struct entry *)(m)->own)

#define TEXT_(name, text)                                        \
	static struct value name(const struct model *m, int row) \
	{                                                        \
		(void)row;                                       \
		return value_text_or_none(text);                 \
	}
TEXT_(comm, ROW(m)->t->comm)
TEXT_(exe, ROW(m)->t->exe)
TEXT_(version, ROW(m)->t->version)
TEXT_(build_id, ROW(m)->t->build_id)
TEXT_(linked, ROW(m)->t->link == LINK_UNKNOWN ? NULL : link_names[ROW(m)->t->link])
TEXT_(library, ROW(m)->t->lib)
TEXT_(cgroup, ROW(m)->cgroup)
TEXT_(title, ROW(m)->title)

static struct value pid(const struct model *m, int row)
{
	(void)row;
	return value_of(VALUE_ID, ROW(m)->t->pid);
}

static struct value threads(const struct model *m, int row)
{
	(void)row;
	return ROW(m)->threads ? value_of(VALUE_COUNT, ROW(m)->threads) : value_none();
}

static struct value rss(const struct model *m, int row)
{
	(void)row;
	return ROW(m)->rss ? value_of(VALUE_BYTES, (double)ROW(m)->rss) : value_none();
}

static const struct column columns[] = {
	{"pid", "PID", UNIT_COUNT, "its number", 8, 99, pid},
	{"comm", "COMMAND", UNIT_TEXT, "its name", 16, 99, comm},
	{"exe", "PROGRAM", UNIT_TEXT, "file of the program", 0, 0, exe},
	{"version", "VERSION", UNIT_TEXT, "of libhakmem", 8, 60, version},
	{"build_id", "BUILD ID", UNIT_TEXT, "of the file with libhakmem in it", 13, 40, build_id},
	{"link", "LINKED", UNIT_TEXT, "how libhakmem came in: preload, linked or static", 8, 50,
	 linked},
	{"library", "LIBRARY", UNIT_TEXT, "file with libhakmem in it, as the process names it", 0,
	 0, library},
	{"threads", "THREADS", UNIT_COUNT, "threads it has", 7, 80, threads},
	{"rss_bytes", "RSS", UNIT_BYTES, "memory the process has", 8, 97, rss},
	{"cgroup", "CGROUP", UNIT_TEXT, "container, pod, unit or cgroup it is in", 32, 70, cgroup},
	{"title", "COMMAND LINE", UNIT_TEXT, "or what the process has put there", 24, 90, title},
};

const struct view view_list = {
	.name = "list",
	.title = "processes on libhakmem",
	.columns = COLUMNS(columns),
	.rows = own_row,
	.shown = always_shown,
};

/* --- */

/* A line of the table; row -1: its heading. The last column takes what room there is. */
static void print_line(int width, const struct model *m, int row)
{
	int fit[COLUMNS_MAX], *last = &fit[view_list.ncolumns - 1], used = -1;
	char line[WIDTH_MAX + 64];

	view_fit(&view_list, width, fit);
	for (int i = 0; i < view_list.ncolumns; i++)
		used += fit[i] ? fit[i] + 1 : 0;
	if (*last)
		*last += width - used < TITLE_BYTES ? width - used : TITLE_BYTES;
	view_line(&view_list, m, row, fit, line, sizeof(line));
	printf("%s\n", line);
}

static void print_text(struct listing *l, const struct model *m)
{
	int width = isatty(STDOUT_FILENO) ? text_width() : WIDTH_MAX;

	if (!l->count++)
		print_line(width, m, -1);
	print_line(width, m, 0);
}

static bool one(const struct target *t, void *arg)
{
	static struct model m;
	struct listing *l = arg;
	struct entry e = {t, target_threads(t->pid), target_rss(t->pid), "", ""};

	cgroup_name(t->pid, e.cgroup, sizeof(e.cgroup));
	title_read(t->pid, e.title, sizeof(e.title));
	m.own = &e;
	if (l->format == REPORT_JSON) {
		json_open(&l->j, NULL, '{');
		report_json_columns(&l->j, &view_list, &m, 0);
		json_close(&l->j, '}');
	} else if (l->format == REPORT_CSV) {
		report_csv_row(stdout, &view_list, &m, 0);
	} else {
		print_text(l, &m);
	}
	m.own = NULL;
	return true;
}

int cmd_list(int argc, char **argv)
{
	static const struct argp argp = {
		option_table, parse, NULL, "Processes that run on libhakmem.", NULL, NULL, NULL};
	struct listing l = {.j = {stdout, false}};
	int r;

	argp_parse(&argp, argc, argv, 0, NULL, &l);
	keep_to_read();
	if (l.format == REPORT_JSON) {
		json_open(&l.j, NULL, '{');
		json_text(&l.j, "schema", "hakstat.list/1");
		json_open(&l.j, "processes", '[');
	}
	if (l.format == REPORT_CSV)
		report_csv_head(stdout, &view_list);
	r = target_each(one, &l);
	if (l.format == REPORT_JSON) {
		json_close(&l.j, ']');
		json_close(&l.j, '}');
		printf("\n");
	} else if (l.format == REPORT_TABLE && !l.count && !r) {
		printf("no process here runs on libhakmem, or none that you may look into\n");
	}
	if (r)
		complain("not all processes could be looked at: %s", target_reason(r));
	return r ? exit_code_of(r) : EXIT_OK;
}
