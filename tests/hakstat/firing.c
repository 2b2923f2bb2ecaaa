/*
 * Fires probes: refill and flush, as fast as it can, or at most some hundred a second; SIGUSR1
 * changes that. firing [THREADS [ROUNDS]]: so many threads do the same, and it ends after as many
 * rounds, or never.
 */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BLOCKS 600
#define BYTES 32768 /* a cache holds few of them */

static volatile sig_atomic_t calm;

static void change(int sig)
{
	(void)sig;
	calm = !calm;
}

/* Two refills at least: no cache holds 600 blocks of 32 KiB. */
static void fire(void *block[BLOCKS])
{
	for (int i = 0; i < BLOCKS; i++)
		if (!(block[i] = malloc(BYTES)))
			abort();
	for (int i = 0; i < BLOCKS; i++)
		free(block[i]);
}

static void *run(void *arg)
{
	static const struct timespec second = {1, 0};
	void *block[BLOCKS];
	long rounds = (long)(intptr_t)arg;

	for (long i = 0; !rounds || i < rounds; i++) {
		fire(block);
		if (calm)
			nanosleep(&second, NULL);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 1;
	void *rounds = (void *)(intptr_t)(argc > 2 ? atol(argv[2]) : 0);
	pthread_t t[64];

	signal(SIGUSR1, change);
	for (int i = 1; i < n; i++)
		if (pthread_create(&t[i], NULL, run, rounds))
			return 1;
	puts("ready");
	fflush(stdout);
	run(rounds);
	for (int i = 1; i < n; i++)
		pthread_join(t[i], NULL);
	return 0;
}
