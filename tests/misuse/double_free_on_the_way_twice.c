/* double free */
/* Two threads that do not own the block free it, and both give it away at their ends. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define N 200 /* the first few of which are on their way */

static void *block[N];

static void *release(void *arg)
{
	for (int i = 0; i < N; i++)
		free(block[i]);
	return arg;
}

static void *release_one(void *arg)
{
	free(block[2]);
	return arg;
}

int main(void)
{
	pthread_t t;

	for (int i = 0; i < N; i++)
		block[i] = malloc(5000);
	dprintf(1, "%p\n", block[2]);
	pthread_create(&t, NULL, release, NULL);
	pthread_join(t, NULL);
	pthread_create(&t, NULL, release_one, NULL);
	pthread_join(t, NULL);
	malloc_trim(0);
	return 0;
}
