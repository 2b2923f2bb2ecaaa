#include "launch.h"
#include "hakstat.h"
#include "target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wordexp.h>

#define GRACE_S 1.0

bool launch_library(char *path, size_t len)
{
	static const char *const beside[] = {"libhakmem.so", "../lib/libhakmem.so",
					     "../lib/libhakmem.so.0"};
	const char *env = getenv("HAKMEM_LIB");
	char self[PATH_MAX], try[PATH_MAX + 64], *slash;
	ssize_t n;

	if (env) {
		snprintf(path, len, "%s", env);
		return true;
	}
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return false;
	self[n] = 0;
	slash = strrchr(self, '/');
	if (slash)
		*slash = 0;
	for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
		char real[PATH_MAX];

		snprintf(try, sizeof(try), "%s/%s", self, beside[i]);
		if (realpath(try, real)) {
			snprintf(path, len, "%s", real);
			return true;
		}
	}
	return false;
}

static void preload(const char *library)
{
	const char *old = getenv("LD_PRELOAD");
	char both[2 * PATH_MAX];

	if (old && *old)
		snprintf(both, sizeof(both), "%s:%s", library, old);
	else
		snprintf(both, sizeof(both), "%s", library);
	setenv("LD_PRELOAD", both, 1);
}

/* The screen and the keys are hakstat's: with a session of its own it cannot reach either. */
static void leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	dup2(null, STDIN_FILENO);
	for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
		if (isatty(fd))
			dup2(null, fd);
}

/* The command gets the terminal as a shell's job does, if we have it: Ctrl-C and ^Z are for it. */
static void give_terminal(struct launch *l)
{
	if (l->terminal && tcgetpgrp(STDIN_FILENO) == getpgrp())
		l->given = tcsetpgrp(STDIN_FILENO, l->pid) == 0;
}

static void take_terminal(struct launch *l)
{
	if (l->given)
		tcsetpgrp(STDIN_FILENO, getpgrp());
	l->given = false;
}

/* The gate opens with a byte from the parent; what comes back is why the command cannot run. */
static _Noreturn void child(int gate, char **argv, const char *library, bool screen)
{
	ssize_t n;
	char c;

	restore_signals();
	if (screen)
		leave_terminal();
	else
		setpgid(0, 0);
	while ((n = read(gate, &c, 1)) < 0 && errno == EINTR)
		;
	if (n == 1) {
		preload(library);
		execvp(argv[0], argv);
		if (write(gate, &errno, sizeof(errno)) < 0)
			_exit(126);
	}
	_exit(127);
}

/* Lets it through the gate, up to its exec. *refused: why there was none. */
static int trace(struct launch *l, int gate, int *refused)
{
	int status;

	if (ptrace(PTRACE_SEIZE, l->pid, 0,
		   PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT | PTRACE_O_TRACECLONE |
			   PTRACE_O_EXITKILL))
		return -errno;
	if (write(gate, "x", 1) != 1)
		return -errno;
	for (;;) {
		if (waitpid(l->pid, &status, 0) < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (!WIFSTOPPED(status))
			return -ECHILD;
		if (status >> 16 == PTRACE_EVENT_EXEC) {
			l->another = true;
			return 0;
		}
		if (status >> 16 == PTRACE_EVENT_EXIT)
			return read(gate, refused, sizeof(*refused)) == sizeof(*refused) ? -*refused
											 : -ECHILD;
		ptrace(PTRACE_CONT, l->pid, 0, status >> 16 ? 0 : WSTOPSIG(status));
	}
}

/* In a group of its own, so that its end can be that of its children too. */
static void own_group(struct launch *l)
{
	setpgid(l->pid, l->pid); /* here too: it may not have come that far */
	l->terminal = tcgetpgrp(STDIN_FILENO) >= 0;
	if (l->terminal)
		signal(SIGTTOU, SIG_IGN); /* to take it back, and to write, from the background */
	give_terminal(l);
}

static int start(struct launch *l, char **argv, const char *library, bool screen, int *refused)
{
	int gate[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gate))
		return -errno;
	fflush(NULL);
	l->pid = fork();
	if (l->pid == 0) {
		close(gate[1]);
		child(gate[0], argv, library, screen);
	}
	close(gate[0]);
	if (l->pid > 0 && !screen)
		own_group(l);
	r = l->pid < 0 ? -errno : trace(l, gate[1], refused);
	close(gate[1]);
	if (r && l->pid > 0) {
		kill(l->pid, SIGKILL);
		ptrace(PTRACE_CONT, l->pid, 0, 0); /* one that is stopped at its end */
		while (waitpid(l->pid, NULL, __WALL) < 0 && errno == EINTR)
			;
	}
	if (r) {
		take_terminal(l);
		l->pid = 0;
	}
	return r;
}

