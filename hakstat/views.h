/* Every view, in one list: X(NAME) for view_NAME in view_NAME.c. top shows them in this order. */
#ifndef HAKSTAT_VIEWS_H
#define HAKSTAT_VIEWS_H

#include "columns.h"

#define VIEW_LIST(X)   \
	X(classes)     \
	X(locks)       \
	X(os)          \
	X(threads)     \
	X(route)       \
	X(remote)      \
	X(memory)      \
	X(fragments)   \
	X(pages)       \
	X(syscalls)    \
	X(stacks)      \
	X(processes)   \
	X(heap)        \
	X(heap_before) \
	X(heap_tree)   \
	X(leaks)

#define VIEW_(name) VIEW_##name,
enum view_id { VIEW_LIST(VIEW_) VIEWS };
#define DECLARE_VIEW_(name) extern const struct view view_##name;
VIEW_LIST(DECLARE_VIEW_)

extern const struct view *const views[VIEWS];

/* How long the waits of a row of view_locks were, in powers of two of ns; false: it had none. */
bool view_locks_histogram(const struct model *m, int row, uint64_t hist[HIST_SLOTS], char *name,
			  size_t len);

#endif
