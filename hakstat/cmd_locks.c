/* hakstat locks: which lock threads wait for, how long; as bars with --histogram; from where. */
#include "calls.h"
#include "hakstat.h"
#include "report.h"
#include "sources.h"
#include "stack_print.h"
#include "views.h"

#include <string.h>

#define STACKS_SHOWN 3

enum { KEY_HISTOGRAM = 600, KEY_STACKS };

struct options {
	struct report_options report; /* the first member: print_all knows */
	bool histogram, stacks;
};

static const struct argp_option option_table[] = {
	{"histogram", KEY_HISTOGRAM, NULL, 0, "how long the waits of each row were, as bars", 0},
	{"stacks", KEY_STACKS, NULL, 0,
	 "the stacks the allocator waited longest from; more: hakstat stacks --on lock_wait", 0},
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
	else if (key == KEY_STACKS)
		o->stacks = true;
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

static void print_histograms(FILE *out, const struct model *m, const struct report_options *o)
{
	struct row_list rows = {0};
	int n = view_rows(o->view, m, o->sort, o->reverse, NULL, &rows);

	for (int i = 0; i < n && (!o->limit || i < o->limit); i++)
		print_histogram(out, m, rows.row[i], o);
	row_list_free(&rows);
}

static const struct stack_row *stack_of(const struct model *m, int row)
{
	return &m->stacks->row[row];
}

/* Of all locks of the allocator together. */
static void print_stacks(FILE *out, const struct model *m, const struct report_options *of)
{
	static const char *const shown[] = {"events", "share", "time_ns", "mean_ns", "truncated"};
	const struct stack_printer printer = {false, stack_of, NULL};
	struct report_options o = *of;
	int fit[COLUMNS_MAX] = {0};

	o.view = &view_stacks;
	o.sort = view_column(&view_stacks, "time_ns");
	o.reverse = false;
	o.limit = STACKS_SHOWN;
	fprintf(out, "\n");
	if (!m->stacks || !m->stacks->rows) {
		text_print(out, "no stacks: the allocator waited for no lock", o.fold);
		return;
	}
	text_print(out, "where the allocator waits from, longest first", o.fold);
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		int c = view_column(&view_stacks, shown[i]);

		fit[c] = view_stacks.columns[c].width;
	}
	view_narrow(&view_stacks, stack_print_room(&printer, &o), fit);
	stack_print(out, m, &o, fit, &printer);
}

static void print_all(FILE *out, const struct model *m, const struct report_options *o)
{
	const struct options *all = (const struct options *)o;

	report_view(out, o->view, m, o);
	if (o->format != REPORT_TABLE)
		return;
	if (all->histogram)
		print_histograms(out, m, o);
	if (all->stacks)
		print_stacks(out, m, o);
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
	struct stacks_options stacks;
	const struct source_list both = {{&source_futexes, &stacks_source}, {NULL, &stacks}, 2};

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	stacks_options_init(&stacks);
	stacks.sampler.which = PROBE_BIT(HAK_P_hakmem_lock_wait_done);
	if (o.stacks)
		o.report.source = &source_several;
	return report_run(&o.report, o.stacks ? &both : NULL, print_all);
}
