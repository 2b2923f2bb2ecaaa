/* Which code holds the memory, by stack, function, class, thread or site; what was there before. */
#include "heap.h"
#include "heap_print.h"
#include "stack_print.h"
#include "views.h"

#include <string.h>

#define ROW(m, r) (&(m)->heap->row[r])
#define SUM(m, r) (&ROW(m, r)->sum)

/* --- what lives and what was allocated since --- */

static struct value heap_live(const struct model *m, int row)
{
	return value_of(VALUE_BYTES, SUM(m, row)->live_bytes);
}

static struct value heap_error_of(const struct model *m, int row)
{
	double error = heap_error(SUM(m, row));

	return m->heap->by == HEAP_BY_SITE || error < 0 ? value_none()
							: value_of(VALUE_PERCENT, 100 * error);
}

static struct value heap_objects(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, SUM(m, row)->live_objects);
}

static struct value heap_share(const struct model *m, int row)
{
	return value_ratio(VALUE_PERCENT, 100 * SUM(m, row)->live_bytes, m->heap->all.live_bytes);
}

static struct value per_second(const struct model *m, enum value_kind kind, double n)
{
	return value_ratio(kind, n, m->heap->seconds);
}

static struct value heap_alloc_rate(const struct model *m, int row)
{
	return per_second(m, VALUE_BYTES, SUM(m, row)->alloc_bytes);
}

static struct value heap_count_rate(const struct model *m, int row)
{
	return per_second(m, VALUE_RATE, SUM(m, row)->alloc_objects);
}

static struct value heap_alloc_bytes(const struct model *m, int row)
{
	return value_of(VALUE_BYTES, SUM(m, row)->alloc_bytes);
}

static struct value heap_alloc_objects(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, SUM(m, row)->alloc_objects);
}

/* What all of them have lived, by those that ended: blocks that live on are not left out. */
static struct value heap_lifetime(const struct model *m, int row)
{
	return value_ratio(VALUE_NS, SUM(m, row)->lived_ns, SUM(m, row)->ended_objects);
}

static struct value sampled(const struct model *m, uint64_t n)
{
	return m->heap->by == HEAP_BY_SITE ? value_none() : value_of(VALUE_COUNT, (double)n);
}

static struct value heap_samples(const struct model *m, int row)
{
	return sampled(m, SUM(m, row)->samples);
}

static struct value heap_frees(const struct model *m, int row)
{
	return sampled(m, SUM(m, row)->frees);
}

static struct value heap_left(const struct model *m, int row)
{
	return sampled(m, SUM(m, row)->live_samples);
}

static struct value heap_cut(const struct model *m, int row)
{
	const struct stack_row *r = ROW(m, row)->stack;

	return r ? value_of(VALUE_COUNT, r->cut ? (double)SUM(m, row)->samples : 0) : value_none();
}

static struct value heap_what(const struct model *m, int row)
{
	const struct heap_row *r = ROW(m, row);

	return value_text_of(r->stack ? r->stack->callers : r->name, 0);
}

static struct value heap_folded(const struct model *m, int row)
{
	const struct heap_row *r = ROW(m, row);

	return r->stack ? value_text_of(r->stack->folded, 0) : value_none();
}

static struct value heap_whole(const struct model *m, int row)
{
	const struct heap_row *r = ROW(m, row);

	return r->stack ? value_of(VALUE_BOOL, !r->stack->cut) : value_none();
}

static const struct column columns[] = {
	{"live_bytes", "LIVE B", UNIT_BYTES,
	 "allocated since we attached and still there; of the history, too, with HAKMEM_PROFILE=1",
	 8, 100, heap_live},
	{"error", "+-%", UNIT_RATIO, "standard error of live_bytes, which is an estimate", 6, 88,
	 heap_error_of},
	{"live_objects", "OBJECTS", UNIT_COUNT, "blocks that these bytes are", 8, 96, heap_objects},
	{"live_share", "LIVE%", UNIT_RATIO, "of all live_bytes", 7, 94, heap_share},
	{"alloc_bytes_per_s", "ALLOCB/s", UNIT_BYTES_RATE, "allocated, freed meanwhile or not", 8,
	 95, heap_alloc_rate},
	{"allocs_per_s", "ALLOC/s", UNIT_RATE, "allocations", 8, 90, heap_count_rate},
	{"lifetime_ns", "LIFE", UNIT_NS,
	 "average lifetime of a block: time lived by all, the living included, by the number freed",
	 7, 92, heap_lifetime},
	{"alloc_bytes", "ALLOC", UNIT_BYTES, "allocated since we attached", 0, 0, heap_alloc_bytes},
	{"alloc_objects", "COUNT", UNIT_COUNT, "blocks that these bytes were", 0, 0,
	 heap_alloc_objects},
	{"samples", "SAMPLES", UNIT_COUNT,
	 "allocations sampled: what the other numbers are estimated from", 7, 80, heap_samples},
	{"sample_frees", "FREED", UNIT_COUNT, "of the blocks sampled, freed since", 7, 60,
	 heap_frees},
	{"live_samples", "LEFT", UNIT_COUNT, "of the blocks sampled, still there", 6, 70,
	 heap_left},
	{"truncated_samples", "CUT SMP", UNIT_COUNT, "samples whose stack is not whole", 7, 50,
	 heap_cut},
	{"what", "WHAT", UNIT_TEXT, "the stack, function, size class, thread or site", 44, 98,
	 heap_what},
	{"folded", "FOLDED", UNIT_TEXT, "the whole stack, as flame graphs are made from", 0, 0,
	 heap_folded},
	{"whole", "WHOLE", UNIT_BOOL, "the stack goes to where its thread began", 0, 0, heap_whole},
};

