/*
 * How much unused memory may stay: a constant, a quarter of what is in use, and what experience
 * shows to be needed again. There is no background thread, so that who brings about that it is more
 * gives it back at once, or else it would stay in a process that falls silent.
 *
 * What is unused between blocks in use may be more while little less is in use than before: it does
 * not add to the peak, and more work than gain is in giving it back.
 */
#include "internal.h"

static uint64_t xgiven;	  /* bytes given back for being too many, and not asked for again yet */
static uint64_t xregret;  /* bytes that were asked for again soon after: kept next time */
static uint64_t xpeak;	  /* most bytes in use when memory was taken, of late */
static uint64_t xease_ms; /* when these three shrink next */

static size_t less(size_t x, size_t by)
{
	return x > by ? x - by : 0;
}

size_t limit_in_use(void)
{
	const struct hak_gauges *g = &hakmem_root.now;
	size_t used = peek(&g->used_bytes) + peek(&g->large_bytes);
	size_t back = peek(&g->returned_bytes) + peek(&arena_xuntouched);

	return less(used, back);
}

/* What experience shows to be needed again at once, together with what is in use no more than was
 * in use before. */
static size_t wanted_again(size_t used)
{
	size_t below = less(peek(&xpeak), used), regret = peek(&xregret);

	return regret < below ? regret : below;
}

static size_t unused_bytes(void)
{
	const struct hak_gauges *g = &hakmem_root.now;

	return peek(&g->dirty_bytes) + peek(&g->cached_bytes) + peek(&g->returned_bytes);
}

/* A constant and a quarter of what is in use. */
static size_t limit_of(size_t used)
{
	return hak_options.keep_bytes + used / 4;
}

/* Bytes by which unused memory exceeds so much, and what is wanted again. */
static size_t excess(size_t used, size_t may_stay)
{
	return less(unused_bytes(), may_stay + wanted_again(used));
}

/* The same for so many quarters of the limit. */
size_t limit_excess(unsigned quarters)
{
	size_t used = limit_in_use();

	return excess(used, limit_of(used) / 4 * quarters);
}

/*
 * Whether what is unused between blocks in use has to go, too. While more is in use than half of
 * the most of late, all that may stay that makes up for the rest: the process does not shrink.
 */
bool limit_parts_too(unsigned quarters)
{
	size_t used = limit_in_use(), peak = peek(&xpeak);
	size_t part = limit_of(used) / 4 * quarters, rest = used >= peak / 2 ? less(peak, used) : 0;

	return excess(used, rest > part ? rest : part);
}

/* Bytes that it may become more by. */
size_t limit_room(void)
{
	size_t used = limit_in_use();

	return less(limit_of(used) + wanted_again(used), unused_bytes());
}

/* Memory above the limit went to the system. */
void limit_note_given(size_t bytes)
{
	add_relaxed(&xgiven, bytes);
}

/* Fresh memory was taken: as far as some was given away a moment ago, that was a mistake. */
void limit_note_taken(size_t bytes)
{
	uint64_t given = peek(&xgiven), used = limit_in_use();

	if (used > peek(&xpeak))
		poke(&xpeak, used);
	if (likely(!given))
		return;
	/* a lost race costs a little precision of an estimate */
	poke(&xgiven, less(given, bytes));
	add_relaxed(&xregret, bytes < given ? bytes : given);
}

/* What is left of x after a decay time: half of it after eleven. */
static uint64_t fade(uint64_t x)
{
	return x - x / 16;
}

/*
 * Experience fades, slowly: many programs need what they gave back again after seconds, not after
 * a decay time. A trim forgets it all.
 */
void limit_ease(uint64_t now_ms, enum hak_os_reason why)
{
	if (why == HAK_OS_TRIM) {
		poke(&xgiven, 0);
		poke(&xregret, 0);
		poke(&xpeak, 0);
	} else if (why == HAK_OS_DECAY && now_ms >= peek(&xease_ms)) {
		poke(&xease_ms, now_ms + hak_options.decay_ms);
		poke(&xgiven, fade(peek(&xgiven)));
		poke(&xregret, fade(peek(&xregret)));
		poke(&xpeak, fade(peek(&xpeak)));
	}
}
