/* hakstat heap: which code holds the memory. */
#include "flame.h"
#include "hakstat.h"
#include "heap.h"
#include "heap_diff.h"
#include "heap_print.h"
#include "profile.h"
#include "quantity.h"
#include "stack_print.h"
#include "views.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS_DEFAULT 20 /* of a table of stacks */

enum { KEY_MEAN = 1024, KEY_ALLOC, KEY_LIVE, KEY_BY, KEY_FOLDED, KEY_SVG, KEY_DIFF };

struct options {
	struct report_options report;
	struct heap_options heap;
	const char *svg;
	FILE *drawing; /* that file */
	bool folded, pprof;
};

static const struct argp_option option_table[] = {
	{"mean", KEY_MEAN, "BYTES", 0,
	 "sample one allocation in so many bytes on average, a power of two from 4K on (default "
	 "512K): more exact, or cheaper",
	 0},
	{"live", KEY_LIVE, NULL, 0, "only what holds memory now", 0},
	{"alloc", KEY_ALLOC, NULL, 0, "sorted by what is allocated a second, freed or not", 0},
	{"by", KEY_BY, "stack|function|class|thread|site", 0,
	 "a row for each stack (default), function that called the allocator, size class, thread, "
	 "or site of hak_alloc_at, whose counts are exact",
	 0},
	{"folded", KEY_FOLDED, NULL, 0,
	 "folded stacks of live bytes, with --alloc of bytes allocated", 0},
	{"svg", KEY_SVG, "FILE", 0, "write a flame graph of the same, to be opened in a browser",
	 0},
	{"diff", KEY_DIFF, "A.pb.gz B.pb.gz", 0,
	 "instead of a process: what changed between two profiles", 0},
	{0},
};

bool heap_parse_mean(const char *text, unsigned *log2)
{
	double v;
	int power;

	if (!size_parse(text, &v) || frexp(v, &power) != 0.5) /* times 2^power */
		return false;
	*log2 = (unsigned)power - 1;
	return power - 1 >= (int)HAK_MEAN_LEAST && power - 1 <= (int)HAK_MEAN_MOST;
}

static void parse_by(struct options *o, struct argp_state *state, const char *arg)
{
	static const char *const names[] = {
		[HEAP_BY_STACK] = "stack", [HEAP_BY_FUNCTION] = "function",
		[HEAP_BY_CLASS] = "class", [HEAP_BY_THREAD] = "thread",
		[HEAP_BY_SITE] = "site",
	};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(arg, names[i])) {
			o->heap.by = (enum heap_by)i;
			return;
		}
	argp_error(state, "--by stack, function, class, thread or site, not '%s'", arg);
}

static bool ends_with(const char *s, const char *tail)
{
	size_t a = strlen(s), b = strlen(tail);

	return a >= b && !strcmp(s + a - b, tail);
}

