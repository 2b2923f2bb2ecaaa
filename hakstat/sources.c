#include "sources.h"

#include <stdlib.h>

struct several {
	struct source_list l;
	void *state[SOURCES_MAX];
};

void source_list_add(struct source_list *l, const struct source *s)
{
	for (int i = 0; i < l->n; i++)
		if (l->of[i] == s)
			return;
	if (s && l->n < SOURCES_MAX)
		l->of[l->n++] = s;
}

static void close_all(void *state)
{
	struct several *s = state;

	for (int i = 0; i < s->l.n; i++)
		if (s->state[i])
			s->l.of[i]->close(s->state[i]);
	free(s);
}

static void *open_all(const void *options)
{
	struct several *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->l = *(const struct source_list *)options;
	for (int i = 0; i < s->l.n; i++) {
		s->state[i] = s->l.of[i]->open(s->l.options[i]);
		if (!s->state[i]) {
			close_all(s);
			return NULL;
		}
	}
	return s;
}

/* What one cannot do does not keep the others from it; the first failure is told. */
static int attach_all(void *state, const struct target *t, char *err, size_t errlen)
{
	struct several *s = state;
	char other[256];
	int first = 0;

	for (int i = 0; i < s->l.n; i++) {
		char *why = first ? other : err;
		size_t len = first ? sizeof(other) : errlen;
		int r = s->l.of[i]->attach ? s->l.of[i]->attach(s->state[i], t, why, len) : 0;

		first = first ? first : r;
	}
	return first;
}

/* Calls a function of each that has it. */
#define EACH(s, function, ...)                \
	for (int i_ = 0; i_ < (s)->l.n; i_++) \
		if ((s)->l.of[i_]->function)  \
	(s)->l.of[i_]->function((s)->state[i_], ##__VA_ARGS__)

static void heap_all(void *state, const struct sample *sample, const struct hak_heap_view *v)
{
	struct several *s = state;

	EACH(s, heap, sample, v);
}

static void turn_all(void *state, struct watch *w)
{
	struct several *s = state;

	EACH(s, turn, w);
}

static void look_all(void *state, struct watch *w, const struct sample *sample)
{
	struct several *s = state;

	EACH(s, look, w, sample);
}

static void mark_all(void *state)
{
	struct several *s = state;

	EACH(s, mark);
}

static void fill_all(void *state, struct model *m)
{
	struct several *s = state;

	EACH(s, fill, m);
}

static void restart_all(void *state)
{
	struct several *s = state;

	EACH(s, restart);
}

static void save_all(const void *state, struct instant *f)
{
	const struct several *s = state;

	EACH(s, save, f);
}

static void load_all(void *state, const struct instant *f)
{
	struct several *s = state;

	EACH(s, load, f);
}

const struct source source_several = {
	.name = "several",
	.open = open_all,
	.attach = attach_all,
	.heap = heap_all,
	.turn = turn_all,
	.look = look_all,
	.mark = mark_all,
	.fill = fill_all,
	.restart = restart_all,
	.save = save_all,
	.load = load_all,
	.close = close_all,
};
