#include "heap_tree.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 20000
#define STATES_MAX ((size_t)1 << 16)
#define INDENT_MAX 40
#define OPEN_SHARE 0.1 /* at first nodes are open that hold so much of all */

/* --- what is open --- */

static struct tree_state *state_of(const struct heap_tree *t, uint64_t id)
{
	for (size_t i = id;; i++) {
		struct tree_state *s = &t->state[i & (t->room - 1)];

		if (!s->id || s->id == id)
			return s;
	}
}

static bool grow(struct heap_tree *t)
{
	struct heap_tree bigger = *t;

	if (2 * t->states < t->room)
		return true;
	bigger.room = t->room ? 2 * t->room : 1024;
	if (bigger.room > STATES_MAX)
		return false;
	bigger.state = calloc(bigger.room, sizeof(*bigger.state));
	if (!bigger.state)
		return false;
	for (size_t i = 0; i < t->room; i++)
		if (t->state[i].id)
			*state_of(&bigger, t->state[i].id) = t->state[i];
	free(t->state);
	t->state = bigger.state;
	t->room = bigger.room;
	return true;
}

static void set_open(struct heap_tree *t, const struct call_node *n, bool open)
{
	struct tree_state *s = grow(t) ? state_of(t, n->id) : NULL;

	if (!s)
		return;
	t->states += !s->id;
	s->id = n->id;
	s->open = open;
}

bool heap_tree_is_open(const struct heap_tree *t, const struct call_node *n)
{
	const struct tree_state *s = t->room ? state_of(t, n->id) : NULL;

	return s && s->id && s->open;
}

/* Whoever looks decides; until then what holds much is open. */
static void open_at_first(struct heap_tree *t, const struct call_node *n)
{
	const struct tree_state *s = t->room ? state_of(t, n->id) : NULL;

	if (n->child && (!s || !s->id) && n->width >= OPEN_SHARE * t->root->width)
		set_open(t, n, true);
}

/* --- rows --- */

static void name_row(struct heap_tree *t, struct tree_row *r)
{
	int indent = 2 * r->depth < INDENT_MAX ? 2 * r->depth : INDENT_MAX;
	const char *sign = !r->node->child ? "  " : heap_tree_is_open(t, r->node) ? "- " : "+ ";

	snprintf(r->name, sizeof(r->name), "%*s%s%.100s", indent, "", sign, r->node->name);
}

static void add_rows(struct heap_tree *t, const struct call_node *n, int parent, int depth)
{
	for (const struct call_node *c = n->child; c && t->rows < ROWS_MAX; c = c->next) {
		int at = t->rows++;
		struct tree_row *r = &t->row[at];

		r->node = c;
		r->parent = parent;
		r->depth = depth;
		open_at_first(t, c);
		name_row(t, r);
		add_rows(t, c, at, depth + 1);
	}
}

static void forget(struct heap_tree *t)
{
	calltree_free(t->root);
	t->root = NULL;
	t->rows = 0;
}

static bool make_rows(struct heap_tree *t)
{
	forget(t);
	t->root = calltree_make(&t->profile, NULL, PROFILE_INUSE_SPACE, t->callers, "all");
	if (!t->row)
		t->row = malloc(ROWS_MAX * sizeof(*t->row));
	if (!t->root || !t->row)
		return false;
	add_rows(t, t->root, -1, 0);
	return true;
}

bool heap_tree_make(struct heap_tree *t, const struct heap_profile *h)
{
	forget(t);
	profile_free(&t->profile);
	return profile_of_heap(&t->profile, h) && make_rows(t);
}

void heap_tree_free(struct heap_tree *t)
{
	forget(t);
	profile_free(&t->profile);
	free(t->row);
	free(t->state);
	memset(t, 0, sizeof(*t));
}

void heap_tree_act(struct heap_tree *t, int row, enum view_act act)
{
	struct tree_row *r = row >= 0 && row < t->rows ? &t->row[row] : NULL;

	if (act == VIEW_ACT_TURN) {
		t->callers = !t->callers;
		make_rows(t);
	} else if (r && r->node->child) {
		bool open = heap_tree_is_open(t, r->node);

		set_open(t, r->node, act == VIEW_ACT_TOGGLE ? !open : act == VIEW_ACT_OPEN);
		name_row(t, r);
	}
}
