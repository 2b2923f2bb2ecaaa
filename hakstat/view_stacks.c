/* User stacks at probes: each row one stack, or one function. */
#include "stack_print.h"
#include "views.h"

#define ROW(m, row) (&(m)->stacks->row[row])

static struct value stack_events(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, ROW(m, row)->sum.events);
}

static struct value stack_rate(const struct model *m, int row)
{
	return m->stacks->seconds > 0
		       ? value_of(VALUE_RATE, ROW(m, row)->sum.events / m->stacks->seconds)
		       : value_none();
}

static struct value stack_share(const struct model *m, int row)
{
	return value_ratio(VALUE_PERCENT, 100 * ROW(m, row)->sum.events, m->stacks->all.events);
}

static struct value stack_bytes(const struct model *m, int row)
{
	const struct stack_row *r = ROW(m, row);

	return probe_has_bytes(r->probe) ? value_of(VALUE_BYTES, r->sum.bytes) : value_none();
}

static struct value stack_ns(const struct model *m, int row)
{
	const struct stack_row *r = ROW(m, row);

	return probe_has_ns(r->probe) ? value_of(VALUE_NS, r->sum.ns) : value_none();
}

static struct value stack_mean(const struct model *m, int row)
{
	const struct stack_row *r = ROW(m, row);

	return probe_has_ns(r->probe) ? value_ratio(VALUE_NS, r->sum.ns, r->sum.events)
				      : value_none();
}

static struct value stack_taken(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, (double)ROW(m, row)->sum.taken);
}

static struct value stack_cut(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, (double)ROW(m, row)->sum.cut);
}

static struct value stack_probe(const struct model *m, int row)
{
	return value_text_of(hak_probes[ROW(m, row)->probe].name, 0);
}

static struct value stack_callers(const struct model *m, int row)
{
	return value_text_of(ROW(m, row)->callers, 0);
}

static struct value stack_folded(const struct model *m, int row)
{
	return value_text_of(ROW(m, row)->folded, 0);
}

static struct value stack_whole(const struct model *m, int row)
{
	return value_of(VALUE_BOOL, !ROW(m, row)->cut);
}

static const struct column columns[] = {
	{"events", "EVENTS", UNIT_COUNT,
	 "times the probe fired with this stack; an estimate where not every stack was taken", 9,
	 99, stack_events},
	{"events_per_s", "EVENT/s", UNIT_RATE, "the same per second", 8, 90, stack_rate},
	{"share", "SHARE%", UNIT_RATIO, "of all events of these probes", 7, 97, stack_share},
	{"bytes", "BYTES", UNIT_BYTES, "that the probe tells: refilled, flushed, mapped and so on",
	 8, 95, stack_bytes},
	{"time_ns", "TIME", UNIT_NS, "that the probe tells: waited for a lock, in system calls", 8,
	 94, stack_ns},
	{"mean_ns", "MEAN", UNIT_NS, "the same for one event", 8, 85, stack_mean},
	{"taken", "TAKEN", UNIT_COUNT, "stacks taken: what the other numbers are estimated from", 7,
	 70, stack_taken},
	{"truncated", "CUT", UNIT_COUNT, "of those, not whole", 6, 60, stack_cut},
	{"probe", "PROBE", UNIT_TEXT, "which probe", 15, 80, stack_probe},
	{"callers", "CALLERS", UNIT_TEXT, "what was called, and from where", 60, 98, stack_callers},
	{"folded", "FOLDED", UNIT_TEXT, "the whole stack, as flame graphs are made from", 0, 0,
	 stack_folded},
	{"whole", "WHOLE", UNIT_BOOL, "the stack goes to where its thread began", 0, 0,
	 stack_whole},
};

static int stack_rows(const struct model *m)
{
	return m->stacks ? (int)m->stacks->rows : 0;
}

static void note_taken(const struct stacks *s, char *out, size_t len)
{
	unsigned long long events = s->events, taken = s->counts.taken;
	const char *when = s->off ? ", while probes were not off" : "";

	if (s->counts.skipped + s->counts.lost + s->unkept == 0)
		snprintf(out, len, "%llu events, %llu stacks: all of them%s", events, taken, when);
	else
		snprintf(out, len,
			 "%llu events (exact%s), stacks of %llu: the rest is estimated (%llu left "
			 "out to keep to --rate, %llu lost)",
			 events, when, taken, (unsigned long long)s->counts.skipped,
			 (unsigned long long)(s->counts.lost + s->unkept));
}

void stack_note_method(const struct stacks *s, char *out, size_t len)
{
	snprintf(out, len,
		 "unwound by CFI %llu, by frame pointers %llu, by both %llu; cut: %llu at the end "
		 "of the slice, %llu at the depth, %llu for want of CFI",
		 (unsigned long long)s->method[UNWIND_CFI],
		 (unsigned long long)s->method[UNWIND_CHAIN],
		 (unsigned long long)s->method[UNWIND_BOTH],
		 (unsigned long long)s->end[UNWIND_SLICE], (unsigned long long)s->end[UNWIND_DEPTH],
		 (unsigned long long)s->end[UNWIND_BROKEN]);
}

