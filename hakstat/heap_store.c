#include "heap_store.h"

#include <stdlib.h>
#include <string.h>

#define BLOCKS_MAX ((size_t)1 << 22)
#define CELLS_MAX (1U << 18)

void heap_store_free(struct heap_store *s)
{
	struct heap_store empty = {.old_after_ns = s->old_after_ns, .step_ns = s->step_ns};

	free(s->block);
	free(s->cell);
	free(s->slot);
	free(s->net);
	*s = empty;
}

/* --- cells --- */

static uint64_t mix(uint64_t v)
{
	v *= 0x9e3779b97f4a7c15U;
	return v ^ v >> 29;
}

static uint32_t *slot_of(const struct heap_store *s, const struct cell_key *key)
{
	uint64_t i = mix(key->stack ^ mix(key->tid ^ mix(key->class)));

	for (;; i++) {
		uint32_t *slot = &s->slot[i & (s->slots - 1)];

		if (!*slot || !memcmp(&s->cell[*slot - 1].key, key, sizeof(*key)))
			return slot;
	}
}

static bool grow_slots(struct heap_store *s)
{
	struct heap_store bigger = *s;

	bigger.slots = s->slots ? 2 * s->slots : 1024;
	bigger.slot = calloc(bigger.slots, sizeof(*bigger.slot));
	if (!bigger.slot)
		return false;
	for (uint32_t i = 0; i < s->cells; i++)
		*slot_of(&bigger, &s->cell[i].key) = i + 1;
	free(s->slot);
	s->slot = bigger.slot;
	s->slots = bigger.slots;
	return true;
}

static bool grow_cells(struct heap_store *s)
{
	uint32_t room = s->cells_room ? 2 * s->cells_room : 256;
	struct cell *cell;
	double *net;

	if (room > CELLS_MAX)
		return false;
	cell = realloc(s->cell, room * sizeof(*cell));
	if (!cell)
		return false;
	s->cell = cell;
	if (s->step_ns) {
		net = realloc(s->net, (size_t)room * STEPS_MAX * sizeof(*net));
		if (!net)
			return false;
		s->net = net;
	}
	s->cells_room = room;
	return true;
}

/* Index, or CELLS_MAX: there are too many. */
static uint32_t find_cell(struct heap_store *s, const struct cell_key *key)
{
	uint32_t *slot;

	if (2 * (size_t)s->cells >= s->slots && !grow_slots(s))
		return CELLS_MAX;
	slot = slot_of(s, key);
	if (*slot)
		return *slot - 1;
	if (s->cells == s->cells_room && !grow_cells(s))
		return CELLS_MAX;
	memset(&s->cell[s->cells], 0, sizeof(*s->cell));
	s->cell[s->cells].key = *key;
	if (s->net)
		memset(&s->net[(size_t)s->cells * STEPS_MAX], 0, STEPS_MAX * sizeof(*s->net));
	*slot = ++s->cells;
	return s->cells - 1;
}

/* --- the timeline --- */

static void halve_steps(struct heap_store *s)
{
	for (size_t c = 0; c < s->cells; c++) {
		double *net = &s->net[c * STEPS_MAX];

		for (unsigned i = 0; i < STEPS_MAX / 2; i++)
			net[i] = net[2 * i] + net[2 * i + 1];
		memset(net + STEPS_MAX / 2, 0, STEPS_MAX / 2 * sizeof(*net));
	}
	s->step_ns *= 2;
}

unsigned heap_store_step(struct heap_store *s, uint64_t time_ns)
{
	uint64_t since = time_ns > s->begin_ns ? time_ns - s->begin_ns : 0;

	while (since / s->step_ns >= STEPS_MAX)
		halve_steps(s);
	return (unsigned)(since / s->step_ns);
}

static void add_net(struct heap_store *s, uint32_t cell, uint64_t time_ns, double bytes)
{
	if (s->net)
		s->net[(size_t)cell * STEPS_MAX + heap_store_step(s, time_ns)] += bytes;
}

/* --- blocks --- */

static size_t home_of(const struct heap_store *s, uint64_t ptr)
{
	return mix(ptr >> 4) & (s->room - 1);
}

static struct block *find_block(const struct heap_store *s, uint64_t ptr)
{
	for (size_t i = home_of(s, ptr);; i = (i + 1) & (s->room - 1))
		if (!s->block[i].ptr || s->block[i].ptr == ptr)
			return &s->block[i];
}

const struct block *heap_store_find(const struct heap_store *s, uint64_t ptr)
{
	const struct block *b = s->room ? find_block(s, ptr) : NULL;

	return b && b->ptr ? b : NULL;
}

/* Those behind it move up, so that a search that ends at a free slot misses none. */
static void remove_block(struct heap_store *s, struct block *b)
{
	size_t hole = (size_t)(b - s->block), i = hole;

	for (;;) {
		i = (i + 1) & (s->room - 1);
		if (!s->block[i].ptr)
			break;
		if (((i - home_of(s, s->block[i].ptr)) & (s->room - 1)) <
		    ((i - hole) & (s->room - 1)))
			continue;
		s->block[hole] = s->block[i];
		hole = i;
	}
	s->block[hole].ptr = 0;
	s->live--;
}

