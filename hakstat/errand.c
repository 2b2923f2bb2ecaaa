/*
 * The arguments are the user's and stay as they are. What is told of the target goes through the
 * environment, where no shell looks for anything to run; and since people write scripts that are
 * careless with variables, names from the target hold nothing a shell knows.
 */
#include "errand.h"
#include "hakstat.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wordexp.h>

bool errand_open(struct errand *e, const char *command)
{
	wordexp_t words;

	for (int i = 0; i < ERRANDS_MAX; i++)
		e->running[i] = -1;
	/* of a variable that is not there yet nothing would be left: $HAKSTAT_VALUE within "" */
	if (wordexp(command, &words, WRDE_NOCMD | WRDE_UNDEF) || words.we_wordc == 0)
		return false;
	e->argv = words.we_wordv; /* until we end */
	return true;
}

void errand_plain(char *text)
{
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr("._:/@+,-", *text))
			*text = '_';
}

static _Noreturn void run(char **argv, const char *const *variables)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	restore_signals();
	dup2(null, STDIN_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	for (; *variables; variables++)
		putenv((char *)*variables); /* NOLINT(bugprone-not-null-terminated-result) */
	execvp(argv[0], argv);
	complain("cannot run '%s': %s", argv[0], strerror(errno));
	_exit(127);
}

/*
 * Has it ended, after `ms` at most (-1: for ever)? Where a command is watched that is our child
 * too, launch.c may have waited for this one already.
 */
static bool has_ended(int *pidfd, int ms)
{
	struct pollfd p = {*pidfd, POLLIN, 0};
	siginfo_t info;
	int r;

	do
		r = poll(&p, 1, ms);
	while (r < 0 && errno == EINTR && ms < 0);
	if (r != 1)
		return false;
	waitid(P_PIDFD, (id_t)*pidfd, &info, WEXITED | WNOHANG);
	close(*pidfd);
	*pidfd = -1;
	return true;
}

/* A slot that is free, or whose command has ended; -1: none. */
static int slot(struct errand *e)
{
	for (int i = 0; i < ERRANDS_MAX; i++)
		if (e->running[i] < 0 || has_ended(&e->running[i], 0))
			return i;
	return -1;
}

bool errand_start(struct errand *e, const char *const *variables)
{
	int i = slot(e);
	pid_t pid;

	if (i < 0) {
		complain("%d commands of --exec are still running: not started once more",
			 ERRANDS_MAX);
		return false;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		run(e->argv, variables);
	if (pid > 0)
		e->running[i] = (int)syscall(SYS_pidfd_open, pid, 0);
	else
		complain("cannot run '%s': %s", e->argv[0], strerror(errno));
	return pid > 0;
}

void errand_close(struct errand *e)
{
	for (int i = 0; i < ERRANDS_MAX; i++)
		if (e->running[i] >= 0)
			has_ended(&e->running[i], -1);
}
