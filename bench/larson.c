/*
 * The server pattern of Larson and Krishnan, "Memory Allocation for Long-Running Server
 * Applications" (1998): every operation replaces one random block of the thread's array. After
 * rounds * chunks operations the thread starts a successor that inherits the array, and ends; so
 * its blocks are freed by a thread that did not allocate them.
 *
 * usage: larson seconds min max chunks rounds seed threads
 * Sizes are in [min, max), chunks are per thread. The rate counts allocations only. 0 seconds:
 * until its input ends; each line of it is answered with the number of allocations so far.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "bench.h"

#define MAX_LANES 1024

/* 128: two cache lines, as they are fetched in pairs. Lanes that share one would measure that. */
struct lane {
	_Alignas(128) void **chunk;
	uint32_t state, first;	  /* first: number of chunk[0] among all lanes' chunks */
	_Atomic uint64_t mallocs; /* by all threads of the lane so far; only one at a time writes */
	uint64_t threads;
} BENCH_APART;

static uint32_t size_min, size_range, chunks;
static uint64_t ops_per_thread;
static atomic_bool stop;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t lane_ended = PTHREAD_COND_INITIALIZER;
static unsigned lanes_running;

static void put(struct lane *l, uint32_t i)
{
	uint32_t bytes = size_min + bench_next(&l->state) % size_range;

	l->chunk[i] = bench_need(malloc(bytes), bytes);
	bench_mark(l->chunk[i], l->first + i, bytes);
}

static void drop(struct lane *l, uint32_t i)
{
	bench_check(l->chunk[i], l->first + i);
	free(l->chunk[i]);
}

static void *run(void *arg);

static void start_thread(struct lane *l)
{
	pthread_attr_t detached;
	pthread_t id;

	l->threads++;
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&id, &detached, run, l)) {
		fprintf(stderr, "larson: cannot start a thread\n");
		exit(1);
	}
	pthread_attr_destroy(&detached);
}

static void *run(void *arg)
{
	struct lane *l = arg;
	uint64_t done = atomic_load_explicit(&l->mallocs, memory_order_relaxed);
	const uint64_t end = done + ops_per_thread;

	while (done < end && !atomic_load_explicit(&stop, memory_order_relaxed)) {
		uint32_t i = bench_next(&l->state) % chunks;

		drop(l, i);
		put(l, i);
		atomic_store_explicit(&l->mallocs, ++done, memory_order_relaxed);
	}
	if (!atomic_load(&stop)) {
		start_thread(l);
		return NULL;
	}
	pthread_mutex_lock(&lock);
	lanes_running--;
	pthread_cond_signal(&lane_ended);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void fill(struct lane *l, unsigned number, uint32_t seed)
{
	l->state = bench_seed(seed, number);
	l->first = number * chunks;
	l->chunk = bench_need(calloc(chunks, sizeof(*l->chunk)), chunks);
	for (uint32_t i = 0; i < chunks; i++)
		put(l, i);
}

static uint64_t mallocs_of(const struct lane *l, unsigned lanes)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < lanes; i++)
		n += atomic_load_explicit(&l[i].mallocs, memory_order_relaxed);
	return n;
}

static void answer(const struct lane *l, unsigned lanes)
{
	for (int c; (c = getchar()) != EOF;)
		if (c == '\n') {
			printf("%llu\n", (unsigned long long)mallocs_of(l, lanes));
			fflush(stdout);
		}
}

static double run_lanes(struct lane *l, unsigned lanes, unsigned seconds)
{
	double start = bench_now();

	lanes_running = lanes;
	for (unsigned i = 0; i < lanes; i++)
		start_thread(&l[i]);
	if (seconds)
		sleep(seconds);
	else
		answer(l, lanes);
	atomic_store(&stop, true);
	pthread_mutex_lock(&lock);
	while (lanes_running)
		pthread_cond_wait(&lane_ended, &lock);
	pthread_mutex_unlock(&lock);
	return bench_now() - start;
}

int main(int argc, char **argv)
{
	unsigned seconds = (unsigned)bench_arg(argc, argv, 1, 0, 0, 86400);
	uint32_t max = (uint32_t)bench_arg(argc, argv, 3, 0, 9, 1u << 30);
	uint32_t seed = (uint32_t)bench_arg(argc, argv, 6, 0, 0, UINT32_MAX);
	unsigned lanes = (unsigned)bench_arg(argc, argv, 7, 1, 1, MAX_LANES);
	static struct lane l[MAX_LANES];
	uint64_t threads = 0;
	double took;

	if (argc != 8) {
		fprintf(stderr, "usage: larson seconds min max chunks rounds seed threads\n");
		return 2;
	}
	size_min = (uint32_t)bench_arg(argc, argv, 2, 0, sizeof(struct bench_mark), max - 1);
	size_range = max - size_min;
	chunks = (uint32_t)bench_arg(argc, argv, 4, 0, 1, 1u << 20);
	ops_per_thread = bench_arg(argc, argv, 5, 0, 1, 1u << 30) * chunks;
	for (unsigned i = 0; i < lanes; i++)
		fill(&l[i], i, seed);
	bench_wait();
	took = run_lanes(l, lanes, seconds);
	for (unsigned i = 0; i < lanes; i++) {
		threads += l[i].threads;
		for (uint32_t k = 0; k < chunks; k++)
			drop(&l[i], k);
		free(l[i].chunk);
	}
	printf("larson min=%u max=%u chunks=%u lanes=%u threads=%llu", size_min, max, chunks, lanes,
	       (unsigned long long)threads);
	bench_report(mallocs_of(l, lanes), took);
	return 0;
}
