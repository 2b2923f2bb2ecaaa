/* double free */
/* Another thread freed the block; it is on its way home, where anybody may take it, and not yet
 * there. */
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

int main(void)
{
	pthread_t t;

	for (int i = 0; i < N; i++)
		block[i] = malloc(5000);
	dprintf(1, "%p\n", block[2]);
	pthread_create(&t, NULL, release, NULL);
	pthread_join(t, NULL);
	free(block[2]);
	malloc_trim(0);
	return 0;
}
