#include "traces.h"
#include "hakstat.h"

#include <stdlib.h>
#include <string.h>

#define STACKS_MAX (1U << 17) /* different ones */
/* Between looks at the mappings: what is mapped where another file was is not known before. */
#define LOOK_LEAST_S 0.05
#define LOOK_MOST_S 1.0
#define LOOK_REST 50 /* times what a look takes */

bool traces_open(struct traces *t, unsigned depth, bool frame_pointers)
{
	t->modules = modules_open();
	t->symbols = t->modules ? symbols_open(t->modules) : NULL;
	t->unwinder = t->modules ? unwind_open(t->modules, depth, frame_pointers) : NULL;
	t->looked = 0;
	return t->symbols && t->unwinder;
}

void traces_forget(struct traces *t)
{
	for (size_t i = 0; i < t->room; i++)
		free(t->stack[i]);
	free(t->stack);
	t->stack = NULL;
	t->room = t->used = 0;
	memset(t->method, 0, sizeof(t->method));
	memset(t->end, 0, sizeof(t->end));
}

void traces_close(struct traces *t)
{
	traces_forget(t);
	unwind_close(t->unwinder);
	symbols_close(t->symbols);
	modules_close(t->modules);
	t->unwinder = NULL;
	t->symbols = NULL;
	t->modules = NULL;
}

void traces_look(struct traces *t, const struct target *target, double at_least)
{
	double now = clock_s();

	if (now - t->looked < at_least)
		return;
	modules_look(t->modules, target->reader ? target->reader : target->pid);
	t->looked = clock_s();
	t->look_s = t->looked - now;
}

double traces_pause(const struct traces *t)
{
	double s = t->look_s * LOOK_REST;

	return s < LOOK_LEAST_S ? LOOK_LEAST_S : s > LOOK_MOST_S ? LOOK_MOST_S : s;
}

/* --- stacks that are the same --- */

static uint64_t hash_stack(const struct callers *c, unsigned probe, unsigned generation)
{
	uint64_t h =
		0xcbf29ce484222325U ^ probe ^ (uint64_t)generation << 32; /* FNV-1a, by words */

	for (unsigned i = 0; i < c->n; i++) {
		h = (h ^ c->pc[i]) * 0x100000001b3U;
		h ^= h >> 29;
	}
	return h;
}

static struct raw_stack **slot_of(struct traces *t, uint64_t hash, unsigned probe,
				  unsigned generation)
{
	const struct callers *k = &t->callers;
	bool cut = k->end != UNWIND_WHOLE;

	for (size_t i = hash;; i++) {
		struct raw_stack **p = &t->stack[i & (t->room - 1)], *s = *p;

		if (!s ||
		    (s->hash == hash && s->probe == probe && s->generation == generation &&
		     s->cut == cut && s->n == k->n && !memcmp(s->pc, k->pc, k->n * sizeof(*s->pc))))
			return p;
	}
}

static bool grow(struct traces *t)
{
	size_t room = t->room ? 2 * t->room : 1024;
	struct raw_stack **p;

	if (t->used >= STACKS_MAX)
		return false;
	if (2 * t->used < t->room)
		return true;
	p = calloc(room, sizeof(struct raw_stack *));
	if (!p)
		return false;
	for (size_t i = 0; i < t->room; i++)
		if (t->stack[i]) {
			size_t k = t->stack[i]->hash;

			while (p[k & (room - 1)])
				k++;
			p[k & (room - 1)] = t->stack[i];
		}
	free(t->stack);
	t->stack = p;
	t->room = room;
	return true;
}

static struct raw_stack *find_stack(struct traces *t, unsigned probe)
{
	unsigned generation = modules_generation(t->modules);
	uint64_t hash = hash_stack(&t->callers, probe, generation);
	struct raw_stack **slot, *s;

	if (!grow(t)) {
		slot = t->room ? slot_of(t, hash, probe, generation) : NULL;
		return slot ? *slot : NULL;
	}
	slot = slot_of(t, hash, probe, generation);
	if (*slot)
		return *slot;
	s = calloc(1, sizeof(*s) + t->callers.n * sizeof(*s->pc));
	if (!s)
		return NULL;
	s->hash = hash;
	s->probe = probe;
	s->generation = generation;
	s->id = (unsigned)t->used;
	s->n = t->callers.n;
	s->cut = t->callers.end != UNWIND_WHOLE;
	memcpy(s->pc, t->callers.pc, s->n * sizeof(*s->pc));
	*slot = s;
	t->used++;
	return s;
}

struct raw_stack *traces_add(struct traces *t, const struct target *target, unsigned probe,
			     const struct stack_copy *copy)
{
	struct raw_stack *s;

	unwind(t->unwinder, copy, &t->callers);
	if (t->callers.end == UNWIND_BROKEN && !t->fresh) {
		traces_look(t, target, 0); /* in a library that is new? */
		t->fresh = true;
		unwind(t->unwinder, copy, &t->callers);
	}
	s = find_stack(t, probe);
	if (s) {
		t->method[t->callers.method]++;
		t->end[t->callers.end]++;
	}
	return s;
}

struct raw_stack *traces_add_event(struct traces *t, const struct target *target,
				   const struct stack_event *e)
{
	struct stack_copy copy = {.slice = e->slice,
				  .bytes = e->bytes,
				  .whole = e->whole,
				  .chain = (const uint64_t *)e->frame,
				  .links = e->chain};

	memcpy(copy.reg, e->reg, sizeof(copy.reg));
	return traces_add(t, target, e->probe, &copy);
}

struct raw_stack **traces_list(const struct traces *t)
{
	struct raw_stack **all = calloc(t->used + 1, sizeof(struct raw_stack *));

	for (size_t i = 0; all && i < t->room; i++)
		if (t->stack[i])
			all[t->stack[i]->id] = t->stack[i];
	return all;
}
