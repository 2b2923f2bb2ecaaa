/*
 * After a line on its standard input four threads contend for the arena for half a second, by runs
 * of slices too many to be kept; then the process rests.
 */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4
#define RUNS 64

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *contend(void *arg)
{
	double end = now() + 0.5;
	void *p[RUNS];

	while (now() < end) {
		for (size_t i = 0; i < RUNS; i++)
			p[i] = malloc(600000 + i * 4096);
		for (size_t i = 0; i < RUNS; i++)
			free(p[i]);
	}
	return arg;
}

int main(void)
{
	pthread_t t[THREADS];
	char c;

	free(malloc(1));
	while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
		;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, contend, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	sleep(4);
	return 0;
}
