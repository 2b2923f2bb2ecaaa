/*
 * 100,000 short-lived threads, each leaving blocks to its successor: memory stays flat, and a short
 * life fetches few blocks.
 */
#include "hakmem.h"
#include "test.h"

#include <pthread.h>

#define TOTAL 100000
#define SETTLED 10000
#define AT_ONCE 4
#define LEGACY 8

static void *legacy[AT_ONCE][LEGACY]; /* blocks a thread left behind */

static size_t some_size(uint64_t *state)
{
	uint32_t r = test_random(state);

	return r % 64 ? 1 + r % 2000 : 1 + r % 90000;
}

static void *short_life(void *arg)
{
	void **mine = legacy[(uintptr_t)arg % AT_ONCE], *p[24];
	uint64_t state = (uintptr_t)arg + 1;

	for (int i = 0; i < 24; i++) {
		size_t n = some_size(&state);

		p[i] = malloc(n);
		if (CHECK(p[i] != NULL))
			memset(p[i], 1, n < 64 ? n : 64);
	}
	for (int i = 0; i < LEGACY; i++) {
		free(mine[i]);
		mine[i] = p[i];
	}
	for (int i = LEGACY; i < 24; i++)
		free(p[i]);
	return NULL;
}

static void generation(int first)
{
	pthread_t t[AT_ONCE];

	for (int i = 0; i < AT_ONCE; i++)
		if (!CHECK_EQ(
			    pthread_create(&t[i], NULL, short_life, (void *)(uintptr_t)(first + i)),
			    0))
			exit(1);
	for (int i = 0; i < AT_ONCE; i++)
		pthread_join(t[i], NULL);
}

static void rss_is_flat(void)
{
	static struct hak_snapshot early, late;
	size_t rss_early, rss_late;
	int i = 0;

	for (; i < SETTLED; i += AT_ONCE)
		generation(i);
	rss_early = test_rss();
	hak_snapshot(&early);
	for (; i < TOTAL; i += AT_ONCE)
		generation(i);
	rss_late = test_rss();
	hak_snapshot(&late);
	test_say("# rss %zu KiB, then %zu KiB; heaps %u, then %u\n", rss_early >> 10,
		 rss_late >> 10, early.heaps, late.heaps);
	/* the sizes alive are random: 32 blocks up to 90 KB; 90,000 leaks of 16 bytes would show */
	CHECK(rss_late < rss_early + (4U << 20));
	/* the second and the third chunk of the arena; metadata is looked at below */
	CHECK(late.mapped_bytes - late.meta_bytes <=
	      early.mapped_bytes - early.meta_bytes + (24U << 20));
	/* a heap more, with a map of slots for its caches, is 1.4 MB of address space */
	CHECK(late.meta_bytes <= early.meta_bytes + (3U << 20));
	CHECK(late.heaps <= 2 * (AT_ONCE + 1));
	CHECK_EQ(hak_check(), 0);
}

#define BYTES 100
#define LONG 5000

static uint64_t fetched; /* blocks the first refill of a life brought, besides the one asked for */

static uint64_t cached_now(void)
{
	static struct hak_snapshot now;
	unsigned c = 1;

	hak_snapshot(&now);
	while (now.class_[c].block_bytes < BYTES)
		c++;
	return now.class_[c].cached_blocks;
}

static void *life_of(void *arg)
{
	static void *p[LONG];
	uint64_t n = (uintptr_t)arg, before = cached_now();

	p[0] = malloc(BYTES);
	fetched = cached_now() - before;
	for (uint64_t i = 1; i < n; i++)
		p[i] = malloc(BYTES);
	for (uint64_t i = 0; i < n; i++)
		free(p[i]);
	return NULL;
}

static uint64_t fetched_by(uintptr_t allocs)
{
	pthread_t t;

	CHECK_EQ(pthread_create(&t, NULL, life_of, (void *)allocs), 0);
	pthread_join(t, NULL);
	return fetched;
}

/* A thread goes on with the heap of the one before, and begins with no more than that one used. */
static void a_short_life_fetches_little(void)
{
	fetched_by(LONG);
	CHECK(fetched_by(8) > 8);
	CHECK(fetched_by(8) < 8);
	CHECK(fetched_by(1) < 8);
}

int main(void)
{
	RUN(a_short_life_fetches_little);
	RUN(rss_is_flat);
	return test_done();
}