static int heap_rows(const struct model *m)
{
	return m->heap ? (int)m->heap->rows : 0;
}

static bool heap_shown(const struct model *m, int row)
{
	const struct heap_sums *s = SUM(m, row);

	bool live = s->live_bytes > 0, alloc = s->alloc_bytes > 0;

	return m->heap->show == HEAP_SHOW_LIVE	  ? live
	       : m->heap->show == HEAP_SHOW_ALLOC ? alloc
						  : live || alloc;
}

/* --- notes --- */

void heap_note_before(const struct heap_profile *h, bool by_class, char *out, size_t len)
{
	char before[32], now[32];

	if (h->begun_with || h->history) {
		snprintf(out, len, "%s: all blocks are in here, none was there before",
			 h->begun_with ? "watched from its start" : "HAKMEM_PROFILE=1");
		return;
	}
	bytes_text((double)h->all_before.bytes, before, sizeof(before));
	bytes_text((double)h->all_remain.bytes, now, sizeof(now));
	snprintf(out, len,
		 "there before we attached, and %s: %s in %llu blocks (exact); of it still "
		 "there: %s (estimated)",
		 by_class ? "in here by size class alone" : "not in here", before,
		 (unsigned long long)h->all_before.blocks, now);
}

static void note_samples(const struct heap_profile *h, char *out, size_t len)
{
	char mean[32];

	bytes_text((double)(1ULL << h->mean_log2), mean, sizeof(mean));
	snprintf(out, len,
		 "%llu allocations sampled, one in %s on average, %llu of them freed since, %llu "
		 "live%s; %llu lost",
		 (unsigned long long)h->all.samples, mean, (unsigned long long)h->all.frees,
		 (unsigned long long)h->all.live_samples,
		 h->history ? " (the history included)" : "",
		 (unsigned long long)(h->stacks.counts.lost + h->unkept));
}

static void note_history(const struct heap_profile *h, char *out, size_t len)
{
	snprintf(out, len, "history: %llu blocks sampled before we attached",
		 (unsigned long long)h->history_blocks);
	if (h->history_lost) {
		size_t n = strlen(out);

		snprintf(out + n, len - n, "; its table was full %llu times: live bytes are low",
			 (unsigned long long)h->history_lost);
	}
}

void heap_note_unnoticed(const struct heap_profile *h, char *out, size_t len)
{
	snprintf(out, len,
		 "no sample can be taken yet: no thread has noticed that they are wanted, %s",
		 h->hurried ? "since none has freed anything"
			    : "since its allocator had nothing to do but hits, and hakstat may not "
			      "write to the process (ptrace(2) access) to call it");
}

static bool heap_note(const struct model *m, int i, char *out, size_t len)
{
	const struct heap_profile *h = m->heap;

	if (!h)
		return false;
	switch (i) {
	case 0:
		heap_note_before(h, false, out, len);
		return true;
	case 1:
		note_samples(h, out, len);
		return true;
	case 2:
		stack_note_method(&h->stacks, out, len);
		return true;
	case 3:
		stack_note_cost(&h->stacks, out, len);
		return true;
	case 4:
		if (h->unnoticed)
			heap_note_unnoticed(h, out, len);
		else if (h->history)
			note_history(h, out, len);
		return h->unnoticed || h->history;
	default:
		return false;
	}
}

/* --- JSON --- */

