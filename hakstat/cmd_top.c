/* hakstat top: the live screen, or plain frames. */
#include "hakstat.h"
#include "privilege.h"
#include "report.h"
#include "stacks.h"
#include "top_replay.h"
#include "top_host.h"
#include "tui.h"
#include "views.h"
#include "watch.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
	const char *process, *command, *replay, *at;
	double seconds; /* 0: not given */
	long frames;	/* 0: no end */
	bool batch, all;
	int view; /* the first one shown */
	struct host_options host;
	struct report_options report; /* how frames are printed */
};

enum { KEY_VIEW = 256, KEY_BUDGET, KEY_REPLAY, KEY_AT };

static const struct argp_option option_table[] = {
	{"pid", 'p', "PID|NAME", 0, "process to watch", 0},
	{"command", 'c', "CMD", 0, "start CMD on libhakmem and watch it", 0},
	{"delay", 'd', "SECONDS", 0, "time between frames (default 1)", 0},
	{"count", 'n', "COUNT", 0, "end after COUNT frames", 0},
	{"all", 'a', NULL, 0, "all processes of this host that run on libhakmem", 0},
	REPORT_FORMAT_OPTIONS("a JSON object a frame; one frame without -n",
			      "CSV, a table a frame; likewise"),
	{"sort", 's', "COLUMN", 0, "sort by this column, highest first", 0},
	{"reverse", 'r', NULL, 0, "the other way round", 0},
	{"batch", 'b', NULL, 0, "plain text; the default when output is not a terminal", 0},
	{"replay", KEY_REPLAY, "FILE", 0, "a recording (hakstat record), from its end back", 0},
	{"at", KEY_AT, "TIME", 0, "of a recording: begin there; see hakstat report --help", 0},
	{"view", KEY_VIEW, "VIEW", 0,
	 "the one to begin with, by its name or key (default: classes)", 0},
	{"budget", KEY_BUDGET, "EVENTS", 0, BUDGET_HELP, 0},
	{0},
};

/* Of those that are screens of their own. */
static int find_view(struct argp_state *state, const char *name)
{
	char names[256] = "";

	for (int i = 0; i < VIEWS; i++) {
		if (!views[i]->key)
			continue;
		if (!strcmp(views[i]->name, name) || (name[0] == views[i]->key && !name[1]))
			return i;
		snprintf(names + strlen(names), sizeof(names) - strlen(names), " %s",
			 views[i]->name);
	}
	argp_error(state, "no view '%s'; there are%s", name, names);
	return 0;
}

