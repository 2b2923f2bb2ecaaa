/* Every view, in one list: X(NAME) for view_NAME. top shows them in this order. */
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

/* Tables of one command alone, in its file; their rows are of model.own. */
#define TABLE_LIST(X) \
	X(heap_diff)  \
	X(list)       \
	X(trace)      \
	X(watch)      \
	X(probes)     \
	X(frames)     \
	X(histograms) \
	X(dump)       \
	X(dump_heaps) \
	X(dump_pages) \
	X(dump_block) \
	X(dump_total) \
	X(doctor)     \
	X(help)

#define VIEW_(name) VIEW_##name,
enum view_id { VIEW_LIST(VIEW_) VIEWS };
enum table_id { BEFORE_TABLES_ = VIEWS - 1, TABLE_LIST(VIEW_) VIEWS_AND_TABLES };
#define DECLARE_VIEW_(name) extern const struct view view_##name;
VIEW_LIST(DECLARE_VIEW_)
TABLE_LIST(DECLARE_VIEW_)

extern const struct view *const views[VIEWS_AND_TABLES]; /* tables from VIEWS on */

/* How long the waits of a row of view_locks were, in powers of two of ns; false: it had none. */
bool view_locks_histogram(const struct model *m, int row, uint64_t hist[HIST_SLOTS], char *name,
			  size_t len);

#endif
