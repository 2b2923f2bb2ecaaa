/* hakstat: dispatches to its commands. */
#include "hakstat.h"
#include "peek.h"
#include "target.h"
#include "title.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
};

static const struct command commands[] = {
	{"top", cmd_top, "live screen of one process"},
	{"stat", cmd_stat, "one interval, as a table or JSON"},
	{"threads", cmd_threads, "who allocates, who frees, who waits"},
	{"memory", cmd_memory, "where the memory is: RSS line by line"},
	{"remote", cmd_remote, "who frees whose blocks"},
	{"route", cmd_route, "which layer serves requests of which size"},
	{"locks", cmd_locks, "which locks threads wait for, the allocator's and others"},
	{"syscalls", cmd_syscalls, "system calls, and which the allocator made"},
	{"stacks", cmd_stacks, "which code makes a probe fire: events, bytes, time by user stack"},
	{"heap", cmd_heap, "which code holds the memory: live bytes and allocation rate by stack"},
	{"leaks", cmd_leaks, "which stacks only accumulate, and how sure that is"},
	{"trace", cmd_trace, "events one by one, as strace shows system calls"},
	{"record", cmd_record, "keeps what top shows in a file, for later"},
	{"report", cmd_report, "the tables of a time in such a file"},
	{"watch", cmd_watch, "tells when a number gets bad: a line, a command, an exit status"},
	{"list", cmd_list, "processes that run on libhakmem"},
	{"probes", cmd_probes, "the probes, and commands for perf and bpftrace"},
	{"dump", cmd_dump, "the heap of a process or a core file, page by page"},
	{"doctor", cmd_doctor, "what works here, what does not, and what to do"},
	{"help", cmd_help, "what a column means, or the columns of a view"},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

volatile sig_atomic_t stop_requested;
int output_error;

static void on_signal(int sig)
{
	(void)sig;
	stop_requested = 1;
}

/* What catch_signals changes, and how it was. */
static const struct {
	int sig;
	void (*handler)(int);
} caught[] = {
	{SIGINT, on_signal},
	{SIGTERM, on_signal},
	{SIGPIPE, SIG_IGN},
	{SIGCHLD, SIG_DFL}, /* ignored, no child could be waited for */
};
#define CAUGHT (sizeof(caught) / sizeof(caught[0]))
static struct sigaction actions_before[CAUGHT];
static sigset_t mask_before;
static void (*too_large_before)(int);

void catch_signals(void)
{
	sigset_t child;

	for (size_t i = 0; i < CAUGHT; i++) {
		struct sigaction a = {.sa_handler = caught[i].handler};

		sigaction(caught[i].sig, &a, &actions_before[i]);
	}
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &mask_before);
}

void restore_signals(void)
{
	signal(SIGXFSZ, too_large_before);
	for (size_t i = 0; i < CAUGHT; i++)
		sigaction(caught[i].sig, &actions_before[i], NULL);
	sigprocmask(SIG_SETMASK, &mask_before, NULL);
}

static char *complaint;
static size_t complaint_bytes;

void complain_into(char *text, size_t len)
{
	complaint = text;
	complaint_bytes = len;
}

