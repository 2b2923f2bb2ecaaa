/*
 * The lineage's random_mixed_mt_remote: every thread allocates, and frees some of its blocks
 * itself and sends the others to its neighbour over a ring with one sender and one receiver.
 *
 * usage: remote [threads=2] [ops=4000000] [percent=50] [max=1024] [slots=1000] [seed=42]
 * ops: allocations of each thread. percent: of the frees that are another thread's.
 */
#include <sched.h>

#include "bench.h"
#include "ring.h"

struct worker {
	struct ring *in, *out;
	uint64_t ops;
	uint32_t state, percent, max, slots;
	unsigned *running;
} BENCH_APART;

static void release(void *p)
{
	struct bench_mark m;

	memcpy(&m, p, sizeof(m));
	bench_check(p, m.slot);
	free(p);
}

static unsigned receive(struct worker *w)
{
	unsigned n = 0;
	void *p;

	while (n < 64 && (p = ring_get(w->in))) {
		release(p);
		n++;
	}
	return n;
}

static void dispose(struct worker *w, void *p)
{
	if (bench_next(&w->state) % 100 >= w->percent) {
		release(p);
		return;
	}
	while (!ring_put(w->out, p))
		if (!receive(w))
			sched_yield();
}

static void *work(void *arg)
{
	struct worker *w = arg;
	void **slot = bench_need(calloc(w->slots, sizeof(*slot)), w->slots);

	for (uint64_t k = 0; k < w->ops; k++) {
		uint32_t r = bench_next(&w->state), i = r % w->slots;
		uint32_t bytes = 16 + (r >> 8) % (w->max - 15);

		if (slot[i])
			dispose(w, slot[i]);
		slot[i] = bench_need(malloc(bytes), bytes);
		bench_mark(slot[i], i, bytes);
		receive(w);
	}
	for (uint32_t i = 0; i < w->slots; i++)
		if (slot[i])
			dispose(w, slot[i]);
	free(slot);
	__atomic_sub_fetch(w->running, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(w->running, __ATOMIC_ACQUIRE))
		if (!receive(w))
			sched_yield();
	while (receive(w))
		;
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned threads = (unsigned)bench_arg(argc, argv, 1, 2, 1, 256), running = threads;
	uint64_t ops = bench_arg(argc, argv, 2, 4000000, 1, 1ul << 40);
	uint32_t percent = (uint32_t)bench_arg(argc, argv, 3, 50, 0, 100);
	uint32_t max = (uint32_t)bench_arg(argc, argv, 4, 1024, 16, 1u << 24);
	uint32_t slots = (uint32_t)bench_arg(argc, argv, 5, 1000, 1, 1u << 24);
	uint32_t seed = (uint32_t)bench_arg(argc, argv, 6, 42, 0, UINT32_MAX);
	struct ring *ring = bench_rings(threads);
	struct worker w[256];
	double start;

	for (unsigned i = 0; i < threads; i++)
		w[i] = (struct worker){&ring[i], &ring[(i + 1) % threads],
				       ops,	 bench_seed(seed, i),
				       percent,	 max,
				       slots,	 &running};
	start = bench_now();
	bench_threads(threads, work, w, sizeof(w[0]));
	start = bench_now() - start;
	free(ring);
	printf("remote threads=%u percent=%u max=%u slots=%u", threads, percent, max, slots);
	bench_report(ops * threads, start);
	return 0;
}
