/* hakstat record: what top would have shown, kept in a file. */
#include "cgroup.h"
#include "hakstat.h"
#include "privilege.h"
#include "quantity.h"
#include "recorded.h"
#include "recorder.h"
#include "sample_instant.h"
#include "watch.h"
#include "whom.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define SIZE_DEFAULT ((uint64_t)256 << 20)
#define SIZE_LEAST 0x1p20
#define SIZE_MOST 0x1p40

enum { KEY_MAX_SIZE = 256 };

struct options {
	struct whom whom;
	const char *file;
	double interval;
	uint64_t most;
};

static const struct argp_option option_table[] = {
	{"output", 'o', "FILE", 0, "to this file; one of the same process is gone on with", 0},
	{"interval", 'i', "SECONDS", 0, "time between frames (default 1)", 0},
	{"max-size", KEY_MAX_SIZE, "BYTES", 0,
	 "as 64M, 2G: then the oldest half is dropped; 0: no limit (default 256M)", 0},
	{0},
};

static void parse_size(struct argp_state *state, const char *text, uint64_t *bytes)
{
	double v;

	if (!size_parse(text, &v) || v > SIZE_MOST || (v != 0 && v < SIZE_LEAST))
		argp_error(state, "--max-size: 0, or from 1M to 1T: %s", text);
	else
		*bytes = (uint64_t)v;
}

