/*
 * Many threads that once held memory and now sleep, while one works: what their caches keep, and
 * what becomes of their blocks that the working thread frees.
 *
 * usage: sleepers [threads=100] [kib=1024] [ops=5000000]
 * kib: what each thread allocates; half of it frees itself, the rest is freed by the worker.
 */
#include "bench.h"

#include <semaphore.h>

struct sleeper {
	void **block;
	uint32_t count, state;
	size_t bytes;
	sem_t *ready;
	pthread_barrier_t *end;
};

static uint32_t some_size(uint32_t *state)
{
	return 16 + bench_next(state) % 2000;
}

static void *sleep_on_it(void *arg)
{
	struct sleeper *s = arg;
	size_t sum = 0;

	while (sum < s->bytes) {
		uint32_t bytes = some_size(&s->state);

		s->block[s->count] = bench_need(malloc(bytes), bytes);
		memset(s->block[s->count], 1, bytes);
		bench_mark(s->block[s->count], s->count, bytes);
		s->count++;
		sum += bytes;
	}
	for (uint32_t i = 0; i < s->count; i += 2)
		free(s->block[i]);
	sem_post(s->ready);
	pthread_barrier_wait(s->end);
	return NULL;
}

static void free_others(struct sleeper *s)
{
	for (uint32_t i = 1; i < s->count; i += 2) {
		bench_check(s->block[i], i);
		free(s->block[i]);
	}
}

static void work(uint64_t ops)
{
	static void *slot[2000];
	uint32_t state = 77;

	for (uint64_t k = 0; k < ops; k++) {
		uint32_t i = bench_next(&state) % 2000, bytes = some_size(&state);

		free(slot[i]);
		slot[i] = bench_need(malloc(bytes), bytes);
		bench_mark(slot[i], i, bytes);
	}
}

int main(int argc, char **argv)
{
	unsigned threads = (unsigned)bench_arg(argc, argv, 1, 100, 1, 10000);
	size_t bytes = bench_arg(argc, argv, 2, 1024, 1, 1u << 20) << 10;
	uint64_t ops = bench_arg(argc, argv, 3, 5000000, 1, 1ul << 40);
	struct sleeper *s = bench_need(calloc(threads, sizeof(*s)), threads);
	pthread_t *t = bench_need(calloc(threads, sizeof(*t)), threads);
	pthread_barrier_t end;
	double start = bench_now();
	size_t rss;
	sem_t ready;

	sem_init(&ready, 0, 0);
	pthread_barrier_init(&end, NULL, threads + 1);
	for (unsigned i = 0; i < threads; i++) {
		s[i] = (struct sleeper){bench_need(calloc(bytes / 16, sizeof(void *)), bytes),
					0,
					bench_seed(21, i),
					bytes,
					&ready,
					&end};
		if (pthread_create(&t[i], NULL, sleep_on_it, &s[i]))
			return 1;
	}
	for (unsigned i = 0; i < threads; i++)
		sem_wait(&ready);
	for (unsigned i = 0; i < threads; i++)
		free_others(&s[i]);
	work(ops);
	rss = bench_rss();
	pthread_barrier_wait(&end);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	printf("sleepers threads=%u kib=%zu asleep_kib=%zu", threads, bytes >> 10, rss >> 10);
	bench_report(ops, bench_now() - start);
	return 0;
}