int launch_start(struct launch *l, const char *command, const char *library, bool screen, char *err,
		 size_t errlen)
{
	int r, refused = 0;
	wordexp_t words;
	sigset_t child;

	memset(l, 0, sizeof(*l));
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	l->wake = signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
	if (wordexp(command, &words, WRDE_NOCMD | WRDE_SHOWERR) || words.we_wordc == 0) {
		snprintf(err, errlen,
			 "cannot run '%s': one command with arguments is meant; for pipes and the "
			 "like use: sh -c '...'",
			 command);
		return -EINVAL;
	}
	r = start(l, words.we_wordv, library, screen, &refused);
	wordfree(&words);
	if (refused)
		snprintf(err, errlen, "cannot run '%s': %s", command, strerror(refused));
	else if (r)
		snprintf(err, errlen, "cannot trace '%s': %s", command, strerror(-r));
	return refused ? -ENOEXEC : r;
}

static struct ending *find(struct launch *l, pid_t tid)
{
	for (size_t i = 0; i < l->endings; i++)
		if (l->ending[i].tid == tid)
			return &l->ending[i];
	return NULL;
}

/* A thread has come to its end: it stays there until it is known whether it is the last. */
static void hold(struct launch *l, pid_t tid)
{
	if (l->endings == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		struct ending *p = realloc(l->ending, room * sizeof(*p));

		if (!p) {
			ptrace(PTRACE_CONT, tid, 0, 0);
			return;
		}
		l->ending = p;
		l->room = room;
	}
	l->ending[l->endings++] = (struct ending){tid, true};
}

static void forget(struct launch *l, pid_t tid)
{
	struct ending *e = find(l, tid);

	if (e)
		*e = l->ending[--l->endings];
}

static void release(struct launch *l)
{
	for (size_t i = 0; i < l->endings; i++) {
		if (l->ending[i].held)
			ptrace(PTRACE_CONT, l->ending[i].tid, 0, 0);
		l->ending[i].held = false;
	}
}

static bool another_runs(struct launch *l)
{
	bool found = false;
	struct dirent *d;
	char path[64];
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", l->pid);
	tasks = opendir(path);
	while (tasks && !found && (d = readdir(tasks))) {
		pid_t tid = (pid_t)strtol(d->d_name, NULL, 10);

		found = tid > 0 && !find(l, tid) && thread_runs(tid);
	}
	if (tasks)
		closedir(tasks);
	return found;
}

/*
 * Threads are held at their ends. While another one runs they may go: that one will come to its
 * own. Where the rest is killed, or on its way out, it is waited for: some of them will not stop
 * there, and until they are gone they may still run. A first thread that has ended stays, dead.
 */
static void settle(struct launch *l)
{
	int held = 0;

	for (size_t i = 0; i < l->endings; i++)
		held += l->ending[i].held;
	if (!held)
		return;
	if (target_threads(l->pid) <= held + !target_alive(l->pid))
		l->exiting = true;
	else if (another_runs(l))
		release(l);
}

