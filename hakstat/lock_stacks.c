#include "lock_stacks.h"
#include "calls.h"

#include <stdlib.h>

static const struct source *const part[] = {&source_futexes, &stacks_source};
#define PARTS (sizeof(part) / sizeof(part[0]))

struct state {
	void *of[PARTS];
};

#define EACH(i) for (size_t i = 0; i < PARTS; i++)

static void close_all(void *arg)
{
	struct state *st = arg;

	EACH(i)
	if (st->of[i])
		part[i]->close(st->of[i]);
	free(st);
}

static void *open_all(const void *options)
{
	struct state *st = calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->of[0] = part[0]->open(NULL);
	st->of[1] = part[1]->open(options);
	if (st->of[0] && st->of[1])
		return st;
	close_all(st);
	return NULL;
}

/* The table goes on without stacks. */
static int attach(void *arg, const struct target *t, char *err, size_t errlen)
{
	struct state *st = arg;
	int r = part[0]->attach(st->of[0], t, err, errlen);

	return r ? r : part[1]->attach(st->of[1], t, err, errlen);
}

static void turn(void *arg, struct watch *w)
{
	struct state *st = arg;

	EACH(i)
	part[i]->turn(st->of[i], w);
}

static void look(void *arg, struct watch *w, const struct sample *s)
{
	struct state *st = arg;

	EACH(i)
	part[i]->look(st->of[i], w, s);
}

static void mark(void *arg)
{
	struct state *st = arg;

	EACH(i)
	part[i]->mark(st->of[i]);
}

static void fill(void *arg, struct model *m)
{
	struct state *st = arg;

	EACH(i)
	part[i]->fill(st->of[i], m);
}

static void restart(void *arg)
{
	struct state *st = arg;

	EACH(i)
	part[i]->restart(st->of[i]);
}

const struct source source_lock_stacks = {
	.name = "locks with stacks",
	.open = open_all,
	.attach = attach,
	.turn = turn,
	.look = look,
	.mark = mark,
	.fill = fill,
	.restart = restart,
	.close = close_all,
};