void complain(const char *format, ...)
{
	va_list args;

	if (complaint) {
		va_start(args, format);
		/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
		vsnprintf(complaint, complaint_bytes, format, args);
		va_end(args);
		complaint[strcspn(complaint, "\n")] = '\0';
		return;
	}
	fflush(stdout);
	fputs("hakstat: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args); /* NOLINT(clang-analyzer-valist.Uninitialized) */
	va_end(args);
	fputc('\n', stderr);
}

bool reader_is_gone(void)
{
	struct pollfd p = {STDOUT_FILENO, 0, 0};

	return poll(&p, 1, 0) == 1 && p.revents & POLLERR;
}

int exit_code_of(int error)
{
	switch (error) {
	case -ENOENT:
	case -EAGAIN:
	case -EPROTO:
	case -ESRCH:
		return EXIT_NO_HAKMEM;
	case -EPERM:
	case -EACCES:
		return EXIT_PRIVILEGE;
	default:
		return EXIT_FAIL;
	}
}

double clock_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int64_t wall_less_monotonic(void)
{
	struct timespec real, mono;

	clock_gettime(CLOCK_MONOTONIC, &mono);
	clock_gettime(CLOCK_REALTIME, &real);
	return (real.tv_sec - mono.tv_sec) * (int64_t)1000000000 + real.tv_nsec - mono.tv_nsec;
}

double parse_seconds(const char *text)
{
	char *end;
	double v = strtod(text, &end);

	return *text && !*end && isfinite(v) && v < 1e9 ? v : -1;
}

struct by_name {
	const char *name;
	pid_t pid;
	int matches;
};

static void complain_of_match(pid_t pid)
{
	char title[TITLE_BYTES];

	title_read(pid, title, sizeof(title));
	complain("%d matches: %s", pid, title);
}

static bool match_name(const struct target *t, void *arg)
{
	struct by_name *b = arg;

	if (!strcmp(t->comm, b->name)) {
		if (b->matches == 1)
			complain_of_match(b->pid);
		if (b->matches++)
			complain_of_match(t->pid);
		b->pid = t->pid;
	}
	return true;
}

pid_t parse_process(const char *text)
{
	struct by_name b = {text, 0, 0};
	char *end;
	long pid = strtol(text, &end, 10);
	int r;

	if (*text && !*end && pid > 0 && pid < INT_MAX)
		return (pid_t)pid;
	r = target_each(match_name, &b);
	if (b.matches == 1)
		return b.pid;
	if (r)
		complain("not all processes could be looked at: %s", target_reason(r));
	if (b.matches == 0) {
		complain("no process named %s runs on libhakmem (see hakstat list)", text);
		return 0;
	}
	complain("%d processes are named %s: give a number", b.matches, text);
	exit(EXIT_USAGE);
}

static void usage(FILE *out)
{
	fprintf(out, "usage: hakstat COMMAND [OPTION...]\n\n");
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
	fprintf(out,
		"\n'hakstat COMMAND --help' tells a command's options; hakstat(8) the rest.\n");
}

static const struct command *find(const char *name)
{
	const struct command *found = NULL;

	for (size_t i = 0; i < COMMANDS; i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
		if (!strncmp(commands[i].name, name, strlen(name))) {
			if (found)
				return NULL; /* not unique */
			found = &commands[i];
		}
	}
	return found;
}

/*
 * A closed one would be the next file that is opened, and what is printed would go there. What
 * takes its place can be read, at its end, and not written to.
 */
static void open_standard_files(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int run(int argc, char **argv)
{
	const struct command *c;
	char name[64];

	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if ((!strcmp(argv[1], "help") && argc == 2) || !strcmp(argv[1], "--help") ||
	    !strcmp(argv[1], "-h")) {
		usage(stdout);
		return EXIT_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("hakstat %s\n", HAKSTAT_VERSION);
		return EXIT_OK;
	}
	c = find(argv[1]);
	if (!c) {
		complain("no command '%s'", argv[1]);
		usage(stderr);
		return EXIT_USAGE;
	}
	snprintf(name, sizeof(name), "hakstat %s", c->name);
	argv[1] = name;
	return c->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	int r;

	open_standard_files();
	/* a report above the limit of a file's size fails like any other */
	too_large_before = signal(SIGXFSZ, SIG_IGN);
	argp_err_exit_status = EXIT_USAGE;
	target_peek = peek_memory;
	r = run(argc, argv);
	errno = output_error;
	if ((fflush(stdout) || ferror(stdout)) && !reader_is_gone()) {
		complain("cannot write: %s", strerror(errno ? errno : EIO));
		return r == EXIT_OK ? EXIT_FAIL : r;
	}
	return r;
}
