/*
 * Freed blocks of every kind, in caches, in pages, on their way between threads and back with the
 * arena, are written all over; none of that reaches what the allocator goes by.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N 4000

static unsigned char *volatile block[N];
static pthread_barrier_t step;

static size_t size_of(int i)
{
	return i % 100 == 99 ? 200000 : 16 + (size_t)i * 7 % 3000;
}

/* Made before all blocks: what the C library has allocated for it is none of them. */
static void *release(void *arg)
{
	for (;;) {
		pthread_barrier_wait(&step);
		for (int i = 1; i < N; i += 2)
			free(block[i]);
		malloc_trim(0);
		pthread_barrier_wait(&step);
	}
	return arg;
}

/* All blocks, each for itself: what one holds no other changes. */
static int allocate_and_check(void)
{
	for (int i = 0; i < N; i++) {
		block[i] = malloc(size_of(i));
		memset(block[i], i & 0xff, size_of(i));
	}
	for (int i = 0; i < N; i++)
		for (size_t k = 0; k < size_of(i); k++)
			if (block[i][k] != (i & 0xff))
				return 0;
	return 1;
}

int main(void)
{
	pthread_t t;

	pthread_barrier_init(&step, NULL, 2);
	pthread_create(&t, NULL, release, NULL);
	for (int round = 0; round < 4; round++) {
		if (!allocate_and_check())
			return 1;
		for (int i = 0; i < N; i += 2)
			free(block[i]);
		/* before the other thread's are home: what is in the queue is another matter */
		for (int i = 0; i < N; i += 2)
			memset(block[i], 0x41, size_of(i));
		pthread_barrier_wait(&step);
		pthread_barrier_wait(&step);
		malloc_trim(0);
		for (int i = 0; i < N; i++)
			memset(block[i], 0xff, size_of(i) > 4096 ? 4096 : size_of(i));
	}
	write(1, "unharmed\n", 9);
	_exit(0);
}
