/*
 * Allocates and frees in three threads, keeping some blocks, and does what it is told by lines on
 * stdin; answers each with one line.
 *   state      turns of the switch, samples, frees of samples, broken invariants
 *   fork       as state, of a child that allocates, too, and stays
 *   child      as state, of that child
 *   exec       becomes itself once more: "ready"
 */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared.h"

#define KEPT 2000

static void churn(unsigned *state, unsigned n, void **kept)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned r = *state = *state * 1103515245U + 12345U;
		void **s = &kept[r / 65536 % KEPT];

		free(*s);
		*s = malloc(r >> 8 & 1023 ? r % 2000 : r % 2000000);
	}
}

static void *worker(void *arg)
{
	void **kept = calloc(KEPT, sizeof(*kept));
	unsigned state = (unsigned)(uintptr_t)arg;

	for (;;) {
		churn(&state, 1000, kept);
		usleep(1000);
	}
	return NULL;
}

static void tell(FILE *to)
{
	const struct hak_root *r = dlsym(RTLD_DEFAULT, "hakmem_root");
	unsigned (*check)(void);

	*(void **)&check = dlsym(RTLD_DEFAULT, "hak_check");
	fprintf(to, "%llu %llu %llu %u\n", (unsigned long long)r->sampling.turns,
		(unsigned long long)r->sampling.samples,
		(unsigned long long)r->sampling.sample_frees, check());
	fflush(to);
}

static FILE *ask, *answer; /* of the child */

static void child(int in, int out)
{
	FILE *from = fdopen(in, "r"), *to = fdopen(out, "w");
	void **kept = calloc(KEPT, sizeof(*kept));
	unsigned state = 7;
	char line[64];

	do {
		churn(&state, 20000, kept);
		tell(to);
	} while (fgets(line, sizeof(line), from));
	_exit(0);
}

static void make_child(void)
{
	int to[2], from[2];

	if (pipe(to) || pipe(from))
		exit(1);
	if (fork() == 0) {
		close(to[1]);
		child(to[0], from[1]);
	}
	close(to[0]);
	ask = fdopen(to[1], "w");
	answer = fdopen(from[0], "r");
}

static void pass_on(void)
{
	char line[128];

	if (answer && fgets(line, sizeof(line), answer))
		fputs(line, stdout);
}

int main(int argc, char **argv)
{
	static void *kept[KEPT];
	unsigned state = 1;
	char line[64];
	pthread_t t;

	(void)argc;
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&t, NULL, worker, (void *)(i + 2));
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		churn(&state, 20000, kept);
		if (!strcmp(line, "state\n"))
			tell(stdout);
		if (!strcmp(line, "fork\n"))
			make_child();
		if (!strcmp(line, "child\n") && ask) {
			fputs("state\n", ask);
			fflush(ask);
		}
		if (!strcmp(line, "fork\n") || !strcmp(line, "child\n"))
			pass_on();
		if (!strcmp(line, "exec\n"))
			execl(argv[0], argv[0], NULL);
		fflush(stdout);
	}
	return 0;
}
