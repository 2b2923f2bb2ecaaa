#include "watch.h"
#include "hakstat.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXEC_TRIES 300 /* of 10 ms: until a new program has its allocator, where nobody runs */
#define EXEC_PROGRAMS 8
#define EXEC_SLEEPS 10 /* of them it may sleep: the dynamic linker does not */
#define POLL_MS 100    /* the longest wait; what happens wakes it */
#define TURN_MS 20     /* with a source that has something to do meanwhile */

/* --- the source of a view --- */

static bool attach_source(struct watch *w, char *err, size_t errlen)
{
	err[0] = '\0';
	return !w->source || !w->source->attach || !w->source->attach(w->state, &w->t, err, errlen);
}

static void restart_source(struct watch *w)
{
	if (w->source && w->source->restart)
		w->source->restart(w->state);
}

static bool open_source(struct watch *w, const struct source *source, const void *options)
{
	w->source = source;
	w->state = source ? source->open(options) : NULL;
	if (!source || w->state)
		return true;
	w->source = NULL;
	return false;
}

static void close_source(struct watch *w)
{
	if (w->source)
		w->source->close(w->state);
	w->source = NULL;
	w->state = NULL;
}

bool watch_use(struct watch *w, const struct source *source, const void *options, char *err,
	       size_t errlen)
{
	close_source(w);
	if (!open_source(w, source, options)) {
		snprintf(err, errlen, "no memory");
		return false;
	}
	return attach_source(w, err, errlen);
}

void watch_model(struct watch *w, struct model *m, const struct sample *from,
		 const struct sample *to)
{
	model_make(m, from, to);
	m->target = &w->t;
	if (w->source && w->source->fill)
		w->source->fill(w->state, m);
	watch_mark(w);
}

void watch_mark(struct watch *w)
{
	if (w->source && w->source->mark)
		w->source->mark(w->state);
}

/* --- the process --- */

static void try_attach(struct watch *w)
{
	char err[512] = "";
	int error;
	bool sums = !w->source || !w->source->by_itself;

	if (w->alone)
		return;
	w->a = sums ? attach_probes(&w->t, &error, err, sizeof(err)) : NULL;
	/* for one that has ended in the meantime any error may come */
	if (sums && !w->a && target_alive(target_reader(w->t.pid)))
		complain("%s\nhakstat: going on with the counters alone", err);
	if (!attach_source(w, err, sizeof(err)) && w->a && err[0])
		complain("%s", err);
}

static void name_it(struct watch *w)
{
	snprintf(w->who, sizeof(w->who), "%s [%d]   hakmem %s (%s)", w->t.comm, w->t.pid,
		 w->t.version, link_names[w->t.link]);
}

static int open_pid(struct watch *w, pid_t pid)
{
	char err[512];
	int r = target_await(&w->t, pid, err, sizeof(err));

	if (r) {
		complain("%s", err);
		return exit_code_of(r);
	}
	w->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	w->ready = true;
	if (w->t.copies > 1)
		complain("process %d has %u copies of libhakmem: watched is %s, with %llu "
			 "allocations so far; not %s, with %llu",
			 pid, w->t.copies, w->t.lib, (unsigned long long)w->t.allocs, w->t.other,
			 (unsigned long long)w->t.other_allocs);
	name_it(w);
	try_attach(w);
	if (w->a || w->alone || target_alive(target_reader(pid)))
		return EXIT_OK;
	complain("process %d has ended", pid);
	return exit_code_of(-ESRCH);
}

/*
 * The command stands before its first instruction: a static program has the library in itself.
 * The probes' sums begin with that program, as its counters do.
 */
static int attach_command(struct watch *w)
{
	char exe[64], err[512];

	snprintf(exe, sizeof(exe), "/proc/%d/exe", w->l.pid);
	if (target_from_file(&w->t, exe, err, sizeof(err)) &&
	    target_from_file(&w->t, w->library, err, sizeof(err))) {
		complain("%s", err);
		return EXIT_FAIL;
	}
	w->t.pid = w->l.pid;
	attach_close(w->a);
	try_attach(w);
	launch_resume(&w->l);
	return EXIT_OK;
}

static void command_became_another(struct watch *w)
{
	w->ready = w->any = false;
	w->programs++;
	restart_source(w);
	if (attach_command(w) != EXIT_OK)
		launch_resume(&w->l);
}

static int open_command(struct watch *w, const char *command, bool screen)
{
	char *library = w->library, err[512];
	int r;

	if (!launch_library(library, sizeof(w->library))) {
		complain("no libhakmem.so beside hakstat; set HAKMEM_LIB to its path");
		return EXIT_FAIL;
	}
	if (target_from_file(&w->t, library, err, sizeof(err))) {
		complain("%s%s", getenv("HAKMEM_LIB") ? "cannot use HAKMEM_LIB: " : "", err);
		return EXIT_FAIL;
	}
	w->launched = true;
	r = launch_start(&w->l, command, library, screen, err, sizeof(err));
	if (r) {
		complain("%s", err);
		return r == -EINVAL ? EXIT_USAGE : r == -EPERM ? EXIT_PRIVILEGE : EXIT_FAIL;
	}
	snprintf(w->who, sizeof(w->who), "%.100s [%d]", command, w->l.pid);
	return attach_command(w);
}

static int begin(struct watch *w, pid_t pid, const char *command, bool screen,
		 const struct source *source, const void *options)
{
	w->pidfd = -1;
	if (!open_source(w, source, options)) {
		complain("no memory");
		return EXIT_FAIL;
	}
	return command ? open_command(w, command, screen) : open_pid(w, pid);
}

