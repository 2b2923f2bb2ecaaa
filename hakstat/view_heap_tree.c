/* The screen of top for heap profiles: a tree that opens and closes. */
#include "heap.h"
#include "heap_tree.h"
#include "views.h"

#define ROW(m, r) (&(m)->heap->tree->row[r])
#define NODE(m, r) (ROW(m, r)->node)

static struct value tree_name(const struct model *m, int row)
{
	return value_text_of(ROW(m, row)->name, 0);
}

static struct value tree_live(const struct model *m, int row)
{
	return value_of(VALUE_BYTES, NODE(m, row)->value[PROFILE_INUSE_SPACE]);
}

static struct value tree_share(const struct model *m, int row)
{
	return value_ratio(VALUE_PERCENT, 100 * NODE(m, row)->value[PROFILE_INUSE_SPACE],
			   m->heap->tree->root->value[PROFILE_INUSE_SPACE]);
}

static struct value tree_objects(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, NODE(m, row)->value[PROFILE_INUSE_OBJECTS]);
}

/* Of what was there before nothing is known but that it is there. */
static bool is_before(const struct call_node *n)
{
	return n->name[0] == '[' && n->value[PROFILE_ALLOC_SPACE] == 0;
}

static struct value tree_rate(const struct model *m, int row, enum value_kind kind,
			      enum profile_value v)
{
	const struct call_node *n = NODE(m, row);

	return is_before(n) ? value_none() : value_ratio(kind, n->value[v], m->heap->seconds);
}

static struct value tree_alloc(const struct model *m, int row)
{
	return tree_rate(m, row, VALUE_BYTES, PROFILE_ALLOC_SPACE);
}

static struct value tree_count(const struct model *m, int row)
{
	return tree_rate(m, row, VALUE_RATE, PROFILE_ALLOC_OBJECTS);
}

static const struct column columns[] = {
	{"call", "CALL", UNIT_TEXT, "a function and what it calls; `c' turns the tree round", 52,
	 100, tree_name},
	{"live_bytes", "LIVE B", UNIT_BYTES, "bytes it holds, with all it calls: an estimate", 8,
	 99, tree_live},
	{"live_share", "LIVE%", UNIT_RATIO, "of all live bytes", 7, 97, tree_share},
	{"live_objects", "OBJECTS", UNIT_COUNT, "blocks that these bytes are", 8, 90, tree_objects},
	{"alloc_bytes_per_s", "ALLOCB/s", UNIT_BYTES_RATE, "allocated, freed meanwhile or not", 8,
	 98, tree_alloc},
	{"allocs_per_s", "ALLOC/s", UNIT_RATE, "allocations", 8, 80, tree_count},
};

static int tree_rows(const struct model *m)
{
	return m->heap && m->heap->tree ? m->heap->tree->rows : 0;
}

static bool tree_shown(const struct model *m, int row)
{
	const struct heap_tree *t = m->heap->tree;

	for (int up = t->row[row].parent; up >= 0; up = t->row[up].parent)
		if (!heap_tree_is_open(t, t->row[up].node))
			return false;
	return true;
}

static int tree_parent(const struct model *m, int row)
{
	return ROW(m, row)->parent;
}

static void tree_act(const struct model *m, int row, enum view_act act)
{
	if (m->heap && m->heap->tree)
		heap_tree_act(m->heap->tree, row, act);
}

const struct view view_heap_tree = {
	.name = "heap_tree",
	.title = "live memory, by who calls what allocates it",
	.columns = COLUMNS(columns),
	.rows = tree_rows,
	.shown = tree_shown,
	.sort = 1,
	.key = '0',
	.source = &heap_source,
	.parent = tree_parent,
	.act = tree_act,
};