static void check(struct options *o, struct argp_state *state)
{
	struct host_options *h = &o->host;
	const struct view *v = o->all ? &view_processes : views[o->view];

	if (o->all + !!o->process + !!o->command + !!o->replay != 1)
		argp_error(state, "give a process with -p, a command with -c, -a for all of the "
				  "host, or a recording with --replay");
	if (o->at && !o->replay)
		argp_error(state, "--at is a time of a recording: --replay FILE");
	h->sort = h->sort_name ? view_column(v, h->sort_name) : v->sort;
	if (h->sort < 0)
		argp_error(state, "no column '%s'; see hakstat help %s", h->sort_name, v->name);
	h->seconds = o->seconds > 0 ? o->seconds : 1;
	if (!o->frames && h->format != REPORT_TABLE)
		o->frames = 1;
	h->frames = o->frames;
	o->report = (struct report_options){.view = v,
					    .format = h->format,
					    .sort = h->sort,
					    .reverse = h->reverse,
					    .width = text_width(),
					    .fold = text_fold_width()};
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	char *end;

	if (report_format_key(key, &o->host.format))
		return 0;
	switch (key) {
	case 'p':
		o->process = arg;
		break;
	case 'c':
		o->command = arg;
		break;
	case 'd':
		o->seconds = parse_seconds(arg);
		if (o->seconds < 0.1)
			argp_error(state, "not a number of seconds, at least 0.1: %s", arg);
		break;
	case 'n':
		o->frames = strtol(arg, &end, 10);
		if (*end || o->frames < 1)
			argp_error(state, "not a number of frames: %s", arg);
		break;
	case KEY_BUDGET:
		if (!budget_parse(arg))
			argp_error(state, "not a number of events: %s", arg);
		break;
	case 'b':
		o->batch = true;
		break;
	case KEY_REPLAY:
		o->replay = arg;
		break;
	case KEY_AT:
		o->at = arg;
		break;
	case KEY_VIEW:
		o->view = find_view(state, arg);
		break;
	case 'a':
		o->all = true;
		break;
	case 's':
		o->host.sort_name = arg;
		break;
	case 'r':
		o->host.reverse = true;
		break;
	case ARGP_KEY_END:
		check(o, state);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* Two samples, taken in turn. */
struct pair {
	struct sample s[2];
	int last; /* index of the newer one */
	bool any;
	unsigned programs;	     /* as of the newer one */
	const struct source *source; /* likewise */
	const struct source *filled; /* the same in both, or NULL */
};

/* Takes a sample; true if a model could be made of it and the one before. */
static int step(struct watch *w, struct pair *p, struct model *m)
{
	int next = !p->last, r = watch_sample(w, &p->s[next]);

	if (r)
		return r;
	if (p->programs != w->programs)
		collect_zero_of(&p->s[p->last], &p->s[next]);
	p->programs = w->programs;
	if (p->any)
		watch_model(w, m, &p->s[p->last], &p->s[next]);
	else
		watch_mark(w);
	p->filled = p->source == w->source ? w->source : NULL;
	p->source = w->source;
	p->last = next;
	r = p->any ? 0 : -EAGAIN;
	p->any = true;
	return r;
}

void top_print(const struct model *m, const struct report_options *o, const char *title)
{
	if (o->format == REPORT_TABLE)
		printf("--- %s", title);
	report_view(stdout, o->view, m, o);
	if (o->format == REPORT_TABLE)
		printf("\n");
	if (fflush(stdout))
		output_error = errno;
}

/* A word about what is printed: among the text, or beside what a script reads. */
void top_say(const struct report_options *o, const char *text)
{
	if (o->format == REPORT_TABLE)
		printf("%s\n", text);
	else
		complain("%s", text);
}

static int say_end(struct watch *w, const struct report_options *o)
{
	char text[128];

	watch_finish(w, text, sizeof(text));
	top_say(o, text);
	return watch_end_code(w);
}

static int unreadable(int r)
{
	complain("cannot read the counters: %s", strerror(-r));
	return exit_code_of(r);
}

static int run_batch(struct watch *w, const struct options *o, struct pair *p, struct model *m)
{
	double at = 0;
	long frames = 0;
	char title[32];
	int r;

	step(w, p, m);
	while (!o->frames || frames < o->frames) {
		enum watch_event e = watch_wait(w, o->seconds);

		if (e == WATCH_STOP)
			return EXIT_OK;
		at += o->seconds;
		r = step(w, p, m);
		if (!r) {
			snprintf(title, sizeof(title), "%.1f s", at);
			top_print(m, &o->report, title);
			frames++;
		}
		if (e == WATCH_EXIT || (r == -ESRCH && !w->launched)) {
			return say_end(w, &o->report);
		}
		if (r && r != -EAGAIN && r != -ESRCH)
			return unreadable(r);
		if (ferror(stdout))
			return EXIT_OK; /* main tells whether that is a failure */
	}
	return EXIT_OK;
}

/* To the stacks that explain a row, if the view that was left has any for it. Actions. */
static int explain(struct watch *w, struct screen *s, const struct model *m)
{
	struct stacks_options o;

	if (s->view != s->before)
		return ACTION_NONE; /* keys came fast */
	stacks_options_init(&o);
	s->note[0] = '\0';
	if (!m || !views[s->view]->explain(m, s->explained, &o)) {
		screen_say(s, "no probe of the allocator explains this row");
		return ACTION_NONE;
	}
	attach_want(PROBES_LIGHT | view_stacks.probes);
	s->filled = NULL;
	if (!watch_use(w, &stacks_source, &o, s->note, sizeof(s->note)) && !s->note[0])
		snprintf(s->note, sizeof(s->note), "stacks cannot be taken (hakstat doctor)");
	return screen_explain(s);
}

static void use_view(struct watch *w, struct screen *s)
{
	const struct source *source = views[s->view]->source;

	attach_want(PROBES_LIGHT | views[s->view]->probes);
	s->note[0] = '\0';
	s->filled = NULL; /* what the model has of a source goes with it */
	if (source != w->source)
		watch_use(w, source, NULL, s->note, sizeof(s->note));
}

/* Runs until the next frame is due; keys are served meanwhile. */
static enum watch_event until_due(struct watch *w, struct screen *s, const struct model *m,
				  double due, bool *quit)
{
	for (;;) {
		int actions = screen_keys(s);
		enum watch_event e;

		/* a terminal that was closed sends no signal to what is not in its foreground */
		s->left = actions & ACTION_HOST;
		*quit = actions & (ACTION_QUIT | ACTION_HOST) || reader_is_gone();
		if (*quit)
			return WATCH_STOP;
		if (actions & ACTION_VIEW)
			use_view(w, s);
		else if (actions & ACTION_EXPLAIN)
			actions |= explain(w, s, m);
		/* with another view, keys came so fast that the row is gone */
		if ((actions & (ACTION_ACT | ACTION_VIEW)) == ACTION_ACT && m &&
		    views[s->view]->act && views[s->view]->source == s->filled)
			views[s->view]->act(m, s->acted, s->act);
		if (actions)
			screen_draw(s, m, w->who, s->note);
		if (actions & ACTION_INTERVAL || (actions & ACTION_VIEW && w->source))
			return WATCH_TIME;
		if (clock_s() >= due)
			return WATCH_TIME;
		e = watch_wait(w, 0.03);
		if (e != WATCH_TIME)
			return e;
	}
}

/* Until somebody leaves, the process ends or *r is an error. */
static enum watch_event run_frames(struct watch *w, struct screen *s, long most, struct pair *p,
				   struct model *m, int *r)
{
	bool quit = false, have = false;
	long frames = 0;

	*r = step(w, p, m);
	screen_draw(s, NULL, w->who, NULL);
	while (!most || frames < most) {
		/* a first, short interval, so that there is something to see at once */
		bool waits = !have || w->source != s->filled;
		double due = clock_s() + (!waits || s->interval < 0.5 ? s->interval : 0.3);
		enum watch_event e = until_due(w, s, have ? m : NULL, due, &quit);

		if (e != WATCH_TIME)
			return e;
		if (s->paused)
			continue;
		*r = step(w, p, m);
		if (!*r) {
			have = true;
			frames++;
			s->filled = p->filled;
			screen_record(s, m);
			screen_draw(s, m, w->who, s->note);
		} else if (*r != -EAGAIN && (*r != -ESRCH || !w->launched)) {
			return *r == -ESRCH ? WATCH_EXIT : WATCH_STOP;
		}
	}
	return WATCH_TIME;
}

static int run_screen(struct watch *w, const struct options *o, struct pair *p, struct model *m)
{
	struct screen s;
	int r, result = EXIT_OK;
	enum watch_event e;

	screen_init(&s, o->seconds, o->view);
	s.sort[o->view] = o->report.sort;
	s.reverse[o->view] = o->report.reverse;
	e = run_frames(w, &s, o->frames, p, m, &r);
	screen_close();
	if (e == WATCH_EXIT) {
		step(w, p, m); /* for a command too short for a frame */
		result = say_end(w, &o->report);
	} else if (r && r != -EAGAIN)
		result = unreadable(r);
	return result;
}

bool top_process(struct screen *s, pid_t pid, struct model *m, char *why, size_t len)
{
	static struct pair p;
	static struct watch w;
	enum watch_event e;
	int r;

	memset(&p, 0, sizeof(p));
	s->left = false;
	why[0] = '\0';
	complain_into(s->note, sizeof(s->note));
	r = watch_open(&w, pid, NULL, true, NULL, NULL);
	if (r == EXIT_OK) {
		e = run_frames(&w, s, 0, &p, m, &r);
		if (e == WATCH_EXIT)
			watch_finish(&w, why, len);
		else if (r && r != -EAGAIN)
			snprintf(why, len, "cannot read the counters: %s", strerror(-r));
	} else {
		snprintf(why, len, "%s", s->note);
	}
	complain_into(NULL, 0);
	watch_close(&w);
	return s->left || why[0];
}

static int replay(const struct options *o, bool screen)
{
	const struct top_replay r = {o->replay, o->at, o->seconds, o->frames, o->view, &o->report};

	catch_signals();
	if (screen && !screen_open()) {
		complain("unknown terminal type %s: plain frames", getenv("TERM"));
		screen = false;
	}
	return top_replay(&r, screen);
}

static int watch(struct options *o, bool screen)
{
	static struct pair p;
	static struct model m;
	struct watch w;
	pid_t pid = 0;
	int r;

	o->seconds = o->seconds > 0 ? o->seconds : 1;
	if (o->process && !(pid = parse_process(o->process)))
		return EXIT_NO_HAKMEM;
	catch_signals();
	attach_want(PROBES_LIGHT | views[o->view]->probes);
	r = watch_open(&w, pid, o->command, screen, views[o->view]->source, NULL);
	if (r == EXIT_OK)
		keep_to_watch(attach_by_events(w.a), o->command != NULL);
	if (r == EXIT_OK && screen && !screen_open()) {
		complain("unknown terminal type %s: plain frames", getenv("TERM"));
		screen = false;
	}
	if (r == EXIT_OK)
		r = screen ? run_screen(&w, o, &p, &m) : run_batch(&w, o, &p, &m);
	watch_close(&w);
	return r;
}

int cmd_top(int argc, char **argv)
{
	static const struct argp argp = {
		option_table,
		parse,
		NULL,
		"Live view of a process on libhakmem, of all of them, or of a recording.",
		NULL,
		NULL,
		NULL};
	struct options o = {.view = VIEW_classes};
	const char *term = getenv("TERM");
	bool screen;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	screen = !o.batch && o.report.format == REPORT_TABLE && isatty(STDOUT_FILENO) &&
		 isatty(STDIN_FILENO) && term && strcmp(term, "dumb") != 0;
	if (o.replay)
		return replay(&o, screen);
	if (!o.all)
		return watch(&o, screen);
	catch_signals();
	return top_host(&o.host, screen);
}
