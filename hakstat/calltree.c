#include "calltree.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash(uint64_t h, const char *s)
{
	h = (h ^ 0x9e37U) * 0x100000001b3U;
	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3U;
	return h;
}

static struct call_node *add_node(struct call_node *parent, const char *name)
{
	struct call_node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->name = name;
	n->parent = parent;
	n->id = hash(parent ? parent->id : 0xcbf29ce484222325U, name);
	if (parent) {
		n->next = parent->child;
		parent->child = n;
	}
	return n;
}

static struct call_node *child_named(struct call_node *n, const char *name)
{
	for (struct call_node *c = n->child; c; c = c->next)
		if (!strcmp(c->name, name))
			return c;
	return add_node(n, name);
}

static void add_values(struct call_node *n, const struct profile_stack *s, bool before)
{
	double *to = before ? n->before : n->value;

	for (int v = 0; v < PROFILE_VALUE_COUNT; v++)
		to[v] += s->value[v];
}

static bool add_stack(struct call_node *root, const struct profile_stack *s, bool before,
		      bool callers)
{
	struct call_node *n = root;

	add_values(n, s, before);
	for (unsigned i = 0; i < s->n; i++) {
		n = child_named(n, s->frame[callers ? s->n - 1 - i : i]);
		if (!n)
			return false;
		add_values(n, s, before);
	}
	return true;
}

static bool add_all(struct call_node *root, const struct profile *p, bool before, bool callers)
{
	for (size_t i = 0; i < p->n; i++)
		if (!add_stack(root, &p->stack[i], before, callers))
			return false;
	return true;
}

static int widest_first(const void *a, const void *b)
{
	const struct call_node *const *x = a, *const *y = b;

	if ((*x)->width != (*y)->width)
		return (*x)->width < (*y)->width ? 1 : -1;
	return strcmp((*x)->name, (*y)->name);
}

static void sort_children(struct call_node *n)
{
	struct call_node **all;
	size_t count = 0;

	for (const struct call_node *c = n->child; c; c = c->next)
		count++;
	all = count > 1 ? malloc(count * sizeof(struct call_node *)) : NULL;
	if (!all)
		return; /* as they came */
	count = 0;
	for (struct call_node *c = n->child; c; c = c->next)
		all[count++] = c;
	qsort(all, count, sizeof(*all), widest_first);
	n->child = all[0];
	for (size_t i = 0; i < count; i++)
		all[i]->next = i + 1 < count ? all[i + 1] : NULL;
	free(all);
}

/* Of its own: what is not of those it calls. */
static void find_width(struct call_node *n, enum profile_value by)
{
	double own = n->value[by], own_before = n->before[by];

	for (struct call_node *c = n->child; c; c = c->next) {
		find_width(c, by);
		own -= c->value[by];
		own_before -= c->before[by];
		n->width += c->width;
	}
	own = own > own_before ? own : own_before;
	n->width += own > 0 ? own : 0;
	sort_children(n);
}

struct call_node *calltree_make(const struct profile *p, const struct profile *from,
				enum profile_value by, bool callers, const char *root)
{
	struct call_node *n = add_node(NULL, root);

	if (!n || !add_all(n, p, false, callers) || (from && !add_all(n, from, true, callers))) {
		calltree_free(n);
		return NULL;
	}
	find_width(n, by);
	return n;
}

void calltree_free(struct call_node *root)
{
	if (!root)
		return;
	for (struct call_node *c = root->child, *next; c; c = next) {
		next = c->next;
		calltree_free(c);
	}
	free(root);
}

unsigned calltree_depth(const struct call_node *n)
{
	unsigned deepest = 0;

	for (const struct call_node *c = n->child; c; c = c->next) {
		unsigned d = calltree_depth(c);

		deepest = d > deepest ? d : deepest;
	}
	return deepest + 1;
}
