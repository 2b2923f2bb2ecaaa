/* A heap profile as stacks of names. */
#include "profile.h"
#include "heap.h"

#include <stdlib.h>
#include <string.h>

static bool add_row(struct profile *p, const struct heap_row *row)
{
	const struct stack_row *r = row->stack;
	struct profile_stack *s = profile_add(p, r->frames + 1);
	char name[4200];

	if (!s || (r->cut && !profile_frame(p, s, "[cut]")))
		return false;
	for (unsigned i = r->frames; i--;) {
		frame_name(r->frame[i], name, sizeof(name));
		if (!profile_frame(p, s, name))
			return false;
	}
	s->value[PROFILE_ALLOC_OBJECTS] = row->sum.alloc_objects;
	s->value[PROFILE_ALLOC_SPACE] = row->sum.alloc_bytes;
	s->value[PROFILE_INUSE_OBJECTS] = row->sum.live_objects;
	s->value[PROFILE_INUSE_SPACE] = row->sum.live_bytes;
	return true;
}

static bool add_before(struct profile *p, const struct heap_profile *h, unsigned class)
{
	struct profile_stack *s = profile_add(p, 2);
	char name[32] = "[large]";

	if (class)
		snprintf(name, sizeof(name), "[class %u]", h->class_bytes[class]);
	if (!s || !profile_frame(p, s, "[before attach]") || !profile_frame(p, s, name))
		return false;
	s->value[PROFILE_INUSE_OBJECTS] = (double)h->remain[class].blocks;
	s->value[PROFILE_INUSE_SPACE] = (double)h->remain[class].bytes;
	return true;
}

bool profile_of_heap(struct profile *p, const struct heap_profile *h)
{
	bool ok = true;

	p->seconds = h->seconds;
	for (unsigned i = 0; i < h->rows && ok; i++)
		if (h->row[i].stack)
			ok = add_row(p, &h->row[i]);
	for (unsigned i = 0; i < h->classes && ok; i++)
		if (!h->history && h->remain[i].blocks)
			ok = add_before(p, h, i);
	return ok;
}
