/* Memory goes back: a process that frees everything returns to the RSS it had. */
#include "hakmem.h"
#include "test.h"

#include <pthread.h>
#include <time.h>

#define TOTAL ((size_t)500 << 20)
/* The documented constant: memory that may stay, besides 10 % of what there was. */
#define SLACK ((size_t)24 << 20)
/* More where nothing gets old: pages with blocks in the threads' pool. */
#define POOL ((size_t)6 << 20)
#define PATIENCE_S 6 /* decay takes half a second; a process that never returns must end */

static void **blocks; /* in memory of our own, so that it does not count */
static size_t made, capacity = 1U << 20;

static size_t mixed_size(uint64_t *state)
{
	uint32_t r = test_random(state);

	switch (r % 100) {
	case 0:
		return 1 + test_random(state) % (300U << 10);
	case 1 ... 10:
		return 1 + test_random(state) % 16384;
	default:
		return 16 + test_random(state) % 1000;
	}
}

static size_t big_size(uint64_t *state)
{
	return (64U << 10) + test_random(state) % (12U << 20);
}

static void fill_up(size_t (*size)(uint64_t *))
{
	uint64_t state = 11;
	size_t sum = 0;

	for (made = 0; sum < TOTAL && made < capacity; made++) {
		size_t n = size(&state);

		blocks[made] = malloc(n);
		if (!CHECK(blocks[made] != NULL))
			return;
		memset(blocks[made], 1, n);
		sum += n;
	}
	CHECK(sum >= TOTAL);
}

static void free_all(void)
{
	uint64_t state = 5;

	/* random order, so that pages empty late and in no order */
	for (size_t i = made; i > 1; i--) {
		size_t j = test_random(&state) % i;
		void *p = blocks[j];

		blocks[j] = blocks[i - 1];
		blocks[i - 1] = p;
	}
	for (size_t i = 0; i < made; i++)
		free(blocks[i]);
}

/* A little work, as a program does after its peak: blocks of changing sizes, few at a time. */
static void work(void)
{
	static uint64_t state = 17;
	void *p[100];

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 100; i++)
			p[i] = malloc(1 + test_random(&state) % 20000);
		for (int i = 0; i < 100; i++)
			free(p[i]);
	}
}

/* The same block again and again: every call is a hit, no slow path is ever entered. */
static void only_hits(void)
{
	for (int i = 0; i < 100000; i++)
		free(HIDE(malloc(100)));
}

static void returns_by(void (*activity)(void), size_t before)
{
	size_t limit = before + before / 10 + SLACK, rss;
	time_t end = time(NULL) + PATIENCE_S;

	do {
		activity();
		rss = test_rss();
		if (rss <= limit)
			break;
		nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	} while (time(NULL) < end);
	test_say("# rss %zu MiB before, %zu MiB after\n", before >> 20, rss >> 20);
	CHECK(rss <= limit);
	CHECK_EQ(hak_check(), 0);
}

static void returns_to(size_t before)
{
	returns_by(work, before);
}

/* RSS once everything that earlier cases left is gone. */
static size_t baseline(void)
{
	hak_trim();
	return test_rss();
}

static void one_round(size_t (*size)(uint64_t *))
{
	size_t before = baseline();

	fill_up(size);
	CHECK(test_rss() > before + TOTAL * 9 / 10);
	free_all();
	returns_to(before);
}

static void mixed_blocks(void)
{
	one_round(mixed_size);
}

static void big_blocks(void)
{
	one_round(big_size);
}

static void *fill_thread(void *arg)
{
	(void)arg;
	fill_up(mixed_size);
	return NULL;
}

static void *free_thread(void *arg)
{
	(void)arg;
	free_all();
	return NULL;
}

static void in_thread(void *(*fn)(void *))
{
	pthread_t t;

	CHECK_EQ(pthread_create(&t, NULL, fn, NULL), 0);
	pthread_join(t, NULL);
}

static void freed_in_another_thread(void)
{
	size_t before = baseline();

	fill_up(mixed_size);
	in_thread(free_thread);
	returns_to(before);
}

static void allocated_by_a_thread_that_ended(void)
{
	size_t before = baseline();

	in_thread(fill_thread);
	free_all();
	returns_to(before);
}

static void both_in_ended_threads(void)
{
	size_t before = baseline();

	in_thread(fill_thread);
	in_thread(free_thread);
	returns_to(before);
}

static void a_loop_of_hits_follows(void)
{
	size_t before = baseline();

	fill_up(mixed_size);
	free_all();
	returns_by(only_hits, before + POOL);
}

static void trim_at_once(void)
{
	size_t before = baseline();

	fill_up(mixed_size);
	free_all();
	hak_trim();
	CHECK(test_rss() <= before + before / 10 + (8U << 20));
}

int main(void)
{
	blocks = calloc(capacity, sizeof(*blocks));
	if (!blocks)
		return 1;
	memset(blocks, 1, capacity * sizeof(*blocks));
	RUN(mixed_blocks);
	RUN(big_blocks);
	RUN(freed_in_another_thread);
	RUN(allocated_by_a_thread_that_ended);
	RUN(both_in_ended_threads);
	RUN(trim_at_once);
	RUN(a_loop_of_hits_follows);
	return test_done();
}