void stack_note_cost(const struct stacks *s, char *out, size_t len)
{
	char each[32] = "-";

	if (s->bpf_ns >= 0 && s->events)
		snprintf(each, sizeof(each), "%.2f us",
			 (double)s->bpf_ns / 1e3 / (double)s->events);
	snprintf(out, len, "cost: %s of BPF an event in the target, %.1f %% of a CPU here", each,
		 s->seconds > 0 && s->cpu_ns >= 0 ? (double)s->cpu_ns / 1e7 / s->seconds : 0.0);
}

static bool stack_note(const struct model *m, int i, char *out, size_t len)
{
	const struct stacks *s = m->stacks;

	if (!s || i > 3 || (i == 3 && !s->closed))
		return false;
	if (i == 0)
		note_taken(s, out, len);
	else if (i == 1)
		stack_note_method(s, out, len);
	else if (i == 2)
		stack_note_cost(s, out, len);
	else
		snprintf(out, len, "%u files of the process could not be opened%s", s->closed,
			 s->denied ? " (no permission)" : "");
	return true;
}

/* In top: what it is of, and the whole stack under the cursor. */
static bool stack_detail(const struct model *m, int row, int i, char *out, size_t len)
{
	const struct stack_row *r = row >= 0 ? ROW(m, row) : NULL;
	if (!m->stacks)
		return false;
	if (i == 0) {
		snprintf(out, len, "%s, for %.0f s: %llu events", m->stacks->title,
			 m->stacks->seconds, (unsigned long long)m->stacks->events);
		return true;
	}
	snprintf(out, len, "  ");
	return r && stack_line(r, (unsigned)i - 1, out + 2, len - 2);
}

static void stack_json(struct json *j, const struct model *m)
{
	const struct stacks *s = m->stacks;

	if (!s)
		return;
	json_open(j, "stacks", '{');
	json_number(j, "events", s->events);
	json_number(j, "taken", s->counts.taken);
	json_number(j, "left_out", s->counts.skipped);
	json_number(j, "lost", s->counts.lost + s->unkept);
	json_number(j, "by_cfi", s->method[UNWIND_CFI]);
	json_number(j, "by_frame_pointers", s->method[UNWIND_CHAIN]);
	json_number(j, "by_both", s->method[UNWIND_BOTH]);
	json_number(j, "cut_by_slice", s->end[UNWIND_SLICE]);
	json_number(j, "cut_by_depth", s->end[UNWIND_DEPTH]);
	json_number(j, "cut_without_cfi", s->end[UNWIND_BROKEN]);
	json_number(j, "files_not_opened", s->closed);
	json_known(j, "bpf_ns", s->bpf_ns);
	json_known(j, "cpu_ns", s->cpu_ns);
	json_close(j, '}');
}

/* --- frames of a stack, in JSON --- */

#define FRAME(m) ((const struct frame *)(m)->own)
#define FRAME_(name, of_frame)                                   \
	static struct value name(const struct model *m, int row) \
	{                                                        \
		const struct frame *f = FRAME(m);                \
                                                                 \
		(void)row;                                       \
		return (of_frame);                               \
	}
FRAME_(frame_function, value_text_or_none(f->function))
FRAME_(frame_file, value_text_or_none(f->line ? f->file : NULL))
FRAME_(frame_line, f->file && f->line ? value_of(VALUE_ID, f->line) : value_none())
FRAME_(frame_module, value_text_or_none(f->module))
FRAME_(frame_offset, value_of(VALUE_COUNT, (double)f->offset))
FRAME_(frame_inlined, value_of(VALUE_BOOL, f->inlined))

static const struct column frame_columns[] = {
	{"function", "FUNCTION", UNIT_TEXT, "of the frame", 0, 0, frame_function},
	{"file", "FILE", UNIT_TEXT, "of its source", 0, 0, frame_file},
	{"line", "LINE", UNIT_COUNT, "in that file", 0, 0, frame_line},
	{"module", "MODULE", UNIT_TEXT, "program or library the code is in", 0, 0, frame_module},
	{"offset", "OFFSET", UNIT_COUNT, "of the code in the module", 0, 0, frame_offset},
	{"inlined", "INLINED", UNIT_BOOL, "into the frame that follows", 0, 0, frame_inlined},
};

static int frame_rows(const struct model *m)
{
	return FRAME(m) != NULL;
}

const struct view view_frames = {
	.name = "frames",
	.title = "frames of a stack",
	.columns = COLUMNS(frame_columns),
	.rows = frame_rows,
	.shown = always_shown,
	.sort = VIEW_UNSORTED,
};

static void json_frame(struct json *j, const struct frame *f)
{
	static struct model m;

	m.own = f;
	json_open(j, NULL, '{');
	report_json_columns(j, &view_frames, &m, 0);
	json_close(j, '}');
	m.own = NULL;
}

void stack_json_frames(struct json *j, const struct stack_row *r)
{
	json_open(j, "frames", '[');
	for (unsigned i = 0; i < r->frames; i++)
		json_frame(j, r->frame[i]);
	json_close(j, ']');
}

static void stack_json_row(struct json *j, const struct model *m, int row)
{
	stack_json_frames(j, ROW(m, row));
}

const struct view view_stacks = {
	.name = "stacks",
	.by_bpf = "*",
	.title = "stacks",
	.columns = COLUMNS(columns),
	.rows = stack_rows,
	.shown = always_shown,
	.sort = 0,
	.source = &stacks_source,
	.note = stack_note,
	.detail = stack_detail,
	.json = stack_json,
	.json_row = stack_json_row,
};