int watch_open(struct watch *w, pid_t pid, const char *command, bool screen,
	       const struct source *source, const void *options)
{
	memset(w, 0, sizeof(*w));
	return begin(w, pid, command, screen, source, options);
}

int watch_open_alone(struct watch *w, pid_t pid, const char *command, const struct source *source,
		     const void *options)
{
	memset(w, 0, sizeof(*w));
	w->alone = true;
	return begin(w, pid, command, false, source, options);
}

void watch_close(struct watch *w)
{
	close_source(w);
	attach_close(w->a);
	if (w->launched)
		launch_close(&w->l);
	if (w->pidfd >= 0)
		close(w->pidfd);
}

static bool command_has_ended(struct watch *w)
{
	enum launch_event e;

	while ((e = launch_poll(&w->l)) == LAUNCH_EXEC)
		command_became_another(w);
	return e != LAUNCH_RUNNING;
}

static bool has_ended(struct watch *w)
{
	struct pollfd p = {w->pidfd, POLLIN, 0};

	if (w->launched)
		return command_has_ended(w);
	if (w->pidfd >= 0)
		return poll(&p, 1, 0) == 1;
	return !target_alive(w->t.pid);
}

enum watch_event watch_wait(struct watch *w, double seconds)
{
	bool turns = w->source && w->source->turn;
	double end = clock_s() + seconds;

	for (;;) {
		struct pollfd p = {w->launched ? w->l.wake : w->pidfd, POLLIN, 0};
		double left = end - clock_s();
		int ms = turns ? TURN_MS : POLL_MS;

		if (w->a)
			attach_keep_budget(w->a);
		if (turns)
			w->source->turn(w->state, w);
		if (stop_requested)
			return WATCH_STOP;
		if (has_ended(w))
			return WATCH_EXIT;
		if (seconds >= 0 && left <= 0)
			return WATCH_TIME;
		if (seconds >= 0 && left * 1000 < ms)
			ms = (int)(left * 1000) + 1;
		poll(&p, 1, ms);
	}
}

/* The command has reached the allocator. */
static int get_ready(struct watch *w)
{
	char err[512];
	struct target t;
	int r = target_open(&t, w->t.pid, err, sizeof(err));

	if (r)
		return r == -ENOENT || r == -ESRCH ? -EAGAIN : r;
	w->t = t;
	w->ready = true;
	name_it(w);
	return 0;
}

static int take_sample(struct watch *w, struct sample *s)
{
	return collect(&w->t, w->a, s, w->source ? w->source->heap : NULL, w->state);
}

static int begin_program(struct watch *w, const struct target *t, struct sample *s)
{
	w->t = *t;
	w->any = false;
	w->programs++;
	name_it(w);
	attach_close(w->a);
	restart_source(w);
	try_attach(w);
	return take_sample(w, s);
}

/*
 * The process became another program: that one is watched from here on, if it has hakmem; or the
 * one after it, where it has become yet another meanwhile.
 */
static int follow_exec(struct watch *w, struct sample *s)
{
	static struct target t;
	char err[512];
	int r = -ESRCH, sleeps = 0, programs = 0;

	for (int i = 0; i < EXEC_TRIES && sleeps < EXEC_SLEEPS && programs < EXEC_PROGRAMS; i++) {
		if (i)
			usleep(10000);
		r = target_open(&t, w->t.pid, err, sizeof(err));
		if (!r) {
			programs++;
			r = begin_program(w, &t, s);
			if (r != -ESRCH)
				return r;
		}
		if (has_ended(w) || stop_requested)
			break;
		sleeps += thread_sleeps(w->t.pid);
	}
	w->restless = programs || r != -ENOENT;
	return -ESRCH;
}

/* The counters are there, but another program's, in the same place. */
static bool is_another(const struct watch *w, const struct sample *s)
{
	return w->any && s->root.start_ns != w->last.root.start_ns;
}

int watch_sample(struct watch *w, struct sample *s)
{
	int r;

	if (!w->ready) {
		r = w->l.pid ? get_ready(w) : -ESRCH;
		if (r)
			return r;
	}
	r = take_sample(w, s);
	if ((r == -ESRCH && !has_ended(w)) || (!r && is_another(w, s)))
		r = follow_exec(w, s);
	if (r)
		return r;
	if (w->any)
		collect_after(s, &w->last);
	w->last = *s;
	w->any = true;
	if (w->source && w->source->look)
		w->source->look(w->state, w, s);
	return 0;
}

int watch_end_code(const struct watch *w)
{
	if (w->any || !w->launched)
		return EXIT_OK;
	complain("the command never used libhakmem (static, or set-user-ID?)");
	return EXIT_NO_HAKMEM;
}

void watch_finish(struct watch *w, char *text, size_t len)
{
	if (!w->launched) {
		snprintf(text, len, "target %d %s %s", w->t.pid, w->t.comm,
			 has_ended(w)  ? "exited"
			 : w->restless ? "becomes another program before it can be read"
				       : "is another program now, without libhakmem");
		return;
	}
	launch_finish(&w->l);
	if (WIFSIGNALED(w->l.status))
		snprintf(text, len, "command [%d] was killed by signal %d", w->t.pid,
			 WTERMSIG(w->l.status));
	else
		snprintf(text, len, "command [%d] exited with status %d", w->t.pid,
			 WEXITSTATUS(w->l.status));
}
