/* double free */
/* Another thread freed the block; it is on its way home, where anybody may take it, and not yet
 * there. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define N 200

static void *block[N];

static void *release(void *arg)
{
	for (int i = 0; i < N; i++)
		free(block[i]);
	return arg;
}

int main(void)
{
	void *volatile ballast =
		malloc((size_t)32 << 20); /* an eighth of what is in use may be on its way */
	pthread_t t;

	for (int i = 0; i < N; i++)
		block[i] = malloc(5000);
	dprintf(1, "%p\n", block[100]);
	pthread_create(&t, NULL, release, NULL);
	pthread_join(t, NULL);
	free(block[100]);
	malloc_trim(0);
	free(ballast);
	return 0;
}
