/* System calls as a source of views: attached while one of them is shown. */
#include "calls.h"
#include "watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct state {
	enum calls_what what;
	struct calls *c; /* NULL: could not be attached */
	struct calls_sample mark, last;
	struct syscalls out;
	/* to name futex words by, as of the last look: the process may be gone by then */
	struct modules *modules;
	char *maps; /* /proc/PID/maps, or NULL */
	uint64_t call_addr;
	int most_threads; /* since the last mark */
	pid_t pid;
	bool ending;
};

static void *open_what(enum calls_what what)
{
	struct state *s = calloc(1, sizeof(*s));

	if (s)
		s->what = what;
	return s;
}

static void *open_calls(const void *options)
{
	(void)options;
	return open_what(CALLS_ALL);
}

static void *open_futexes(const void *options)
{
	(void)options;
	return open_what(CALLS_FUTEX);
}

/* Stays when the process becomes another program: what is counted says of which it is. */
static int attach(void *state, const struct target *t, char *err, size_t errlen)
{
	struct state *s = state;
	int error = 0;

	if (s->c)
		calls_new_program(s->c);
	else
		s->c = calls_open(t->pid, s->what, &error, err, errlen);
	s->pid = t->pid;
	return error;
}

/* A whole file of /proc, or NULL. Free it. */
static char *read_text(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t len = 0;

	/* no NUL is in it: that is all of it */
	if (f && getdelim(&text, &len, '\0', f) <= 0) {
		free(text);
		text = NULL;
	}
	if (f)
		fclose(f);
	return text;
}

static void look_at_files(struct state *s)
{
	char path[64], *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", target_reader(s->pid));
	maps = read_text(path);
	if (!maps)
		return;
	free(s->maps);
	s->maps = maps;
	if (!s->modules)
		s->modules = modules_open();
	if (s->modules)
		modules_look(s->modules, target_reader(s->pid));
}

static void look(void *state, struct watch *w, const struct sample *now)
{
	struct state *s = state;

	s->call_addr = w->t.call_addr;
	memcpy(s->out.lock_addr, now->root.layout.lock, sizeof(s->out.lock_addr));
	s->ending = w->launched && w->l.exiting;
	if (s->c && calls_read(s->c, s->call_addr, &s->last))
		calls_free(&s->last);
	if (s->most_threads < s->last.threads)
		s->most_threads = s->last.threads;
	if (s->what == CALLS_FUTEX)
		look_at_files(s);
}

/* A command is looked at when it ends: most of its threads have by then. */
static void turn(void *state, struct watch *w)
{
	struct state *s = state;
	int n = target_threads(w->t.pid);

	if (s->c)
		calls_keep_budget(s->c);
	if (s->most_threads < n)
		s->most_threads = n;
}

static void mark(void *state)
{
	struct state *s = state;

	calls_free(&s->mark);
	s->most_threads = s->last.threads;
	s->mark = s->last;
	memset(&s->last, 0, sizeof(s->last));
	if (s->c)
		calls_next(s->c);
}

/* Of one that has ended by itself the kernel has told the rest. */
static void read_the_end(struct state *s)
{
	if (calls_program(s->c) == s->last.program && calls_read(s->c, s->call_addr, &s->last))
		calls_free(&s->last);
}

/* Longest first. */
static void add_top(struct syscalls *out, size_t row)
{
	const struct wait_row *w = out->d.waits;
	int at = out->ntop;

	while (at > 0 && w[out->top[at - 1].row].ns < w[row].ns)
		at--;
	if (at == TOP_WORDS)
		return;
	if (out->ntop < TOP_WORDS)
		out->ntop++;
	for (int i = out->ntop - 1; i > at; i--)
		out->top[i] = out->top[i - 1];
	out->top[at].row = row;
}

static void fill_top(struct state *s)
{
	struct syscalls *out = &s->out;
	const struct wait_row *w = out->d.waits;

	out->ntop = 0;
	for (size_t i = 0; i < out->d.nwaits; i++)
		if (w[i].by == BY_REST && w[i].word && (w[i].waits || w[i].ns))
			add_top(out, i);
	for (int i = 0; i < out->ntop; i++)
		calls_where(s->modules, s->maps, w[out->top[i].row].word, &out->top[i]);
}

static void fill(void *state, struct model *m)
{
	struct state *s = state;

	calls_free(&s->out.d);
	if (!s->c)
		return;
	s->out.gone = s->ending || !target_alive(target_reader(s->pid));
	if (s->out.gone && !s->ending)
		read_the_end(s);
	if (calls_between(&s->out.d, &s->mark, &s->last))
		return;
	s->out.threads = s->most_threads;
	fill_top(s);
	m->syscalls = &s->out;
	if (m->bpf_ns >= 0)
		m->bpf_ns += (int64_t)s->out.d.spent_ns;
}

static void restart(void *state)
{
	struct state *s = state;

	calls_free(&s->mark);
	calls_free(&s->last);
	modules_close(s->modules);
	s->modules = NULL;
	free(s->maps);
	s->maps = NULL;
}

static void close_it(void *state)
{
	struct state *s = state;

	calls_close(s->c);
	calls_free(&s->mark);
	calls_free(&s->last);
	calls_free(&s->out.d);
	modules_close(s->modules);
	free(s->maps);
	free(s);
}

const struct source source_calls = {
	.name = "system calls",
	.open = open_calls,
	.attach = attach,
	.turn = turn,
	.look = look,
	.mark = mark,
	.fill = fill,
	.restart = restart,
	.close = close_it,
};

const struct source source_futexes = {
	.name = "futex waits",
	.open = open_futexes,
	.attach = attach,
	.turn = turn,
	.look = look,
	.mark = mark,
	.fill = fill,
	.restart = restart,
	.close = close_it,
};
