/* hakstat locks: which lock threads wait for, how long; as bars with --histogram. */
#include "calls.h"
#include "hakstat.h"
#include "report.h"
#include "views.h"

#include <string.h>

enum { KEY_HISTOGRAM = 600 };

struct options {
	struct report_options report;
	bool histogram;
};

static const struct argp_option option_table[] = {
	{"histogram", KEY_HISTOGRAM, NULL, 0, "how long the waits of each row were, as bars", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	(void)arg;
	if (key == ARGP_KEY_INIT)
		state->child_inputs[0] = &o->report;
	else if (key == KEY_HISTOGRAM)
		o->histogram = true;
	else
		return ARGP_ERR_UNKNOWN;
	return 0;
}

static const char *edge(char *buf, int slot)
{
	struct value v = {VALUE_NS, slot ? (double)((uint64_t)1 << slot) : 0, NULL};

	value_text(&v, buf, 16);
	return buf;
}

static void print_bar(FILE *out, uint64_t n, uint64_t most, int width)
{
	int bar = (int)((double)n / (double)most * width + 0.5);

	for (int i = 0; i < (bar ? bar : 1); i++)
		fputs(text_is_utf8() ? "\xe2\x96\x88" : "#", out);
}

/* From the first slot in use to the last one. */
static void print_slots(FILE *out, const uint64_t *hist, int slots, int width)
{
	int first = slots, last = -1;
	uint64_t most = 1;
	char from[16], to[16];

	for (int i = 0; i < slots; i++)
		if (hist[i]) {
			first = first < i ? first : i;
			last = i;
			most = most > hist[i] ? most : hist[i];
		}
	for (int i = first; i <= last; i++) {
		fprintf(out, " %7s - %-7s %8llu ", edge(from, i), edge(to, i + 1),
			(unsigned long long)hist[i]);
		if (hist[i])
			print_bar(out, hist[i], most, width - 30 > 10 ? width - 30 : 10);
		fputc('\n', out);
	}
}

static void print_histogram(FILE *out, const struct model *m, int row,
			    const struct report_options *o)
{
	static uint64_t hist[HIST_SLOTS];
	char name[128];

	if (view_locks_histogram(m, row, hist, name, sizeof(name))) {
		fprintf(out, "\n %s\n", name);
		print_slots(out, hist, HIST_SLOTS, o->width);
	}
}

static void print_all(FILE *out, const struct model *m, const struct report_options *o)
{
	struct row_list rows = {0};
	int n = view_rows(o->view, m, o->sort, o->reverse, NULL, &rows);

	report_view(out, o->view, m, o);
	for (int i = 0; o->format == REPORT_TABLE && i < n && (!o->limit || i < o->limit); i++)
		print_histogram(out, m, rows.row[i], o);
	row_list_free(&rows);
}

int cmd_locks(int argc, char **argv)
{
	static const struct argp_child children[] = {{&report_argp, 0, NULL, 0}, {0}};
	static const struct argp argp = {
		option_table,
		parse,
		NULL,
		"Which locks threads wait for: the allocator's by name, the others by their words.",
		children,
		NULL,
		NULL};
	struct options o = {.report = {.view = &view_locks, .pid_seconds = 1}};

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	return report_run(&o.report, NULL, o.histogram ? print_all : NULL);
}
