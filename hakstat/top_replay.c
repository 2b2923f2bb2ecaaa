#include "top_replay.h"
#include "hakstat.h"
#include "recorded.h"
#include "replay.h"
#include "tui.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEYS_MS 30

struct state {
	struct replay p;
	struct model m;
	struct screen s;
	size_t at;   /* interval */
	double next; /* while it plays: when the next one is due */
	char who[256];
};

/* What is shown of the interval at st->at; the histories go on, or are made anew. */
static bool show_one(struct state *st)
{
	struct screen *s = &st->s;

	s->missing = recorded_without(views[s->view]);
	s->filled = s->missing ? NULL : views[s->view]->source;
	return replay_model(&st->p, st->at, st->at, &st->m);
}

static void make_histories(struct state *st)
{
	size_t here = st->at, first = here >= SERIES_MAX ? here - SERIES_MAX + 1 : 0;
	struct screen *s = &st->s;

	s->allocs.n = s->rss.n = s->hit.n = 0;
	history_clear(&s->history);
	for (st->at = first; st->at < here; st->at++)
		if (show_one(st))
			screen_record(s, &st->m);
	st->at = here;
}

static void show(struct state *st, bool next)
{
	struct screen *s = &st->s;
	char when[40];

	if (!next)
		make_histories(st);
	if (show_one(st))
		screen_record(s, &st->m);
	else
		snprintf(s->note, sizeof(s->note), "the recording is damaged at this time");
	time_text(replay_time(&st->p, st->at), false, when, sizeof(when));
	snprintf(s->position, sizeof(s->position), "%s  %zu/%zu", when, st->at + 1,
		 st->p.intervals);
	snprintf(st->who, sizeof(st->who), "%s   %s", when + (strlen(when) > 11 ? 11 : 0),
		 st->p.who);
}

static void move_intervals(struct state *st, long by)
{
	size_t last = st->p.intervals - 1;

	if (by < 0)
		st->at = (size_t)-by > st->at ? 0 : st->at - (size_t)-by;
	else
		st->at = (size_t)by > last - st->at ? last : st->at + (size_t)by;
}

/* To the interval that ended so much earlier or later, and at least by one. */
static void move_seconds(struct state *st, long by)
{
	uint64_t now = replay_time(&st->p, st->at), ns = (uint64_t)labs(by) * 1000000000U;
	size_t before = st->at;

	if (!by)
		return;
	st->at = replay_at(&st->p, by > 0 ? now + ns : now > ns ? now - ns : 0);
	if (st->at == before)
		move_intervals(st, by > 0 ? 1 : -1);
}

static void take_move(struct state *st)
{
	struct screen *s = &st->s;
	size_t before = st->at;

	move_intervals(st, s->move_intervals);
	move_seconds(st, s->move_seconds);
	s->move_intervals = s->move_seconds = 0;
	show(st, st->at == before + 1);
}

static void play(struct state *st)
{
	if (clock_s() < st->next)
		return;
	st->next = clock_s() + st->s.interval;
	if (st->at + 1 < st->p.intervals) {
		st->at++;
		show(st, true);
	} else {
		st->s.paused = true;
	}
	screen_draw(&st->s, &st->m, st->who, st->s.note);
}

static void draw(struct state *st, int actions)
{
	if (actions & ACTION_VIEW) {
		st->s.note[0] = '\0';
		show(st, false);
	}
	if (actions & ACTION_MOVE)
		take_move(st);
	if (actions)
		screen_draw(&st->s, &st->m, st->who, st->s.note);
}

static int run_screen(struct state *st)
{
	struct pollfd p = {STDIN_FILENO, POLLIN, 0};
	bool quit = false, played = false;

	st->s.replay = st->s.paused = true;
	show(st, false);
	draw(st, ACTION_REDRAW);
	while (!quit && !stop_requested) {
		int actions = screen_keys(&st->s);

		quit = actions & ACTION_QUIT || reader_is_gone();
		draw(st, actions);
		if (!st->s.paused && !played)
			st->next = clock_s() + st->s.interval;
		played = !st->s.paused;
		if (played)
			play(st);
		poll(&p, 1, played ? KEYS_MS : 10 * KEYS_MS);
	}
	screen_close();
	return EXIT_OK;
}

static void damaged(const struct report_options *o, const char *when)
{
	char text[64];

	snprintf(text, sizeof(text), "--- %s\n(damaged)\n", when);
	top_say(o, text);
}

static int run_batch(struct state *st, const struct top_replay *o)
{
	char when[40];

	if (!o->at)
		st->at = 0;
	for (long n = 0; st->at < st->p.intervals && (!o->frames || n < o->frames); n++) {
		if (stop_requested || ferror(stdout))
			return EXIT_OK; /* main tells whether that is a failure */
		time_text(replay_time(&st->p, st->at), true, when, sizeof(when));
		if (replay_model(&st->p, st->at, st->at, &st->m))
			top_print(&st->m, o->report, when);
		else
			damaged(o->report, when);
		st->at++;
	}
	return EXIT_OK;
}

static double recorded_interval(const struct replay *p)
{
	double s = (double)p->r.process[0].interval_ns / 1e9;

	return s >= 0.1 && s <= 60 ? s : 1;
}

static int begin(struct state *st, const struct top_replay *o, char *err, size_t errlen)
{
	uint64_t ns;

	if (replay_open(&st->p, o->file, err, errlen))
		return EXIT_FAIL;
	st->at = st->p.intervals - 1;
	if (o->at && !replay_parse_time(&st->p, o->at, &ns)) {
		snprintf(err, errlen, "not a time: %s", o->at);
		return EXIT_USAGE;
	}
	if (o->at)
		st->at = replay_at(&st->p, ns);
	screen_init(&st->s, o->seconds > 0 ? o->seconds : recorded_interval(&st->p), o->view);
	st->s.sort[o->view] = o->report->sort;
	st->s.reverse[o->view] = o->report->reverse;
	return EXIT_OK;
}

int top_replay(const struct top_replay *o, bool screen)
{
	static struct state st;
	char err[PATH_MAX + 256];
	int r = begin(&st, o, err, sizeof(err));

	if (r == EXIT_OK) {
		r = screen ? run_screen(&st) : run_batch(&st, o);
	} else {
		if (screen)
			screen_close();
		complain("%s", err);
	}
	replay_close(&st.p);
	return r;
}