static void heap_json(struct json *j, const struct model *m)
{
	const struct heap_profile *h = m->heap;

	if (!h)
		return;
	json_open(j, "heap", '{');
	json_number(j, "mean_bytes", 1ULL << h->mean_log2);
	json_real(j, "seconds", h->seconds);
	json_number(j, "sampled", h->stacks.counts.events[HAK_P_otel_memory_alloc]);
	json_number(j, "samples", h->all.samples);
	json_number(j, "sampled_by_target", h->sampled_by_target);
	json_number(j, "freed_by_target", h->freed_by_target);
	json_number(j, "freed", h->stacks.counts.events[HAK_P_otel_memory_free]);
	json_number(j, "frees", h->all.frees);
	json_number(j, "frees_unknown", h->unknown_frees);
	json_number(j, "frees_missed", h->replaced);
	json_number(j, "live_samples", h->all.live_samples);
	json_number(j, "lost", h->stacks.counts.lost);
	json_number(j, "unkept", h->unkept);
	json_bool(j, "from_start", h->begun_with);
	json_bool(j, "noticed", !h->unnoticed);
	json_bool(j, "history", h->history);
	json_number(j, "history_blocks", h->history_blocks);
	json_number(j, "history_lost", h->history_lost);
	json_number(j, "sites_lost", h->sites_lost);
	json_real(j, "live_bytes", h->all.live_bytes);
	json_real(j, "live_objects", h->all.live_objects);
	json_real(j, "alloc_bytes", h->all.alloc_bytes);
	json_real(j, "alloc_objects", h->all.alloc_objects);
	json_number(j, "before_bytes", h->all_before.bytes);
	json_number(j, "before_blocks", h->all_before.blocks);
	json_number(j, "before_remaining_bytes", h->all_remain.bytes);
	json_known(j, "bpf_ns", h->stacks.bpf_ns);
	json_known(j, "cpu_ns", h->stacks.cpu_ns);
	report_json_rows(j, "before", &view_heap_before, m);
	json_close(j, '}');
}

static void heap_json_row(struct json *j, const struct model *m, int row)
{
	if (ROW(m, row)->stack)
		stack_json_frames(j, ROW(m, row)->stack);
}

const struct view view_heap = {
	.name = "heap",
	.title = "live memory by what allocated it",
	.columns = COLUMNS(columns),
	.rows = heap_rows,
	.shown = heap_shown,
	.sort = 0,
	.source = &heap_source,
	.note = heap_note,
	.json = heap_json,
	.json_row = heap_json_row,
};

/* --- what was there before, by class --- */

#define BEFORE(m, row) (&(m)->heap->before[row])

static struct value before_size(const struct model *m, int row)
{
	return row ? value_of(VALUE_ID, m->heap->class_bytes[row]) : value_text_of("large", 1e18);
}

static struct value before_blocks(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, (double)BEFORE(m, row)->blocks);
}

static struct value before_bytes(const struct model *m, int row)
{
	return value_of(VALUE_BYTES, (double)BEFORE(m, row)->bytes);
}

static struct value before_share(const struct model *m, int row)
{
	return value_ratio(VALUE_PERCENT, 100.0 * (double)BEFORE(m, row)->bytes,
			   (double)m->heap->all_before.bytes);
}

static struct value before_left(const struct model *m, int row)
{
	return value_of(VALUE_BYTES, (double)m->heap->remain[row].bytes);
}

static struct value before_now(const struct model *m, int row)
{
	return value_of(VALUE_BYTES, (double)m->heap->now[row].bytes);
}

static struct value before_since(const struct model *m, int row)
{
	return value_of(VALUE_BYTES, m->heap->since_bytes[row]);
}

static const struct column before_columns[] = {
	{"class_bytes", "CLASS", UNIT_BYTES, "size of its blocks; large: above the largest class",
	 8, 100, before_size},
	{"before_blocks", "BLOCKS", UNIT_COUNT, "that were there when we attached, exactly", 9, 90,
	 before_blocks},
	{"before_bytes", "BEFORE B", UNIT_BYTES, "the same in bytes", 8, 99, before_bytes},
	{"before_share", "BEFORE%", UNIT_RATIO, "of all that was there", 7, 80, before_share},
	{"before_remaining", "REMAIN", UNIT_BYTES, "of these still there: an estimate", 8, 95,
	 before_left},
	{"since_bytes", "SINCE", UNIT_BYTES, "allocated since and still there: an estimate", 8, 85,
	 before_since},
	{"now_bytes", "NOW B", UNIT_BYTES, "live now, exactly", 8, 86, before_now},
};

static int before_rows(const struct model *m)
{
	return m->heap ? (int)m->heap->classes : 0;
}

static bool before_shown(const struct model *m, int row)
{
	return BEFORE(m, row)->blocks > 0;
}

const struct view view_heap_before = {
	.name = "heap_before",
	.title = "there before we attached, by size class",
	.columns = COLUMNS(before_columns),
	.rows = before_rows,
	.shown = before_shown,
	.sort = 2,
	.source = &heap_source,
};
