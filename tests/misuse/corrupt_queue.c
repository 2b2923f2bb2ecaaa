/* free list is corrupt: something wrote to a freed block */
/* Blocks another thread freed are written to, before their owner has sorted them in. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N 200 /* few enough that the sender does not sort them in itself */

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

	/* any of them may carry the addresses of others: a pattern stands for the address */
	dprintf(1, "0x[0-9a-f]*\n");
	for (int i = 0; i < N; i++)
		block[i] = malloc(100);
	pthread_create(&t, NULL, release, NULL);
	pthread_join(t, NULL);
	for (int i = 0; i < N; i++)
		memset(block[i], 0x41, 100);
	for (int i = 0; i < N; i++)
		block[i] = malloc(100);
	return 0;
}
