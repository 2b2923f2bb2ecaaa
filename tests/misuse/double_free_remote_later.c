/* double free */
/* Another thread freed the block among many, and it is home for long; that thread still lives. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define N 3000

static void *block[N];
static pthread_barrier_t step;

static void *release(void *arg)
{
	for (int i = 0; i < N; i += 2)
		free(block[i]);
	malloc_trim(0);
	pthread_barrier_wait(&step);
	pthread_barrier_wait(&step);
	return arg;
}

int main(void)
{
	pthread_t t;

	for (int i = 0; i < N; i++)
		block[i] = malloc(100);
	dprintf(1, "%p\n", block[1000]);
	pthread_barrier_init(&step, NULL, 2);
	pthread_create(&t, NULL, release, NULL);
	pthread_barrier_wait(&step);
	malloc_trim(0);
	free(block[1000]);
	malloc_trim(0);
	return 0;
}
