/*
 * Threads that come and go: each frees what its predecessor left, works a little, and leaves a
 * part of its blocks to its successor.
 *
 * usage: churn [threads=2] [lives=5000] [blocks=200] [max=1000]
 * threads: at a time. lives: threads in all, of each line of descent.
 */
#include "bench.h"

struct line {
	void **legacy;
	uint64_t lives;
	uint32_t blocks, max, state;
} BENCH_APART;

static void *one_life(void *arg)
{
	struct line *l = arg;

	for (uint32_t k = 0; k < 4; k++) {
		for (uint32_t i = k & 1; i < l->blocks; i += 2) {
			uint32_t bytes = 16 + bench_next(&l->state) % (l->max - 15);

			if (l->legacy[i])
				bench_check(l->legacy[i], i);
			free(l->legacy[i]);
			l->legacy[i] = bench_need(malloc(bytes), bytes);
			bench_mark(l->legacy[i], i, bytes);
		}
	}
	return NULL;
}

/* Whoever is started from here on runs on this CPU, too: what a thread leaves is in its cache. */
static void stay_here(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	pthread_setaffinity_np(pthread_self(), sizeof(here), &here);
}

static void *descend(void *arg)
{
	struct line *l = arg;

	stay_here();
	l->legacy = bench_need(calloc(l->blocks, sizeof(void *)), l->blocks);
	for (uint64_t k = 0; k < l->lives; k++)
		bench_threads(1, one_life, l, sizeof(*l));
	for (uint32_t i = 0; i < l->blocks; i++)
		free(l->legacy[i]);
	free(l->legacy);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned threads = (unsigned)bench_arg(argc, argv, 1, 2, 1, 256);
	uint64_t lives = bench_arg(argc, argv, 2, 5000, 1, 1ul << 32);
	uint32_t blocks = (uint32_t)bench_arg(argc, argv, 3, 200, 1, 1u << 24);
	uint32_t max = (uint32_t)bench_arg(argc, argv, 4, 1000, 16, 1u << 24);
	struct line l[256];
	double start;

	for (unsigned i = 0; i < threads; i++)
		l[i] = (struct line){NULL, lives, blocks, max, bench_seed(3, i)};
	start = bench_now();
	bench_threads(threads, descend, l, sizeof(l[0]));
	start = bench_now() - start;
	printf("churn threads=%u lives=%llu blocks=%u max=%u", threads, (unsigned long long)lives,
	       blocks, max);
	bench_report(lives * threads * blocks * 2, start);
	return 0;
}
