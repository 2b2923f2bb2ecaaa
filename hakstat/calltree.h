/* Stacks put together from their first function on: what flame graphs and trees show. */
#ifndef HAKSTAT_CALLTREE_H
#define HAKSTAT_CALLTREE_H

#include "profile.h"

struct call_node {
	const char *name;			 /* of the profile */
	struct call_node *parent, *child, *next; /* siblings: widest first */
	double value[PROFILE_VALUE_COUNT];	 /* of the profile, with all it calls */
	double before[PROFILE_VALUE_COUNT];	 /* of the one it is compared to */
	double width;				 /* see calltree_make */
	uint64_t id;				 /* the same for the same path of names */
};

/*
 * The root, named `root`; NULL: no memory. It is as wide as all its stacks: as the value `by`, or,
 * of two profiles, as the higher one of each stack. from: to compare with, or NULL. callers: from
 * the function that allocates to those that call it.
 */
struct call_node *calltree_make(const struct profile *p, const struct profile *from,
				enum profile_value by, bool callers, const char *root);
void calltree_free(struct call_node *root);
unsigned calltree_depth(const struct call_node *n); /* levels, its own included */

#endif
