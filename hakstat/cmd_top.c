/* hakstat top: the live screen, or plain frames. */
#include "hakstat.h"
#include "privilege.h"
#include "stacks.h"
#include "tui.h"
#include "views.h"
#include "watch.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
	const char *process, *command;
	double seconds;
	long frames; /* 0: no end */
	bool batch;
};

enum { KEY_BUDGET = 256 };

static const struct argp_option option_table[] = {
	{"pid", 'p', "PID|NAME", 0, "process to watch", 0},
	{"command", 'c', "CMD", 0, "start CMD on libhakmem and watch it", 0},
	{"delay", 'd', "SECONDS", 0, "time between frames (default 1)", 0},
	{"count", 'n', "COUNT", 0, "end after COUNT frames", 0},
	{"batch", 'b', NULL, 0, "plain text; the default when output is not a terminal", 0},
	{"budget", KEY_BUDGET, "EVENTS", 0,
	 "a probe that fires more often, a second in one thread, is taken off for a while (default "
	 "10000; 0: never)",
	 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	char *end;
	long n;

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
		n = strtol(arg, &end, 10);
		if (!*arg || *end || n < 0 || n > INT_MAX)
			argp_error(state, "not a number of events: %s", arg);
		budget_set((uint32_t)n);
		break;
	case 'b':
		o->batch = true;
		break;
	case ARGP_KEY_END:
		if (!o->process == !o->command)
			argp_error(state, "give a process with -p or a command with -c");
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

static void print_frame(const struct watch *w, const struct model *m, double at)
{
	const struct view *v = &view_classes;
	char header[HEADER_LINES][256], line[512];
	int n = header_lines(m, w->who, 110, header);
	struct row_list rows = {0};
	bool fit[COLUMNS_MAX];

	printf("--- %.1f s\n", at);
	for (int i = 0; i < n; i++)
		printf("%s\n", header[i]);
	n = view_rows(v, m, v->sort, false, NULL, &rows);
	view_fit(v, 110, fit);
	view_line(v, m, -1, fit, line, sizeof(line));
	printf("\n%s\n", line);
	for (int i = 0; i < n; i++) {
		view_line(v, m, rows.row[i], fit, line, sizeof(line));
		printf("%s\n", line);
	}
	printf("\n");
	if (fflush(stdout))
		output_error = errno;
	row_list_free(&rows);
}

static int say_end(struct watch *w)
{
	char text[128];

	watch_finish(w, text, sizeof(text));
	printf("%s\n", text);
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
	int r;

	step(w, p, m);
	while (!o->frames || frames < o->frames) {
		enum watch_event e = watch_wait(w, o->seconds);

		if (e == WATCH_STOP)
			return EXIT_OK;
		at += o->seconds;
		r = step(w, p, m);
		if (!r) {
			print_frame(w, m, at);
			frames++;
		}
		if (e == WATCH_EXIT || (r == -ESRCH && !w->launched)) {
			return say_end(w);
		}
		if (r && r != -EAGAIN && r != -ESRCH)
			return unreadable(r);
		if (ferror(stdout))
			return EXIT_OK; /* main tells whether that is a failure */
	}
	return EXIT_OK;
}

/* The stacks that explain a row of the view before. */
static void use_stacks(struct watch *w, struct screen *s, const struct model *m)
{
	struct stacks_options o;

	stacks_options_init(&o);
	if (!m || !views[s->before]->explain(m, s->explained, &o))
		snprintf(s->note, sizeof(s->note), "no stacks explain this row");
	else if (!watch_use(w, &stacks_source, &o, s->note, sizeof(s->note)) && !s->note[0])
		snprintf(s->note, sizeof(s->note), "stacks cannot be taken (hakstat doctor)");
}

static void use_view(struct watch *w, struct screen *s, const struct model *m, bool explain)
{
	const struct source *source = views[s->view]->source;

	attach_want(PROBES_LIGHT | views[s->view]->probes);
	s->note[0] = '\0';
	s->filled = NULL; /* what the model has of a source goes with it */
	if (explain)
		use_stacks(w, s, m);
	else if (source != w->source)
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
		*quit = actions & ACTION_QUIT || reader_is_gone();
		if (*quit)
			return WATCH_STOP;
		if (actions & ACTION_VIEW)
			use_view(w, s, m, actions & ACTION_EXPLAIN);
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

static int run_screen(struct watch *w, const struct options *o, struct pair *p, struct model *m)
{
	struct screen s;
	bool quit = false, have = false;
	long frames = 0;
	int r = step(w, p, m), result = EXIT_OK;
	enum watch_event e = WATCH_TIME;

	screen_init(&s, o->seconds);
	screen_draw(&s, NULL, w->who, NULL);
	while (!o->frames || frames < o->frames) {
		/* a first, short interval, so that there is something to see at once */
		bool waits = !have || w->source != s.filled;
		double due = clock_s() + (!waits || s.interval < 0.5 ? s.interval : 0.3);

		e = until_due(w, &s, have ? m : NULL, due, &quit);
		if (e != WATCH_TIME)
			break;
		if (s.paused)
			continue;
		r = step(w, p, m);
		if (!r) {
			have = true;
			frames++;
			s.filled = p->filled;
			screen_record(&s, m);
			screen_draw(&s, m, w->who, s.note);
		} else if (r != -EAGAIN && (r != -ESRCH || !w->launched)) {
			e = r == -ESRCH ? WATCH_EXIT : WATCH_STOP;
			break;
		}
	}
	screen_close();
	if (e == WATCH_EXIT) {
		step(w, p, m); /* for a command too short for a frame */
		result = say_end(w);
	} else if (r && r != -EAGAIN)
		result = unreadable(r);
	return result;
}

int cmd_top(int argc, char **argv)
{
	static const struct argp argp = {
		option_table, parse, NULL, "Live view of a process on libhakmem.",
		NULL,	      NULL,  NULL};
	struct options o = {.seconds = 1};
	const char *term = getenv("TERM");
	bool screen;
	static struct pair p;
	static struct model m;
	struct watch w;
	pid_t pid = 0;
	int r;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (o.process && !(pid = parse_process(o.process)))
		return EXIT_NO_HAKMEM;
	catch_signals();
	screen = !o.batch && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) && term &&
		 strcmp(term, "dumb") != 0;
	attach_want(PROBES_LIGHT);
	r = watch_open(&w, pid, o.command, screen, NULL, NULL);
	if (r == EXIT_OK)
		keep_to_watch(attach_by_events(w.a), o.command != NULL);
	if (r == EXIT_OK && screen && !screen_open()) {
		complain("unknown terminal type %s: plain frames", term);
		screen = false;
	}
	if (r == EXIT_OK)
		r = screen ? run_screen(&w, &o, &p, &m) : run_batch(&w, &o, &p, &m);
	watch_close(&w);
	return r;
}
