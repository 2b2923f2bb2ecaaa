#include "recorded.h"
#include "remotes.h"
#include "rss.h"
#include "threads.h"
#include "views.h"

#include <stdlib.h>
#include <string.h>

static const struct source *const kept[] = {&source_threads, &source_remotes, &source_memory};
#define KEPT (sizeof(kept) / sizeof(kept[0]))

struct state {
	void *of[KEPT];
};

#define EACH(i) for (size_t i = 0; i < KEPT; i++)

static void close_all(void *arg)
{
	struct state *st = arg;

	EACH(i)
	if (st->of[i])
		kept[i]->close(st->of[i]);
	free(st);
}

static void *open_all(const void *options)
{
	struct state *st = calloc(1, sizeof(*st));
	bool failed = !st;

	(void)options;
	for (size_t i = 0; !failed && i < KEPT; i++) {
		st->of[i] = kept[i]->open(NULL);
		failed = !st->of[i];
	}
	if (!failed)
		return st;
	if (st)
		close_all(st);
	return NULL;
}

/* All that can be; of the first that cannot the reason is told. */
static int attach(void *arg, const struct target *t, char *err, size_t errlen)
{
	struct state *st = arg;
	char other[256];
	int first = 0;

	EACH(i)
	{
		int r = 0;

		if (kept[i]->attach)
			r = kept[i]->attach(st->of[i], t, first ? other : err,
					    first ? sizeof(other) : errlen);
		if (!first)
			first = r;
	}
	return first;
}

static void take_heap(void *arg, const struct sample *s, const struct hak_heap_view *v)
{
	struct state *st = arg;

	EACH(i)
	if (kept[i]->heap)
		kept[i]->heap(st->of[i], s, v);
}

static void look(void *arg, struct watch *w, const struct sample *s)
{
	struct state *st = arg;

	EACH(i)
	if (kept[i]->look)
		kept[i]->look(st->of[i], w, s);
}

static void mark(void *arg)
{
	struct state *st = arg;

	EACH(i)
	if (kept[i]->mark)
		kept[i]->mark(st->of[i]);
}

static void fill(void *arg, struct model *m)
{
	struct state *st = arg;

	EACH(i)
	if (kept[i]->fill)
		kept[i]->fill(st->of[i], m);
}

static void restart(void *arg)
{
	struct state *st = arg;

	EACH(i)
	if (kept[i]->restart)
		kept[i]->restart(st->of[i]);
}

static void save(const void *arg, struct instant *f)
{
	const struct state *st = arg;

	EACH(i)
	kept[i]->save(st->of[i], f);
}

static void load(void *arg, const struct instant *f)
{
	struct state *st = arg;

	EACH(i)
	kept[i]->load(st->of[i], f);
}

const struct source source_recorded = {
	.name = "recorded",
	.open = open_all,
	.attach = attach,
	.heap = take_heap,
	.look = look,
	.mark = mark,
	.fill = fill,
	.restart = restart,
	.save = save,
	.load = load,
	.close = close_all,
};

/* Views of the allocator's own counters need none; those in_stat do without theirs. */
const char *recorded_without(const struct view *v)
{
	if (v == &view_processes)
		return "not in recordings: they are of one process";
	if (!v->source || v->in_stat)
		return NULL;
	EACH(i)
	if (v->source == kept[i])
		return NULL;
	return "not in recordings: to watch it all the time costs too much";
}
