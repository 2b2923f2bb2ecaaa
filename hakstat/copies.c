/*
 * Which copy a program allocates from is up to the dynamic linker: the first in its order of search
 * that it preloaded or was told to load. Constructors run in the reverse of that order, so one that
 * serves nothing may have begun first; but it has made no allocation then. Of those that have, one
 * that came by dlopen or dlmopen began later. Counts only grow: the choice stays once it is made.
 */
#include "copies.h"

#include <stdio.h>
#include <string.h>

#define HEAPS_MOST 4096U /* enough to tell the one that serves: a program may lie about them */

static uint64_t allocs_of_heap(const struct hak_heap_view *v)
{
	uint64_t n = 0;

	for (unsigned c = 0; c < HAK_CLASS_MAX; c++)
		n += hak_bin_allocs(&v->bin[c], &v->stat[c]);
	return n;
}

/* Its allocations so far; about, since its threads go on. Of threads beyond the bound, none. */
static uint64_t allocs_of(const struct target *t)
{
	static struct hak_heap_view v;
	static struct hak_root root;
	uint64_t n = 0;

	if (target_read(t->reader, t->root_addr, &root, sizeof(root)) != sizeof(root))
		return 0;
	for (uint32_t i = 0; i < root.heaps && i < HEAPS_MOST; i++) {
		if (target_read(t->reader, hak_heap_addr(&root, i), &v, sizeof(v)) != sizeof(v))
			break;
		n += allocs_of_heap(&v);
	}
	return n;
}

static bool is_rather(const struct target *a, uint64_t allocs, const struct target *b)
{
	if (!allocs != !b->allocs)
		return allocs != 0;
	return a->start_ns < b->start_ns;
}

static void note_other(struct target *t, const char *lib, uint64_t allocs)
{
	if (t->copies > 1 && allocs <= t->other_allocs)
		return;
	snprintf(t->other, sizeof(t->other), "%s", lib);
	t->other_allocs = allocs;
}

void copies_keep(struct target *t, const struct target *other)
{
	static struct target was;
	uint64_t allocs;

	if (!t->copies) {
		*t = *other;
		t->copies = 1;
		return;
	}
	if (t->copies == 1)
		t->allocs = allocs_of(t);
	allocs = allocs_of(other);
	if (is_rather(other, allocs, t)) {
		was = *t;
		*t = *other;
		t->allocs = allocs;
		t->copies = was.copies;
		memcpy(t->other, was.other, sizeof(t->other));
		t->other_allocs = was.other_allocs;
		note_other(t, was.lib, was.allocs);
	} else {
		note_other(t, other->lib, allocs);
	}
	t->copies++;
}
