/* hakstat leaks: which stacks only accumulate. */
#include "hakstat.h"
#include "heap.h"
#include "heap_diff.h"
#include "heap_print.h"
#include "history.h"
#include "leaks.h"
#include "text.h"
#include "views.h"

#include <string.h>

#define SECONDS_DEFAULT 60
#define STEPS_DEFAULT 12   /* intervals, where --interval does not say */
#define STEP_DEFAULT 5.0   /* seconds, where the end is not known */
#define MEAN_LOG2_LEAKS 18 /* 256 KiB: twice as many samples as for a profile */
#define ROWS_DEFAULT 20
#define INDENT 6	/* of what is told below a stack */
#define GROWTH_WIDTH 72 /* columns for the growth in one line */

enum { KEY_INTERVAL = 1024, KEY_MEAN, KEY_ALL };

struct options {
	struct report_options report;
	struct heap_options heap;
};

static const struct argp_option option_table[] = {
	{"interval", KEY_INTERVAL, "SECONDS", 0,
	 "blocks count from that age on, and growth is told in such steps (default: a twelfth of "
	 "the time)",
	 0},
	{"mean", KEY_MEAN, "BYTES", 0,
	 "sample one allocation in so many bytes on average, a power of two from 4K on (default "
	 "256K)",
	 0},
	{"all", KEY_ALL, NULL, 0, "stacks that hold memory and are no leak, too, with the reason",
	 0},
	{0},
};

static void end(struct options *o)
{
	if (o->heap.old_after_s <= 0)
		o->heap.old_after_s =
			o->report.seconds > 0 ? o->report.seconds / STEPS_DEFAULT : STEP_DEFAULT;
	if (o->report.format == REPORT_TABLE && !o->report.limit)
		o->report.limit = ROWS_DEFAULT;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->report;
		return 0;
	case KEY_INTERVAL:
		o->heap.old_after_s = parse_seconds(arg);
		if (o->heap.old_after_s <= 0)
			argp_error(state, "not a number of seconds: %s", arg);
		return 0;
	case KEY_MEAN:
		if (!heap_parse_mean(arg, &o->heap.mean_log2))
			argp_error(state, "--mean: not a power of two from 4K to 2048M: %s", arg);
		return 0;
	case KEY_ALL:
		o->heap.all_leaks = true;
		return 0;
	case ARGP_KEY_END:
		end(o);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void print_ages(FILE *out, const struct leak *k, int width)
{
	char text[48 * LEAK_AGES] = "ages:";
	size_t at = strlen(text);
	const char *comma = "";

	for (unsigned i = 0; i < LEAK_AGES; i++) {
		if (!k->age[i])
			continue;
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s %u of ", comma, k->age[i]);
		if (i + 1 == LEAK_AGES)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "over %u s",
					       1U << (i - 1));
		else
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%u-%u s",
					       i ? 1U << (i - 1) : 0, 1U << i);
		comma = ",";
	}
	text_print_at(out, INDENT, text, width);
}

/* How it grew, interval by interval: of a leak each is as high as the others. */
static void print_growth(FILE *out, const struct model *m, int row, int width)
{
	const struct heap_row *r = &m->heap->row[row];
	unsigned steps = leak_steps(m->heap);
	struct series s = {.n = 0};
	char line[3 * STEPS_MAX + 8], low[32] = "-", high[32] = "-";
	double least, most;

	for (unsigned i = 0; r->net && i < steps; i++)
		series_add(&s, r->net[i] > 0 ? r->net[i] : 0);
	series_line(&s, (int)steps, text_is_utf8(), line, sizeof(line));
	if (series_range(&s, &least, &most)) {
		bytes_text(least, low, sizeof(low));
		bytes_text(most, high, sizeof(high));
	}
	fprintf(out, "%*sgrowth by interval of %.3g s:", INDENT, "",
		(double)m->heap->store->step_ns / 1e9);
	if (width < GROWTH_WIDTH)
		fprintf(out, "\n%*s", INDENT, "");
	fprintf(out, " %s %s..%s\n", line, low, high);
	print_ages(out, r->leak, width);
}

static void print(FILE *out, const struct model *m, const struct report_options *o)
{
	if (!m->heap)
		return;
	if (o->format == REPORT_TABLE)
		heap_print_table(out, m, o, print_growth);
	else
		report_view(out, o->view, m, o);
}

int cmd_leaks(int argc, char **argv)
{
	static const struct argp_child children[] = {{&report_argp, 0, NULL, 0}, {0}};
	static const struct argp argp = {
		option_table,
		parse,
		NULL,
		"Which stacks only accumulate: what they allocated while we watched and nobody "
		"freed, how it grew, and how sure it is that it will not be freed.",
		children,
		NULL,
		NULL};
	static struct options o;
	int refused = 0, r;

	o.report.view = &view_leaks;
	o.report.pid_seconds = SECONDS_DEFAULT;
	heap_options_init(&o.heap);
	o.heap.mean_log2 = MEAN_LOG2_LEAKS;
	o.heap.stacks.refused = &refused;
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	r = report_run(&o.report, &o.heap, print);
	return refused ? exit_code_of(refused) : r;
}
