#include "recorded.h"
#include "remotes.h"
#include "rss.h"
#include "threads.h"
#include "views.h"

const struct source_list recorded_sources = {
	.of = {&source_threads, &source_remotes, &source_memory},
	.n = 3,
};

/* Views of the allocator's own counters need none; those in_stat do without theirs. */
const char *recorded_without(const struct view *v)
{
	if (v == &view_processes)
		return "not in recordings: they are of one process";
	if (!v->source || v->in_stat)
		return NULL;
	for (int i = 0; i < recorded_sources.n; i++)
		if (v->source == recorded_sources.of[i])
			return NULL;
	return "not in recordings: to watch it all the time costs too much";
}