/* It must not be let go from any other stop: one for a signal ends with that signal. */
void launch_resume(struct launch *l)
{
	if (l->exiting)
		release(l);
	else if (l->another)
		ptrace(PTRACE_CONT, l->pid, 0, 0);
	l->exiting = l->another = false;
}

/* A child made by clone(2) with flags of its own is traced too, until here. */
static bool is_thread(const struct launch *l, pid_t tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d", l->pid, tid);
	return access(path, F_OK) == 0;
}

/* The shell sees us stop, as a whole, and we go on together. */
static void suspend(struct launch *l)
{
	take_terminal(l);
	kill(0, SIGTSTP);
	give_terminal(l);
	kill(-l->pid, SIGCONT);
}

static bool by_terminal(pid_t tid)
{
	siginfo_t info;

	return !ptrace(PTRACE_GETSIGINFO, tid, 0, &info) && info.si_code == SI_KERNEL;
}

static void stopped(struct launch *l, pid_t tid, int status)
{
	int event = status >> 16, sig = WSTOPSIG(status);

	if (!is_thread(l, tid)) {
		ptrace(PTRACE_DETACH, tid, 0, event ? 0 : sig);
	} else if (event == PTRACE_EVENT_EXIT) {
		hold(l, tid);
	} else if (event == PTRACE_EVENT_STOP && sig != SIGTRAP) {
		/* a real stop (SIGSTOP, ^Z): it stays stopped */
		ptrace(PTRACE_LISTEN, tid, 0, 0);
		if (tid == l->pid && l->terminal && sig != SIGSTOP)
			suspend(l);
	} else if (event == PTRACE_EVENT_EXEC) {
		l->endings = 0; /* of all threads this one is left */
		l->another = true;
	} else {
		if (!event && sig == SIGINT && l->given && by_terminal(tid))
			stop_requested = 1; /* Ctrl-C is for both */
		ptrace(PTRACE_CONT, tid, 0, event ? 0 : sig);
	}
}

static enum launch_event ended(struct launch *l, int status)
{
	l->status = status;
	l->pid = 0;
	take_terminal(l);
	return LAUNCH_GONE;
}

enum launch_event launch_poll(struct launch *l)
{
	struct signalfd_siginfo seen;
	int status;
	pid_t tid;

	if (!l->pid)
		return LAUNCH_GONE;
	while (read(l->wake, &seen, sizeof(seen)) > 0)
		;
	while ((tid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
		if (WIFSTOPPED(status))
			stopped(l, tid, status);
		else if (tid == l->pid)
			return ended(l, status);
		else
			forget(l, tid);
	}
	if (!l->exiting)
		settle(l);
	return l->exiting ? LAUNCH_EXITING : l->another ? LAUNCH_EXEC : LAUNCH_RUNNING;
}

static enum launch_event poll_soon(struct launch *l)
{
	struct pollfd p = {l->wake, POLLIN, 0};
	enum launch_event e = launch_poll(l);

	if (e == LAUNCH_EXITING || e == LAUNCH_EXEC)
		launch_resume(l);
	else if (e == LAUNCH_RUNNING)
		poll(&p, 1, 10);
	return e;
}

void launch_finish(struct launch *l)
{
	while (poll_soon(l) != LAUNCH_GONE)
		;
}

/* Its handlers have a second, and so have its children, as far as they stayed in its group. */
static void end_group(struct launch *l)
{
	double end = clock_s() + GRACE_S;
	pid_t group = l->pid;

	kill(-group, SIGTERM);
	kill(-group, SIGCONT); /* one that is stopped gets it too */
	launch_resume(l);
	while (kill(-group, 0) == 0 && clock_s() < end)
		if (poll_soon(l) == LAUNCH_GONE)
			usleep(10000);
	kill(-group, SIGKILL);
	launch_finish(l);
}

void launch_close(struct launch *l)
{
	if (l->pid)
		end_group(l);
	free(l->ending);
	if (l->wake >= 0)
		close(l->wake);
}
