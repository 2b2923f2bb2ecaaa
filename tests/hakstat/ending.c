/*
 * Ways a watched process stops being what it was, with known counts of blocks of 3000 bytes.
 * It waits for a line on its standard input first.
 *
 *   ending exits N       N pairs, 10 blocks of 300 MiB, 2000 blocks freed by another thread; ends
 *   ending execs N M     N pairs, then itself again with "then M": M pairs, then it waits
 *   ending leader N      the first thread ends; another makes N pairs, then waits
 *   ending threads N     the same, and the other ends as a thread, by pthread_exit
 *   ending texecs N M    as execs, but a thread that is not the first one does it
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HANDED 2000

static long pairs;
static void *handed[HANDED];

static void make_pairs(long n)
{
	while (n--) {
		char *volatile p = malloc(3000);

		p[0] = 1;
		free(p);
	}
}

static void wait_for_line(void)
{
	char c;

	while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
		;
}

static void *free_handed(void *arg)
{
	for (int i = 0; i < HANDED; i++)
		free(handed[i]);
	return arg;
}

static int exits(void)
{
	pthread_t t;

	make_pairs(pairs);
	for (int i = 0; i < 10; i++) {
		void *volatile p = malloc(300UL << 20);

		free(p);
	}
	for (int i = 0; i < HANDED; i++)
		handed[i] = malloc(208);
	pthread_create(&t, NULL, free_handed, NULL);
	pthread_join(t, NULL);
	return 0;
}

static void *after_leader(void *arg)
{
	usleep(200000);
	make_pairs(pairs);
	wait_for_line();
	if (!arg)
		_exit(0);
	return NULL;
}

static void *becomes(void *arg)
{
	char **argv = arg;

	make_pairs(pairs);
	execl("/proc/self/exe", argv[0], "then", argv[3], (char *)NULL);
	return NULL;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	pthread_t t;

	pairs = argc > 2 ? atol(argv[2]) : 0;
	free(malloc(1));
	if (!strcmp(what, "then")) {
		make_pairs(pairs);
		wait_for_line();
		return 0;
	}
	wait_for_line();
	if (!strcmp(what, "exits"))
		return exits();
	if (!strcmp(what, "execs") && argc > 3) {
		make_pairs(pairs);
		execl("/proc/self/exe", argv[0], "then", argv[3], (char *)NULL);
	}
	if (!strcmp(what, "texecs") && argc > 3) {
		pthread_create(&t, NULL, becomes, argv);
		pause();
	}
	if (!strcmp(what, "leader") || !strcmp(what, "threads")) {
		pthread_create(&t, NULL, after_leader, what[0] == 't' ? &t : NULL);
		pthread_exit(NULL);
	}
	return 2;
}