static void end_options(const struct options *o, struct argp_state *state)
{
	whom_check(&o->whom, state);
	if (!o->file)
		argp_error(state, "give a file with -o");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->whom;
		return 0;
	case 'o':
		o->file = arg;
		return 0;
	case 'i':
		o->interval = parse_seconds(arg);
		if (o->interval < 0.1)
			argp_error(state, "not a number of seconds, at least 0.1: %s", arg);
		return 0;
	case KEY_MAX_SIZE:
		parse_size(state, arg, &o->most);
		return 0;
	case ARGP_KEY_END:
		end_options(o, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --- who is recorded --- */

/* The first line of a file, without its end. */
static void read_line(const char *path, char *out, size_t len)
{
	FILE *f = fopen(path, "re");

	out[0] = '\0';
	if (!f)
		return;
	if (!fgets(out, (int)len, f))
		out[0] = '\0';
	out[strcspn(out, "\n")] = '\0';
	fclose(f);
}

static void identify(struct process *p, const struct watch *w, double interval)
{
	struct utsname u;

	memset(p, 0, sizeof(*p));
	snprintf(p->comm, sizeof(p->comm), "%s", w->t.comm);
	snprintf(p->exe, sizeof(p->exe), "%s", w->t.exe);
	snprintf(p->lib, sizeof(p->lib), "%s", w->t.lib);
	snprintf(p->build_id, sizeof(p->build_id), "%s", w->t.build_id);
	snprintf(p->version, sizeof(p->version), "%s", w->t.version);
	snprintf(p->hakstat, sizeof(p->hakstat), "%s", HAKSTAT_VERSION);
	if (!uname(&u))
		snprintf(p->host, sizeof(p->host), "%s", u.nodename);
	read_line("/proc/sys/kernel/random/boot_id", p->boot, sizeof(p->boot));
	cgroup_path(w->t.pid, p->container, sizeof(p->container));
	p->pid = (uint64_t)w->t.pid;
	p->started = target_started(w->t.pid);
	p->began = w->last.root.start_ns;
	p->link = w->t.link;
	p->interval_ns = (uint64_t)(interval * 1e9);
}

/* --- frames --- */

struct job {
	const struct options *o;
	struct watch w;
	struct recorder out;
	bool open;
	unsigned programs; /* as of the last frame */
	struct sample zero, last;
	char err[PATH_MAX + 256];
};

static uint64_t wall_of(const struct sample *s)
{
	return s->t_ns + (uint64_t)wall_less_monotonic();
}

static int put(struct job *j, const struct sample *s, bool sources)
{
	struct instant *f = recorder_frame(&j->out);

	if (!sample_save(s, f)) {
		snprintf(j->err, sizeof(j->err), "no memory");
		return -ENOMEM;
	}
	if (sources && j->w.source)
		j->w.source->save(j->w.state, f);
	return recorder_put(&j->out, wall_of(s), j->err, sizeof(j->err));
}

/* A program we saw from its start: its counts begin with a frame of zeros. */
static int put_zero(struct job *j, const struct sample *s)
{
	collect_zero_of(&j->zero, s);
	return put(j, &j->zero, false);
}

/* At first, and where the process became another program. */
static int begin_session(struct job *j, const struct sample *s)
{
	static struct process p;
	bool first = !j->open;
	int r;

	identify(&p, &j->w, j->o->interval);
	if (first)
		r = recorder_open(&j->out, j->o->file, &p, j->o->most, j->err, sizeof(j->err));
	else
		r = recorder_session(&j->out, &p, j->err, sizeof(j->err));
	if (r)
		return r;
	j->open = true;
	if (first)
		complain("recording %s [%d] to %s every %.4g s", j->w.t.comm, j->w.t.pid,
			 j->o->file, j->o->interval);
	return j->w.launched || !first ? put_zero(j, s) : 0;
}

/* 0 or a negative errno: of the target (-EAGAIN, -ESRCH and so on), or with j->err of the file. */
static int take_frame(struct job *j)
{
	static struct sample s;
	int r = watch_sample(&j->w, &s);

	j->err[0] = '\0';
	if (r)
		return r;
	if (!j->open || j->programs != j->w.programs)
		r = begin_session(j, &s);
	j->programs = j->w.programs;
	j->last = s;
	return r ? r : put(j, &s, true);
}

/* Of one that ended by itself: what its probes have told since the last frame. */
static int take_end(struct job *j)
{
	static struct model m;

	j->err[0] = '\0';
	if (!j->open || j->w.launched || !j->w.a)
		return 0;
	collect_end(&j->last, j->w.a);
	watch_model(&j->w, &m, &j->last, &j->last); /* so that the sources read the rest */
	return put(j, &j->last, true);
}

static int failed(const struct job *j, int r)
{
	if (j->err[0])
		complain("%s", j->err);
	else
		complain("cannot read the counters: %s", strerror(-r));
	return j->err[0] ? EXIT_FAIL : exit_code_of(r);
}

static int say_end(struct job *j)
{
	char text[128];

	watch_finish(&j->w, text, sizeof(text));
	complain("%s", text);
	return watch_end_code(&j->w);
}

/* Until the next frame is due. */
static enum watch_event pass(struct job *j, double *due, double end)
{
	double now = clock_s();

	*due += j->o->interval;
	if (*due <= now) /* late: not all that were missed at once */
		*due = now + j->o->interval;
	return watch_wait(&j->w, (*due < end ? *due : end) - now);
}

static int run(struct job *j)
{
	double due = clock_s(), end = j->o->whom.seconds > 0 ? due + j->o->whom.seconds : INFINITY;
	enum watch_event e = WATCH_TIME;
	int r = take_frame(j);

	while (e == WATCH_TIME && (!r || r == -EAGAIN) && clock_s() < end) {
		e = pass(j, &due, end);
		r = take_frame(j);
	}
	if (e != WATCH_STOP && !j->w.launched && r == -ESRCH)
		e = WATCH_EXIT;
	if (e == WATCH_EXIT && r == -ESRCH)
		r = take_end(j);
	if (r && r != -EAGAIN && r != -ESRCH)
		return failed(j, r);
	return e == WATCH_EXIT ? say_end(j) : watch_end_code(&j->w);
}

/* --- the command --- */

/* Before a command is started for nothing. */
static bool can_write(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
	struct stat st;
	bool ok = fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && !st.st_size;

	if (fd < 0)
		complain("cannot write %s: %s", path, strerror(errno));
	else if (!ok)
		complain("%s is there already, and not of this command: give another file, or "
			 "remove it",
			 path);
	if (fd >= 0)
		close(fd);
	return ok;
}

static void say_what(const struct recorder *w)
{
	complain("%s: %llu frames, %llu bytes in all%s", w->path, (unsigned long long)w->frames,
		 (unsigned long long)w->size,
		 w->dropped ? "; the oldest were dropped to keep to --max-size" : "");
}

int cmd_record(int argc, char **argv)
{
	static const struct argp_child children[] = {{&whom_argp, 0, NULL, 0}, {0}};
	static const struct argp argp = {
		option_table,
		parse,
		NULL,
		"Keeps what `hakstat top' would have shown, for `hakstat report' and `hakstat top' "
		"with --replay FILE. Ends with the process, or by Ctrl-C.",
		children,
		NULL,
		NULL};
	struct options o = {.interval = 1, .most = SIZE_DEFAULT};
	static struct job j;
	pid_t pid = 0;
	int r;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (o.whom.command && !can_write(o.file))
		return EXIT_FAIL;
	if (o.whom.process && !(pid = parse_process(o.whom.process)))
		return EXIT_NO_HAKMEM;
	catch_signals();
	j.o = &o;
	j.out.fd = -1;
	r = watch_open(&j.w, pid, o.whom.command, false, &source_several, &recorded_sources);
	if (r == EXIT_OK) {
		keep_to_watch(attach_by_events(j.w.a), o.whom.command != NULL);
		r = run(&j);
	}
	if (j.open)
		say_what(&j.out);
	recorder_close(&j.out);
	watch_close(&j.w);
	return r;
}
