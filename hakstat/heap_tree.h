/* The heap profile of `top' as a tree: who calls what allocates, or the other way round. */
#ifndef HAKSTAT_HEAP_TREE_H
#define HAKSTAT_HEAP_TREE_H

#include "calltree.h"
#include "columns.h"

struct heap_profile;

struct tree_row {
	const struct call_node *node;
	int depth;	/* of the root's children: 0 */
	int parent;	/* index, or -1 */
	char name[160]; /* with an indent, and a sign of what is below it */
};

struct heap_tree {
	struct profile profile;
	struct call_node *root;
	struct tree_row *row; /* all nodes, each before those below it */
	int rows;
	bool callers; /* from the function that allocates to those that call it */
	/* whether nodes are open, by their path, from one profile to the next */
	struct tree_state {
		uint64_t id;
		bool open;
	} * state; /* open addressing; a power of two */
	size_t states, room;
};

/* Makes the rows anew; false: no memory. t begins all zero. */
bool heap_tree_make(struct heap_tree *t, const struct heap_profile *h);
void heap_tree_free(struct heap_tree *t);
bool heap_tree_is_open(const struct heap_tree *t, const struct call_node *n);
/* What a key asks for. */
void heap_tree_act(struct heap_tree *t, int row, enum view_act act);

#endif
