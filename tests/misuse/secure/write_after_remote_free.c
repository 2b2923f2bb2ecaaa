/* something wrote to the block after it was freed */
/* The same for a block that another thread has freed. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static char *volatile block[3000];

static void *release(void *arg)
{
	for (int i = 0; i < 3000; i++)
		free(block[i]);
	return arg;
}

int main(void)
{
	pthread_t t;

	for (int i = 0; i < 3000; i++)
		block[i] = malloc(100);
	dprintf(1, "%p\n", (void *)block[7]);
	pthread_create(&t, NULL, release, NULL);
	pthread_join(t, NULL);
	malloc_trim(0); /* it has arrived, and does not carry others any more */
	block[7][50] = 1;
	for (int i = 0; i < 200000; i++)
		free(malloc(100));
	return 0;
}
