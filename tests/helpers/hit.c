/*
 * Prints every instruction of a cached malloc and free, as offsets from their first: steps a
 * child through one call of each, for a small, a middle and the largest class.
 *   malloc 100 0x0
 *   malloc 100 0x7 ...
 * With an argument it is first watched for a while, see be_watched.
 */
#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared.h"

#define MARK() __asm__ volatile("int3" ::: "memory")

static const size_t sizes[] = {100, 5000, 65536};
static void *(*volatile malloc_fn)(size_t);
static void (*volatile free_fn)(void *);

static void child(void)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	for (int i = 0; i < 3; i++) {
		void *volatile p, *volatile q = malloc_fn(sizes[i]),
					    *volatile r = malloc_fn(sizes[i]);

		free_fn(r); /* one is in the cache, and there is room for more */
		MARK();
		p = malloc_fn(sizes[i]);
		MARK();
		free_fn(q);
		q = malloc_fn(sizes[i]);
		free_fn(p);
		p = malloc_fn(sizes[i]);
		MARK();
		free_fn(p);
		MARK();
		free_fn(q);
	}
	_exit(0);
}

static uintptr_t pc_of(pid_t pid)
{
	struct user_regs_struct regs;

	ptrace(PTRACE_GETREGS, pid, NULL, &regs);
	return regs.rip;
}

/* Runs to the next mark; false when the child ended. */
static int to_mark(pid_t pid)
{
	int status;

	ptrace(PTRACE_CONT, pid, NULL, NULL);
	waitpid(pid, &status, 0);
	return WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
}

/* Steps to the next mark; prints from the first instruction of `fn` to the return to the child. */
static int step(pid_t pid, const char *name, size_t size, uintptr_t fn)
{
	uintptr_t caller = 0, pc;
	int inside = 0, status;

	for (int n = 0; n < 5000; n++) {
		caller = inside ? caller : pc_of(pid);
		ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
		waitpid(pid, &status, 0);
		if (!WIFSTOPPED(status))
			return 0;
		pc = pc_of(pid);
		if (pc == fn)
			inside = 1;
		else if (inside && pc > caller && pc < caller + 16)
			return to_mark(pid);
		if (inside)
			printf("%s %zu 0x%jx\n", name, size, (intmax_t)(pc - fn));
	}
	return 0;
}

/* Nothing but hits until stdin ends, telling when samples begin and end to be taken. */
static void be_watched(void)
{
	const struct hak_root *root = dlsym(RTLD_DEFAULT, "hakmem_root");
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
	int on = 0;

	for (int i = 0; i < 3; i++) { /* from here on they are in the cache */
		void *volatile p = malloc_fn(sizes[i]);

		free_fn(p);
	}
	while (!poll(&in, 1, 1)) {
		for (int i = 0; i < 3000; i++) {
			void *volatile p = malloc_fn(sizes[i % 3]);

			free_fn(p);
		}
		if ((root->sampling.turns & 1) != (unsigned)on) {
			on = !on;
			printf("%s\n", on ? "on" : "off");
		}
	}
}

int main(int argc, char **argv)
{
	pid_t pid;
	int ok = 1;

	malloc_fn = (void *(*)(size_t))dlsym(RTLD_DEFAULT, "malloc");
	free_fn = (void (*)(void *))dlsym(RTLD_DEFAULT, "free");
	setvbuf(stdout, NULL, _IONBF, 0);
	(void)argv;
	if (argc > 1)
		be_watched();
	pid = fork();
	if (pid == 0)
		child();
	waitpid(pid, &(int){0}, 0); /* stopped at the first mark */
	for (int i = 0; i < 3 && ok; i++) {
		ok = step(pid, "malloc", sizes[i], (uintptr_t)malloc_fn) && to_mark(pid) &&
		     step(pid, "free", sizes[i], (uintptr_t)free_fn);
		if (i < 2)
			ok = ok && to_mark(pid);
	}
	kill(pid, SIGKILL);
	return ok ? 0 : 1;
}
