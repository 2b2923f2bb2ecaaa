/* double free */
/* Two threads free the same block at the same time: one of them is told. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void *volatile shared;
static pthread_barrier_t both;

static void *release(void *arg)
{
	pthread_barrier_wait(&both);
	free(shared);
	return arg;
}

int main(void)
{
	pthread_t t[2];

	shared = malloc(100);
	dprintf(1, "%p\n", shared);
	pthread_barrier_init(&both, NULL, 2);
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, release, NULL);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	_Exit(0);
}
