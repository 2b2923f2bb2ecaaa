/*
 * Takes every slow path of the allocator, over and over, until it is ended: what a watcher
 * should see of each probe. Run with HAKMEM_ABORT=0, so that misuse is not its end.
 *
 *   refill, flush, page_new, page_free, arena_grow, os_map, os_purge, os_fill   bursts of small blocks
 *   remote_push, remote_drain, remote_help     blocks freed by the other thread, and after its end
 *   remote_take                                big ones of them, allocated again at once
 *   lock_wait_start, lock_wait_done            four threads that fight for pages
 *   mmap_fallback, os_unmap                    blocks of tens of megabytes
 *   thread_start, thread_exit, adopt           threads that leave blocks behind
 *   oom, misuse                                a size too large, a pointer that is not ours
 */
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BURST 3000
#define AGAIN 500
#define FIGHTERS 4

static void *volatile left[FIGHTERS][64];

static void *fighter(void *arg)
{
	void *volatile *mine = left[(uintptr_t)arg];
	void *p[64];

	for (int round = 0; round < 40; round++) {
		for (int i = 0; i < 64; i++)
			p[i] = malloc(530000 + (size_t)(i % 4) * 65536);
		for (int i = 0; i < 64; i++)
			free(p[i]);
	}
	for (int i = 0; i < 64; i++)
		mine[i] = malloc(1000 + (size_t)i * 16);
	return NULL;
}

/* Not by the next fighter: it would allocate them again and own no page of its own. */
static void free_what_was_left(void)
{
	for (int t = 0; t < FIGHTERS; t++) {
		for (int i = 0; i < 64; i++) {
			free(left[t][i]);
			left[t][i] = NULL;
		}
	}
}

static void *free_burst(void *arg)
{
	void **p = arg;

	for (int i = 0; i < BURST; i++)
		free(p[i]);
	return NULL;
}

static void bursts(void)
{
	static void *p[BURST];
	pthread_t t;

	for (size_t size = 16; size <= 65536; size *= 8) {
		for (int i = 0; i < BURST; i++)
			p[i] = malloc(size);
		free_burst(p);
		for (int i = 0; i < BURST; i++)
			p[i] = malloc(size);
		pthread_create(&t, NULL, free_burst, p);
		pthread_join(t, NULL);
		for (int i = 0; i < AGAIN; i++)
			p[i] = malloc(size);
		for (int i = 0; i < AGAIN; i++)
			free(p[i]);
	}
}

static void large(void)
{
	size_t size = (size_t)40 << 20;
	void *volatile p = malloc(size), *volatile q = malloc(size / 2);

	memset(p, 1, 4096);
	free(p);
	free(q);
	p = aligned_alloc(1 << 20, 1 << 20);
	free(p);
}

static void wrong(void)
{
	static char foreign[64];
	void *volatile p = foreign;
	volatile size_t too_large = (size_t)PTRDIFF_MAX + 1;

	free(p);
	free(malloc(too_large));
}

int main(void)
{
	pthread_t t[FIGHTERS];

	printf("ready\n");
	fflush(stdout);
	for (int round = 0;; round++) {
		for (uintptr_t i = 0; i < FIGHTERS; i++)
			pthread_create(&t[i], NULL, fighter, (void *)i);
		for (int i = 0; i < FIGHTERS; i++)
			pthread_join(t[i], NULL);
		malloc_trim(0); /* the bursts begin with memory that is not there */
		bursts();
		free_what_was_left();
		large();
		wrong();
		malloc_trim(0);
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	}
}
