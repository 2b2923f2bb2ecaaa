/* Which stacks only accumulate, and with which confidence that is said. */
#include "leaks.h"
#include "stack_print.h"
#include "views.h"

#include <string.h>

#define LEAK(m, r) ((m)->heap->row[r].leak)
#define SUM(m, r) (&(m)->heap->row[r].sum)

static struct value leak_rate(const struct model *m, int row)
{
	return value_ratio(VALUE_BYTES, LEAK(m, row)->grown * 60, m->heap->seconds);
}

static struct value leak_grown(const struct model *m, int row)
{
	return value_of(VALUE_BYTES, LEAK(m, row)->grown);
}

static struct value leak_error(const struct model *m, int row)
{
	const struct leak *k = LEAK(m, row);

	return value_ratio(VALUE_PERCENT, 100 * k->error, k->grown);
}

static struct value leak_confidence(const struct model *m, int row)
{
	return value_of(VALUE_PERCENT, 100 * LEAK(m, row)->confidence);
}

static struct value leak_survivors(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, LEAK(m, row)->survivors);
}

static struct value leak_old(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, (double)SUM(m, row)->old);
}

static struct value leak_old_frees(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, (double)SUM(m, row)->old_frees);
}

static struct value leak_class(const struct model *m, int row)
{
	const struct leak *k = LEAK(m, row);

	return k->survivors ? value_of(VALUE_ID, m->heap->class_bytes[k->class]) : value_none();
}

static struct value leak_class_grown(const struct model *m, int row)
{
	const struct leak *k = LEAK(m, row);

	return k->survivors ? value_of(VALUE_BYTES, k->class_grown) : value_none();
}

static struct value leak_verdict(const struct model *m, int row)
{
	return value_text_of(leak_verdict_names[LEAK(m, row)->verdict], LEAK(m, row)->verdict);
}

static struct value leak_what(const struct model *m, int row)
{
	return value_text_of(m->heap->row[row].stack->callers, 0);
}

static struct value leak_folded(const struct model *m, int row)
{
	return value_text_of(m->heap->row[row].stack->folded, 0);
}

static struct value leak_whole(const struct model *m, int row)
{
	return value_of(VALUE_BOOL, !m->heap->row[row].stack->cut);
}

static const struct column columns[] = {
	{"grown_bytes", "GROWN", UNIT_BYTES,
	 "allocated since we watch and still there: an estimate", 8, 99, leak_grown},
	{"grown_error", "GROWN+-%", UNIT_RATIO, "standard error of it", 8, 85, leak_error},
	{"grown_per_min", "GROW/m", UNIT_BYTES, "the same per minute", 8, 95, leak_rate},
	{"confidence", "CONFID%", UNIT_RATIO,
	 "that its blocks, once older than the interval, live longer than we watched", 8, 98,
	 leak_confidence},
	{"survivors", "STAYED", UNIT_COUNT, "sampled blocks that are left", 6, 90, leak_survivors},
	{"old", "OLD", UNIT_COUNT, "sampled blocks that grew older than the interval", 6, 88,
	 leak_old},
	{"old_frees", "OLDFREED", UNIT_COUNT, "of those, freed since", 8, 89, leak_old_frees},
	{"class_bytes", "CLASS", UNIT_BYTES, "size of the blocks most of it is in, 0: large", 7, 70,
	 leak_class},
	{"class_grown_bytes", "CLASS+", UNIT_BYTES,
	 "what all blocks of that class have grown by, exactly", 8, 75, leak_class_grown},
	{"verdict", "VERDICT", UNIT_TEXT,
	 "leak; freed: old blocks are freed, too; stopped: it grows no more; turnover: the class "
	 "does not grow as much; few: too few samples",
	 9, 97, leak_verdict},
	{"callers", "CALLERS", UNIT_TEXT, "what was called, and from where", 40, 96, leak_what},
	{"folded", "FOLDED", UNIT_TEXT, "the whole stack, as flame graphs are made from", 0, 0,
	 leak_folded},
	{"whole", "WHOLE", UNIT_BOOL, "the stack goes to where its thread began", 0, 0, leak_whole},
};

static int leak_rows(const struct model *m)
{
	return m->heap && m->heap->leaks ? (int)m->heap->rows : 0;
}

static bool leak_shown(const struct model *m, int row)
{
	return LEAK(m, row)->verdict == LEAK_VERDICT_LEAK ||
	       (m->heap->all_leaks && LEAK(m, row)->survivors);
}

static bool leak_alert(const struct model *m, int row)
{
	return LEAK(m, row)->verdict == LEAK_VERDICT_LEAK;
}

static int count(const struct model *m, enum leak_verdict v)
{
	int n = 0;

	for (int i = 0; i < leak_rows(m); i++)
		n += LEAK(m, i)->verdict == v && LEAK(m, i)->survivors;
	return n;
}

static bool leak_note(const struct model *m, int i, char *out, size_t len)
{
	const struct heap_profile *h = m->heap;
	size_t at;

	if (!h || !h->leaks)
		return false;
	if (i > 0)
		return view_heap.note(m, i - 1, out, len);
	snprintf(out, len, "%d of %u stacks only accumulate (at %.0f %% confidence, in %.0f s);",
		 count(m, LEAK_VERDICT_LEAK), h->rows, 100 * LEAK_CONFIDENCE, h->seconds);
	for (int v = LEAK_VERDICT_LEAK + 1; v < LEAK_VERDICT_COUNT; v++) {
		at = strlen(out);
		snprintf(out + at, len - at, " %s %d%s", leak_verdict_names[v],
			 count(m, (enum leak_verdict)v), v + 1 < LEAK_VERDICT_COUNT ? "," : "");
	}
	return true;
}

static void leak_json(struct json *j, const struct model *m)
{
	const struct heap_profile *h = m->heap;

	if (!h || !h->leaks)
		return;
	json_open(j, "leaks", '{');
	json_number(j, "named", (uint64_t)count(m, LEAK_VERDICT_LEAK));
	json_real(j, "confidence_asked", LEAK_CONFIDENCE);
	json_real(j, "seconds", h->seconds);
	json_real(j, "old_after_s", (double)h->store->old_after_ns / 1e9);
	json_real(j, "step_s", (double)h->store->step_ns / 1e9);
	json_close(j, '}');
	view_heap.json(j, m);
}

static void leak_json_row(struct json *j, const struct model *m, int row)
{
	const struct heap_row *r = &m->heap->row[row];
	unsigned steps = leak_steps(m->heap);

	json_open(j, "growth", '[');
	for (unsigned i = 0; r->net && i < steps; i++)
		json_real(j, NULL, r->net[i]);
	json_close(j, ']');
	json_open(j, "ages", '[');
	for (unsigned i = 0; i < LEAK_AGES; i++)
		json_number(j, NULL, r->leak->age[i]);
	json_close(j, ']');
	stack_json_frames(j, r->stack);
}

const struct view view_leaks = {
	.name = "leaks",
	.title = "stacks that only accumulate",
	.columns = COLUMNS(columns),
	.rows = leak_rows,
	.shown = leak_shown,
	.sort = 0,
	.source = &heap_source,
	.alert = leak_alert,
	.note = leak_note,
	.json = leak_json,
	.json_row = leak_json_row,
};