static void end(struct options *o, struct argp_state *state)
{
	bool stacks = o->heap.by == HEAP_BY_STACK;

	o->pprof = o->report.output &&
		   (ends_with(o->report.output, ".pb.gz") || ends_with(o->report.output, ".pprof"));
	if (o->pprof && (o->report.format != REPORT_TABLE || o->folded))
		argp_error(state, "%s is in pprof's format: no --json, --csv or --folded with it",
			   o->report.output);
	if ((o->folded || o->svg || o->pprof) && !stacks)
		argp_error(state, "--folded, --svg and profiles are of stacks: no --by with them");
	o->heap.folded = o->folded || o->svg;
	if (o->heap.show == HEAP_SHOW_ALLOC && !o->report.sort_name)
		o->report.sort = view_column(&view_heap, "alloc_bytes");
	if (o->report.format == REPORT_TABLE && !o->folded && !o->report.limit && stacks)
		o->report.limit = ROWS_DEFAULT;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->report;
		state->child_inputs[1] = &o->heap.stacks;
		return 0;
	case KEY_MEAN:
		if (!heap_parse_mean(arg, &o->heap.mean_log2))
			argp_error(state, "--mean: not a power of two from 4K to 2048M: %s", arg);
		return 0;
	case KEY_ALLOC:
		o->heap.show = HEAP_SHOW_ALLOC;
		return 0;
	case KEY_LIVE:
		o->heap.show = HEAP_SHOW_LIVE;
		return 0;
	case KEY_BY:
		parse_by(o, state, arg);
		return 0;
	case KEY_FOLDED:
		o->folded = true;
		return 0;
	case KEY_SVG:
		o->svg = arg;
		return 0;
	case ARGP_KEY_END:
		end(o, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --- what is printed --- */

static const struct stack_row *stack_of(const struct model *m, int row)
{
	return m->heap->row[row].stack;
}

void heap_print_table(FILE *out, const struct model *m, const struct report_options *o,
		      void (*more)(FILE *out, const struct model *m, int row, int width))
{
	const struct heap_profile *h = m->heap;
	const struct stack_printer printer = {h->by == HEAP_BY_FUNCTION, stack_of, more};
	const struct view *v = o->view;
	int fit[COLUMNS_MAX];
	bool stacks = h->by == HEAP_BY_STACK || h->by == HEAP_BY_FUNCTION;
	int name = view_column(v, v == &view_heap ? "what" : "callers");

	report_header(out, m, o);
	view_fit(v, WIDTH_MAX, fit);
	if (stacks) {
		fit[name] = 0; /* the frames below say it */
		view_narrow(v, stack_print_room(&printer, o), fit);
		if (!stack_print(out, m, o, fit, &printer))
			fprintf(out, " none\n");
	} else if (!report_table(out, v, m, o)) {
		fprintf(out, "\n");
		text_print(out,
			   h->by == HEAP_BY_SITE
				   ? "nothing was allocated by hak_alloc_at in this interval"
				   : "nothing was sampled in this interval",
			   o->fold);
	}
	if (v == &view_heap)
		report_table(out, &view_heap_before, m, o);
	report_notes(out, v, m, o);
}

static void print_folded(FILE *out, const struct model *m, const struct options *o)
{
	struct profile p = {0};
	bool alloc = o->heap.show == HEAP_SHOW_ALLOC;

	if (profile_of_heap(&p, m->heap))
		for (size_t i = 0; i < p.n; i++)
			profile_print_folded(out, m->target->comm, &p.stack[i],
					     alloc ? PROFILE_ALLOC_SPACE : PROFILE_INUSE_SPACE);
	profile_free(&p);
}

static bool draw(const struct model *m, const struct options *o)
{
	struct profile p = {0};
	char title[160];
	bool alloc = o->heap.show == HEAP_SHOW_ALLOC, ok;

	snprintf(title, sizeof(title), "%s [%d]: %s", m->target->comm, m->target->pid,
		 alloc ? "bytes allocated" : "live bytes");
	ok = profile_of_heap(&p, m->heap) &&
	     flame_write(o->drawing, &p, NULL, alloc ? PROFILE_ALLOC_SPACE : PROFILE_INUSE_SPACE,
			 title);
	profile_free(&p);
	/* what could not be written before is not in the buffer any more */
	if (ok && !fflush(o->drawing) && !ferror(o->drawing))
		return true;
	complain("cannot write %s: %s", o->svg, ok ? strerror(errno ? errno : EIO) : "no memory");
	return false;
}

/* A file says nothing by itself. */
static void say_written(const struct model *m, const char *file)
{
	const struct heap_profile *h = m->heap;
	char live[32], all[32];

	bytes_text(h->all.live_bytes, live, sizeof(live));
	bytes_text(h->all.alloc_bytes, all, sizeof(all));
	complain("wrote %s: %s live in %.0f blocks, %s allocated in %.1f s (%llu samples)", file,
		 live, h->all.live_objects, all, h->seconds, (unsigned long long)h->all.samples);
}

/* by_class: what was there before is among it as far as that is known. */
static void say_what_is_missing(const struct model *m, bool by_class)
{
	const struct heap_profile *h = m->heap;
	char line[320];

	if (h->stacks.counts.lost + h->unkept)
		complain("%llu samples are missing: numbers are low where they were allocations, "
			 "high where they were frees (give a larger --mean)",
			 (unsigned long long)(h->stacks.counts.lost + h->unkept));
	if (!h->begun_with && !h->history) {
		heap_note_before(h, by_class, line, sizeof(line));
		complain("%s", line);
	}
	if (h->unnoticed) {
		heap_note_unnoticed(h, line, sizeof(line));
		complain("%s", line);
	}
}

static bool write_pprof(FILE *out, const struct model *m, const struct options *o)
{
	if (!pprof_write(out, m->heap)) {
		complain("no memory");
		*o->heap.stacks.refused = -ENOMEM;
		return false;
	}
	return !fflush(out); /* if not, that is told at the end */
}

static void print(FILE *out, const struct model *m, const struct report_options *report)
{
	const struct options *o = (const struct options *)report; /* its first member */
	bool table = false;					  /* with the notes below it */

	if (!m->heap)
		return;
	if (o->svg && draw(m, o))
		say_written(m, o->svg);
	else if (o->svg)
		*o->heap.stacks.refused = -EIO;
	if (o->pprof) {
		if (write_pprof(out, m, o))
			say_written(m, report->output);
	} else if (o->folded) {
		print_folded(out, m, o);
	} else if (report->format != REPORT_TABLE) {
		report_view(out, report->view, m, report);
	} else if (!o->svg || report->output) {
		heap_print_table(out, m, report, NULL);
		table = true;
	}
	stack_tell_denied(&m->heap->stacks, m->target->pid, o->heap.stacks.refused);
	if (!table)
		say_what_is_missing(m, o->heap.show != HEAP_SHOW_ALLOC &&
					       (o->svg || o->pprof || o->folded));
}

static bool is_diff(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--diff"))
			return true;
	return false;
}

int cmd_heap(int argc, char **argv)
{
	static const struct argp_child children[] = {
		{&report_argp, 0, NULL, 0}, {&stack_argp, 0, NULL, 0}, {0}};
	static const struct argp argp = {
		option_table,
		parse,
		NULL,
		"Which code holds the memory: live bytes, allocation rate and lifetime by stack, "
		"of "
		"what is allocated from now on; with HAKMEM_PROFILE=1 in its environment, of all "
		"of "
		"it. Nothing is paid before and after.\v"
		"-o FILE.pb.gz writes a profile for `go tool pprof' and others.",
		children,
		NULL,
		NULL};
	static struct options o;
	int refused = 0, r;

	if (is_diff(argc, argv))
		return heap_diff(argc, argv);
	o.report.view = &view_heap;
	o.report.pid_seconds = 10;
	heap_options_init(&o.heap);
	o.heap.stacks.refused = &refused;
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	/* before the interval: who cannot write should not wait for it first */
	if (o.svg && !(o.drawing = fopen(o.svg, "we"))) {
		complain("cannot write %s: %s", o.svg, strerror(errno));
		return EXIT_FAIL;
	}
	r = report_run(&o.report, &o.heap, print);
	if (o.drawing)
		fclose(o.drawing);
	return refused ? exit_code_of(refused) : r;
}