static bool grow_blocks(struct heap_store *s)
{
	struct heap_store bigger = *s;

	if (2 * s->live < s->room)
		return true;
	if (s->live >= BLOCKS_MAX)
		return false;
	bigger.room = s->room ? 2 * s->room : 1024;
	bigger.block = calloc(bigger.room, sizeof(*bigger.block));
	if (!bigger.block)
		return false;
	for (size_t i = 0; i < s->room; i++)
		if (s->block[i].ptr)
			*find_block(&bigger, s->block[i].ptr) = s->block[i];
	free(s->block);
	s->block = bigger.block;
	s->room = bigger.room;
	return true;
}

static double objects_of(const struct block *b)
{
	return b->weight / (double)(b->size ? b->size : 1);
}

void heap_store_add(struct heap_store *s, const struct cell_key *key, const struct block *b,
		    bool history)
{
	uint32_t cell = b->ptr && grow_blocks(s) ? find_cell(s, key) : CELLS_MAX;
	struct block *at;
	struct heap_sums *past;

	if (cell == CELLS_MAX) {
		s->unkept++;
		return;
	}
	at = find_block(s, b->ptr);
	if (at->ptr) {
		/* the same as the history has it: it was allocated while that was read */
		s->replaced += at->size != b->size || at->weight != b->weight;
		add_net(s, at->cell, b->time_ns, -at->weight);
	} else {
		s->live++;
	}
	*at = *b;
	at->cell = cell;
	if (history)
		return;
	past = &s->cell[cell].past;
	past->samples++;
	past->alloc_bytes += b->weight;
	past->alloc_objects += objects_of(b);
	add_net(s, cell, b->time_ns, b->weight);
}

/* Of a block of the history it is known that it lived until we came: that proves nothing. */
static void add_age(const struct heap_store *s, struct heap_sums *to, const struct block *b,
		    uint64_t now_ns, bool ended)
{
	uint64_t from = b->time_ns + s->old_after_ns;

	if (from < s->begin_ns)
		from = s->begin_ns;
	if (!s->old_after_ns || now_ns <= from)
		return;
	to->old++;
	to->old_frees += ended;
	to->old_ns += (double)(now_ns - from);
}

static uint64_t age_of(const struct block *b, uint64_t now_ns)
{
	return now_ns > b->time_ns ? now_ns - b->time_ns : 0;
}

void heap_store_end(struct heap_store *s, uint64_t ptr, uint64_t time_ns)
{
	struct block *b = s->room ? find_block(s, ptr) : NULL;
	struct heap_sums *past;

	if (!b || !b->ptr) {
		s->unknown_frees++;
		return;
	}
	past = &s->cell[b->cell].past;
	past->frees++;
	past->ended_objects += objects_of(b);
	past->lived_ns += objects_of(b) * (double)age_of(b, time_ns);
	add_age(s, past, b, time_ns, true);
	add_net(s, b->cell, time_ns, -b->weight);
	remove_block(s, b);
}

/* --- sums --- */

static void add_live(const struct heap_store *s, const struct block *b, uint64_t now_ns)
{
	struct heap_sums *sum = &s->cell[b->cell].sum;

	sum->live_samples++;
	sum->live_bytes += b->weight;
	sum->live_objects += objects_of(b);
	sum->live_variance += b->weight * (b->weight - (double)b->size);
	sum->lived_ns += objects_of(b) * (double)age_of(b, now_ns);
	add_age(s, sum, b, now_ns, false);
	if (!sum->oldest_ns || b->time_ns < sum->oldest_ns)
		sum->oldest_ns = b->time_ns;
}

void heap_store_sum(struct heap_store *s, uint64_t now_ns)
{
	for (uint32_t i = 0; i < s->cells; i++)
		s->cell[i].sum = s->cell[i].past;
	for (size_t i = 0; i < s->room; i++)
		if (s->block[i].ptr)
			add_live(s, &s->block[i], now_ns);
}

void heap_sums_add(struct heap_sums *to, const struct heap_sums *more)
{
	to->alloc_bytes += more->alloc_bytes;
	to->alloc_objects += more->alloc_objects;
	to->live_bytes += more->live_bytes;
	to->live_objects += more->live_objects;
	to->live_variance += more->live_variance;
	to->ended_objects += more->ended_objects;
	to->lived_ns += more->lived_ns;
	to->samples += more->samples;
	to->frees += more->frees;
	to->live_samples += more->live_samples;
	to->old += more->old;
	to->old_frees += more->old_frees;
	to->old_ns += more->old_ns;
	if (more->oldest_ns && (!to->oldest_ns || more->oldest_ns < to->oldest_ns))
		to->oldest_ns = more->oldest_ns;
}
