/* sanitize: yes */
/* The two counters per class are exact: every allocation and every free, at every instant. */
#include "hakmem.h"
#include "test.h"

#include <pthread.h>

#define PAIRS 1000000U
#define THREADS 4
#define THREAD_OPS 50000U

static struct hak_snapshot a, b;

static unsigned class_with(size_t bytes)
{
	for (unsigned c = 1; c < a.classes; c++)
		if (a.class_[c].block_bytes >= bytes)
			return c;
	return 0;
}

/* Class c moved by exactly these; every other class did not move. */
static void check_only(unsigned c, uint64_t allocs, uint64_t frees)
{
	for (unsigned i = 0; i < a.classes; i++) {
		CHECK_EQ(b.class_[i].allocs - a.class_[i].allocs, i == c ? allocs : 0);
		CHECK_EQ(b.class_[i].frees - a.class_[i].frees, i == c ? frees : 0);
		CHECK_EQ(b.class_[i].live_blocks, b.class_[i].allocs - b.class_[i].frees);
	}
}

/* A balanced loop hits always: the case in which no probe fires at all. */
static void million_pairs(void)
{
	unsigned c;

	hak_free(hak_malloc(100));
	hak_snapshot(&a);
	for (unsigned i = 0; i < PAIRS; i++)
		hak_free(HIDE(hak_malloc(100)));
	hak_snapshot(&b);
	c = class_with(100);
	CHECK_EQ(a.class_[c].block_bytes, 112);
	check_only(c, PAIRS, PAIRS);
	CHECK_EQ(b.class_[c].refills - a.class_[c].refills, 0);
	CHECK_EQ(b.class_[c].flushes - a.class_[c].flushes, 0);
	CHECK_EQ(b.live_bytes, a.live_bytes);
	CHECK_EQ(b.os_calls, a.os_calls);
}

/* Every class in turn: n blocks made, then n freed; refills and flushes happen and lose nothing. */
static void each_class_alone(void)
{
	static void *p[1000];

	hak_snapshot(&a);
	for (unsigned c = 1; c < b.classes; c++) {
		size_t bytes = a.class_[c].block_bytes;
		unsigned n = bytes > 8192 ? 100 : 1000;

		hak_snapshot(&a);
		for (unsigned i = 0; i < n; i++)
			p[i] = hak_malloc(bytes);
		hak_snapshot(&b);
		check_only(c, n, 0);
		CHECK_EQ(b.live_bytes - a.live_bytes, n * bytes);
		CHECK(b.class_[c].refills > a.class_[c].refills);
		CHECK(b.class_[c].held_bytes >= b.class_[c].live_blocks * bytes);
		hak_snapshot(&a);
		for (unsigned i = 0; i < n; i++)
			hak_free(p[i]);
		hak_snapshot(&b);
		check_only(c, 0, n);
	}
}

static void large_blocks(void)
{
	static const size_t sizes[] = {524289, 1 << 20, 3 << 20, 300 << 20};
	void *p[10];

	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		uint64_t usable = 0;

		hak_snapshot(&a);
		for (int i = 0; i < 10; i++) {
			p[i] = hak_malloc(sizes[k]);
			usable += hak_usable_size(p[i]);
		}
		hak_snapshot(&b);
		check_only(0, 10, 0);
		CHECK_EQ(b.large_live_bytes - a.large_live_bytes, usable);
		CHECK_EQ(b.live_bytes - a.live_bytes, usable);
		hak_snapshot(&a);
		for (int i = 0; i < 10; i++)
			hak_free(p[i]);
		hak_snapshot(&b);
		check_only(0, 0, 10);
		CHECK_EQ(a.large_live_bytes - b.large_live_bytes, usable);
	}
}

/* free(NULL) and a refused request are not counted; realloc counts when the block moves. */
static void edge_calls(void)
{
	char *p;

	hak_snapshot(&a);
	hak_free(NULL);
	CHECK(hak_malloc(HIDE(SIZE_MAX)) == NULL);
	hak_snapshot(&b);
	check_only(0, 0, 0);
	p = hak_malloc(100);
	hak_snapshot(&a);
	p = hak_realloc(p, 112); /* fits */
	hak_snapshot(&b);
	check_only(0, 0, 0);
	p = hak_realloc(p, 1000);
	hak_snapshot(&b);
	CHECK_EQ(b.class_[class_with(112)].frees - a.class_[class_with(112)].frees, 1);
	CHECK_EQ(b.class_[class_with(1000)].allocs - a.class_[class_with(1000)].allocs, 1);
	CHECK_EQ(b.live_bytes - a.live_bytes, 1024 - 112);
	hak_free(p);
}

static pthread_barrier_t gate;
static uint64_t made[THREADS][8], freed[THREADS][8];
static const size_t mixed[8] = {16, 100, 500, 1000, 4000, 9000, 33 * 1024, 64 * 1024};

static void *worker(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg, at = 0;
	uint64_t seed = me + 1;
	void *keep[64] = {0};
	uint8_t kind[64] = {0};

	hak_free(hak_malloc(1));
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	for (unsigned i = 0; i < THREAD_OPS; i++) {
		at = test_random(&seed) % 64;
		if (keep[at]) {
			hak_free(keep[at]);
			freed[me][kind[at]]++;
		}
		kind[at] = (uint8_t)(test_random(&seed) % 8);
		keep[at] = hak_malloc(mixed[kind[at]]);
		made[me][kind[at]]++;
	}
	pthread_barrier_wait(&gate); /* the counters are compared */
	pthread_barrier_wait(&gate);
	for (at = 0; at < 64; at++)
		hak_free(keep[at]);
	return NULL;
}

static void threads_add_up(void)
{
	pthread_t t[THREADS];

	pthread_barrier_init(&gate, NULL, THREADS + 1);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, worker, (void *)i);
	pthread_barrier_wait(&gate);
	hak_snapshot(&a);
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	hak_snapshot(&b);
	for (unsigned k = 0; k < 8; k++) {
		unsigned c = class_with(mixed[k]);
		uint64_t m = 0, f = 0;

		for (unsigned i = 0; i < THREADS; i++) {
			m += made[i][k];
			f += freed[i][k];
		}
		CHECK_EQ(b.class_[c].allocs - a.class_[c].allocs, m);
		CHECK_EQ(b.class_[c].frees - a.class_[c].frees, f);
	}
	pthread_barrier_wait(&gate);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	CHECK_EQ(hak_check(), 0);
}

int main(void)
{
	RUN(million_pairs);
	RUN(each_class_alone);
	RUN(large_blocks);
	RUN(edge_calls);
	RUN(threads_add_up);
	return test_done();
}
