#include "interval.h"
#include "hakstat.h"
#include "privilege.h"
#include "progress.h"

#include <errno.h>
#include <string.h>

/* A good sample: where the process became another program, the interval begins with that one. */
static void take(const struct watch *w, struct sample *from, struct sample *last, struct sample *s)
{
	if (s->root.start_ns != last->root.start_ns && last->root.start_ns) {
		complain("process %d became another program: its counts, from its start", w->t.pid);
		collect_zero_of(from, s);
	} else if (last->t_ns != from->t_ns) { /* what `from` knows was before the interval */
		collect_max(s, last);
	}
	*last = *s;
}

#define SHORT_S 2 /* who waits less need not be told how long */

/* A command of ours has the terminal itself. */
static void say_how_far(const struct watch *w, struct progress *p, double passed, double of)
{
	if (!w->launched && (of < 0 || of >= SHORT_S))
		progress_step(p, (size_t)(passed + 0.5), of < 0 ? 0 : (size_t)(of + 0.5));
}

/* Waits for the end of the interval, keeping the last good sample of a process that goes away. */
static int pass(struct watch *w, double seconds, struct sample *from, struct sample *last)
{
	enum watch_event e;
	double begin = clock_s(), of = seconds;
	struct progress p;
	char text[128];

	progress_begin(&p, of < 0 ? "watching, to the end or Ctrl-C" : "watching", "s");
	do {
		/* one that is not ours may end at any time: read it often enough to say something
		 */
		double step = w->launched ? seconds : seconds < 0 || seconds > 0.5 ? 0.5 : seconds;
		struct sample s;
		int r;

		e = watch_wait(w, step);
		if (seconds >= 0)
			seconds -= step;
		r = watch_sample(w, &s);
		say_how_far(w, &p, clock_s() - begin, of);
		if (!r) {
			take(w, from, last, &s);
		} else if (r != -EAGAIN && r != -ESRCH) {
			progress_end(&p);
			complain("cannot read the counters: %s", strerror(-r));
			return exit_code_of(r);
		} else if (r == -ESRCH && !w->launched) {
			e = WATCH_EXIT;
		}
	} while (e == WATCH_TIME && (seconds < 0 ? !w->launched : seconds > 1e-9));
	progress_end(&p);
	if (e == WATCH_EXIT) {
		if (!w->launched && w->a && last->has_bpf)
			collect_end(last, w->a);
		watch_finish(w, text, sizeof(text));
		complain("%s", text);
	}
	return watch_end_code(w);
}

int interval_open(struct interval *x, const char *process, const char *command,
		  const struct source *source, const void *options)
{
	pid_t pid = process ? parse_process(process) : 0;
	int r;

	memset(&x->w, 0, sizeof(x->w));
	x->w.pidfd = -1;
	if (process && !pid)
		return EXIT_NO_HAKMEM;
	catch_signals();
	r = watch_open(&x->w, pid, command, false, source, options);
	if (r == EXIT_OK)
		keep_to_watch(attach_by_events(x->w.a), command != NULL);
	return r;
}

int interval_run(struct interval *x, bool command, double seconds)
{
	int r = command ? -EAGAIN : watch_sample(&x->w, &x->from);

	if (r && r != -EAGAIN && r != -ESRCH) {
		complain("cannot read the counters: %s", strerror(-r));
		return exit_code_of(r);
	}
	if (r) /* nothing yet, or already gone */
		collect_zero(&x->from);
	else
		watch_mark(&x->w);
	x->to = x->from;
	r = pass(&x->w, seconds, &x->from, &x->to);
	if (r == EXIT_OK)
		watch_model(&x->w, &x->m, &x->from, &x->to);
	return r;
}

void interval_close(struct interval *x)
{
	watch_close(&x->w);
}
