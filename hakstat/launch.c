#include "launch.h"
#include "hakstat.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wordexp.h>

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

/* The gate opens with a byte from the parent; what comes back is why the command cannot run. */
static _Noreturn void child(int gate, char **argv, const char *library)
{
	ssize_t n;
	char c;

	restore_signals();
	while ((n = read(gate, &c, 1)) < 0 && errno == EINTR)
		;
	if (n == 1) {
		preload(library);
		execvp(argv[0], argv);
		n = write(gate, &errno, sizeof(errno));
	}
	_exit(127);
}

/* Lets it through the gate, up to its exec. *refused: why there was none. */
static int trace(struct launch *l, int gate, int *refused)
{
	int status;

	if (ptrace(PTRACE_SEIZE, l->pid, 0,
		   PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL))
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
		if (status >> 16 == PTRACE_EVENT_EXEC)
			return 0;
		if (status >> 16 == PTRACE_EVENT_EXIT)
			return read(gate, refused, sizeof(*refused)) == sizeof(*refused) ? -*refused
											 : -ECHILD;
		ptrace(PTRACE_CONT, l->pid, 0, status >> 16 ? 0 : WSTOPSIG(status));
	}
}

static int start(struct launch *l, char **argv, const char *library, int *refused)
{
	int gate[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gate))
		return -errno;
	fflush(NULL);
	l->pid = fork();
	if (l->pid == 0) {
		close(gate[1]);
		child(gate[0], argv, library);
	}
	close(gate[0]);
	r = l->pid < 0 ? -errno : trace(l, gate[1], refused);
	close(gate[1]);
	if (r && l->pid > 0) {
		kill(l->pid, SIGKILL);
		ptrace(PTRACE_CONT, l->pid, 0, 0); /* one that is stopped at its end */
		while (waitpid(l->pid, NULL, __WALL) < 0 && errno == EINTR)
			;
	}
	if (r)
		l->pid = 0;
	return r;
}

int launch_start(struct launch *l, const char *command, const char *library, char *err,
		 size_t errlen)
{
	int r, refused = 0;
	wordexp_t words;

	memset(l, 0, sizeof(*l));
	if (wordexp(command, &words, WRDE_NOCMD | WRDE_SHOWERR) || words.we_wordc == 0) {
		snprintf(err, errlen,
			 "cannot run '%s': one command with arguments is meant; for pipes and the "
			 "like use: sh -c '...'",
			 command);
		return -EINVAL;
	}
	r = start(l, words.we_wordv, library, &refused);
	wordfree(&words);
	if (refused)
		snprintf(err, errlen, "cannot run '%s': %s", command, strerror(refused));
	else if (r)
		snprintf(err, errlen, "cannot trace '%s': %s", command, strerror(-r));
	return refused ? -ENOEXEC : r;
}

void launch_resume(struct launch *l)
{
	ptrace(PTRACE_CONT, l->pid, 0, 0);
}

static enum launch_event stopped(struct launch *l, int status)
{
	int event = status >> 16, sig = WSTOPSIG(status);

	if (event == PTRACE_EVENT_EXIT) {
		l->exiting = true;
		return LAUNCH_EXITING;
	}
	if (event == PTRACE_EVENT_STOP) { /* a real stop (SIGSTOP, ^Z): it stays stopped */
		ptrace(sig == SIGTRAP ? PTRACE_CONT : PTRACE_LISTEN, l->pid, 0, 0);
		return LAUNCH_RUNNING;
	}
	ptrace(PTRACE_CONT, l->pid, 0, event ? 0 : sig);
	return LAUNCH_RUNNING;
}

enum launch_event launch_poll(struct launch *l, bool wait)
{
	int status;

	for (;;) {
		pid_t r = waitpid(l->pid, &status, (wait ? 0 : WNOHANG) | __WALL);
		enum launch_event e;

		if (r == 0)
			return LAUNCH_RUNNING;
		if (r < 0)
			return errno == EINTR ? LAUNCH_RUNNING : LAUNCH_GONE;
		if (!WIFSTOPPED(status)) {
			l->status = status;
			return LAUNCH_GONE;
		}
		e = stopped(l, status);
		if (e != LAUNCH_RUNNING)
			return e;
	}
}

void launch_kill(struct launch *l)
{
	if (l->pid > 0) {
		kill(l->pid, SIGTERM);
		ptrace(PTRACE_DETACH, l->pid, 0, 0);
		for (int i = 0; i < 20 && waitpid(l->pid, NULL, WNOHANG | __WALL) == 0; i++)
			usleep(50000);
		kill(l->pid, SIGKILL);
	}
	l->pid = 0;
}
