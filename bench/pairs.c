/*
 * Blocks of one size, allocated and freed in batches: what a size costs, without any mixing.
 *
 * usage: pairs [order=lifo] [bytes=64] [batch=100] [million=20] [threads=1]
 * order: lifo, fifo or random, in which a batch is freed. million: pairs of each thread.
 */
#include "bench.h"

#define BATCH_MAX 100000

enum order { LIFO, FIFO, RANDOM };

struct worker {
	enum order order;
	uint32_t bytes, batch, state;
	uint64_t pairs;
	void **block;
} BENCH_APART;

static void allocate(struct worker *w)
{
	for (uint32_t i = 0; i < w->batch; i++) {
		w->block[i] = bench_need(malloc(w->bytes), w->bytes);
		bench_mark(w->block[i], i, w->bytes);
	}
}

static void release(void *block, uint32_t i)
{
	bench_check(block, i);
	free(block);
}

/* In an order that visits every index once: a stride without a common divisor with the batch. */
static uint32_t stride_of(struct worker *w)
{
	static const uint32_t primes[] = {100003, 100019, 100043, 100049};

	return primes[bench_next(&w->state) % 4] % w->batch + (w->batch == 1);
}

static void release_all(struct worker *w)
{
	uint32_t n = w->batch, stride = stride_of(w), k = 0;

	for (uint32_t i = 0; i < n; i++) {
		switch (w->order) {
		case LIFO:
			release(w->block[n - 1 - i], n - 1 - i);
			break;
		case FIFO:
			release(w->block[i], i);
			break;
		case RANDOM:
			release(w->block[k], k);
			k = (k + stride) % n;
			break;
		}
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;

	w->block = bench_need(calloc(w->batch, sizeof(*w->block)), w->batch);
	for (uint64_t done = 0; done < w->pairs; done += w->batch) {
		allocate(w);
		release_all(w);
	}
	free(w->block);
	return NULL;
}

static enum order order_of(const char *name)
{
	if (!strcmp(name, "lifo"))
		return LIFO;
	if (!strcmp(name, "fifo"))
		return FIFO;
	if (!strcmp(name, "random"))
		return RANDOM;
	fprintf(stderr, "pairs: order must be lifo, fifo or random, not '%s'\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "lifo";
	uint32_t bytes =
		(uint32_t)bench_arg(argc, argv, 2, 64, sizeof(struct bench_mark), 1u << 28);
	uint32_t batch = (uint32_t)bench_arg(argc, argv, 3, 100, 1, BATCH_MAX);
	uint64_t pairs = bench_arg(argc, argv, 4, 20, 1, 1000000) * 1000000;
	unsigned threads = (unsigned)bench_arg(argc, argv, 5, 1, 1, 256);
	struct worker w[256];
	double start;

	for (unsigned i = 0; i < threads; i++)
		w[i] = (struct worker){order_of(name), bytes, batch, bench_seed(1, i), pairs, NULL};
	start = bench_now();
	bench_threads(threads, work, w, sizeof(w[0]));
	start = bench_now() - start;
	printf("pairs order=%s bytes=%u batch=%u threads=%u", name, bytes, batch, threads);
	bench_report(pairs * threads, start);
	return 0;
}
