/*
 * Producers allocate, consumers free: every free is another thread's. Blocks go in bundles of 100
 * over a bounded queue of each consumer.
 *
 * usage: pipes [producers=1] [consumers=1] [bundles=20000] [max=256] [seed=9]
 * bundles: of each producer.
 */
#include <sched.h>

#include "bench.h"

#define BUNDLE 100u
#define DEPTH 64u

struct queue {
	void *slot[DEPTH]; /* NULL: empty */
} __attribute__((aligned(64)));

struct side {
	struct queue *queue;
	unsigned queues;
	uint64_t bundles;
	uint32_t max, state;
} BENCH_APART;

static unsigned producing;

static void put(struct side *s, void *bundle)
{
	for (;;) {
		struct queue *q = &s->queue[bench_next(&s->state) % s->queues];
		void **slot = &q->slot[bench_next(&s->state) % DEPTH], *none = NULL;

		if (!__atomic_load_n(slot, __ATOMIC_RELAXED) &&
		    __atomic_compare_exchange_n(slot, &none, bundle, 0, __ATOMIC_RELEASE,
						__ATOMIC_RELAXED))
			return;
		if (bench_next(&s->state) % 8 == 0)
			sched_yield();
	}
}

static void *produce(void *arg)
{
	struct side *s = arg;

	for (uint64_t k = 0; k < s->bundles; k++) {
		void **bundle = bench_need(malloc(BUNDLE * sizeof(void *)), BUNDLE);

		for (uint32_t i = 0; i < BUNDLE; i++) {
			uint32_t bytes = 8 + bench_next(&s->state) % s->max;

			bundle[i] = bench_need(malloc(bytes), bytes);
			bench_mark(bundle[i], i, bytes);
		}
		put(s, bundle);
	}
	__atomic_sub_fetch(&producing, 1, __ATOMIC_RELEASE);
	return NULL;
}

static unsigned consume_some(struct queue *q)
{
	unsigned n = 0;

	for (unsigned k = 0; k < DEPTH; k++) {
		void **bundle;

		if (!__atomic_load_n(&q->slot[k], __ATOMIC_RELAXED))
			continue;
		bundle = __atomic_exchange_n(&q->slot[k], NULL, __ATOMIC_ACQUIRE);
		for (uint32_t i = 0; i < BUNDLE; i++) {
			bench_check(bundle[i], i);
			free(bundle[i]);
		}
		free(bundle);
		n++;
	}
	return n;
}

static void *consume(void *arg)
{
	struct side *s = arg;

	while (__atomic_load_n(&producing, __ATOMIC_ACQUIRE))
		if (!consume_some(s->queue))
			sched_yield();
	while (consume_some(s->queue))
		;
	return NULL;
}

static void *either(void *arg)
{
	struct side *s = arg;

	return s->bundles ? produce(arg) : consume(arg);
}

int main(int argc, char **argv)
{
	unsigned producers = (unsigned)bench_arg(argc, argv, 1, 1, 1, 128);
	unsigned consumers = (unsigned)bench_arg(argc, argv, 2, 1, 1, 128);
	uint64_t bundles = bench_arg(argc, argv, 3, 20000, 1, 1ul << 32);
	uint32_t max = (uint32_t)bench_arg(argc, argv, 4, 256, 1, 1u << 24);
	uint32_t seed = (uint32_t)bench_arg(argc, argv, 5, 9, 0, UINT32_MAX);
	static struct queue queue[128];
	struct side s[256];
	double start;

	for (unsigned i = 0; i < producers; i++)
		s[i] = (struct side){queue, consumers, bundles, max, bench_seed(seed, i)};
	for (unsigned i = 0; i < consumers; i++)
		s[producers + i] = (struct side){&queue[i], 1, 0, max, 1};
	producing = producers;
	start = bench_now();
	bench_threads(producers + consumers, either, s, sizeof(s[0]));
	start = bench_now() - start;
	printf("pipes producers=%u consumers=%u max=%u", producers, consumers, max);
	bench_report(bundles * producers * (BUNDLE + 1), start);
	return 0;
}
