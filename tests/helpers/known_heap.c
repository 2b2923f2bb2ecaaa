/*
 * A heap whose truth is known: prints "ready" and waits, or ends as its first argument says.
 * 700 blocks of 2000 bytes, of which 200 were freed by this thread and 100 by another, which is
 * still there; 3 of 3 MiB, 1 freed. Nothing else here has blocks of these sizes. Some pages had
 * more blocks, of 16 bytes, before.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCKS 700
#define SMALLER 100000
static void *block[BLOCKS], *large[3], *smaller[SMALLER];
static pthread_barrier_t barrier;

static void *free_some(void *arg)
{
	(void)arg;
	for (int i = 200; i < 300; i++)
		free(block[i]);
	pthread_barrier_wait(&barrier);
	for (;;)
		pause();
}

static void other_pages(void)
{
	for (int i = 0; i < SMALLER; i++)
		smaller[i] = malloc(16);
	for (int i = 0; i < SMALLER; i++)
		free(smaller[i]);
	malloc_trim(0);
}

int main(int argc, char **argv)
{
	pthread_t other;

	pthread_barrier_init(&barrier, NULL, 2);
	other_pages();
	for (int i = 0; i < BLOCKS; i++)
		memset(block[i] = malloc(2000), 1, 2000);
	for (int i = 0; i < 3; i++)
		memset(large[i] = malloc(3 << 20), 1, 100);
	for (int i = 0; i < 200; i++)
		free(block[i]);
	free(large[0]);
	pthread_create(&other, NULL, free_some, NULL);
	pthread_barrier_wait(&barrier);
	/* a live block, one that was freed last, a live large one */
	printf("ready %p %p %p\n", block[500], block[199], large[1]);
	fflush(stdout);
	if (argc > 1 && !strcmp(argv[1], "misuse"))
		free((char *)large[1] + 16);
	for (;;)
		pause();
}
