/*
 * Blocks of 8 to 34 KiB, private to each thread: every operation picks a slot and frees its block
 * if there is one, else allocates one. Random stream, sizes and timed window are those of the
 * benchmark by which an earlier hakmem was measured.
 *
 * usage: mid_large_mt [threads=4] [cycles=40000] [slots=2048] [seed=42] [percent=0]
 * percent: of the blocks that the next thread frees; historically none.
 * cycles and slots are per thread. The time covers thread start, the slot arrays, the frees of
 * what is left at the end (which are not counted as operations) and the join.
 */
#include <pthread.h>

#include "bench.h"
#include "ring.h"

#define MAX_THREADS 1024

struct thread {
	unsigned char **slot;
	uint32_t slots, seed;
	uint64_t cycles;
	uint32_t percent, luck;
	struct ring *in, *out;
	uint64_t mallocs, drained; /* results */
} BENCH_APART;

/* The original writes one byte per block, and so does this: more would touch other pages. */
static void put(struct thread *t, uint32_t i, size_t bytes)
{
	t->slot[i] = bench_need(malloc(bytes), bytes);
	*(volatile unsigned char *)t->slot[i] = (unsigned char)(i ^ i >> 8);
}

static void drop(struct thread *t, uint32_t i)
{
	if (*(volatile unsigned char *)t->slot[i] != (unsigned char)(i ^ i >> 8))
		bench_broken(t->slot[i], i);
	/* a stream of its own decides, so that sizes stay what they always were */
	if (t->percent == 0 || bench_next(&t->luck) % 100 >= t->percent ||
	    !ring_put(t->out, t->slot[i]))
		free(t->slot[i]);
	t->slot[i] = NULL;
}

static void receive(struct thread *t)
{
	void *p;

	while ((p = ring_get(t->in)))
		free(p);
}

static void *run(void *arg)
{
	struct thread *t = arg;
	uint32_t state = t->seed;
	uint64_t mallocs = 0;

	for (uint64_t n = 0; n < t->cycles; n++) {
		uint32_t r = bench_next(&state), i = r % t->slots;

		if (t->slot[i]) {
			drop(t, i);
		} else {
			put(t, i, ((size_t)1 << (13 + r % 3)) + (r & 0x7FF));
			mallocs++;
		}
		if (t->percent)
			receive(t);
	}
	t->mallocs = mallocs;
	for (uint32_t i = 0; i < t->slots; i++) {
		if (t->slot[i]) {
			drop(t, i);
			t->drained++;
		}
	}
	return NULL;
}

static void run_all(struct thread *t, unsigned threads)
{
	for (unsigned i = 0; i < threads; i++)
		t[i].slot = bench_need(calloc(t[i].slots, sizeof(*t[i].slot)), t[i].slots);
	bench_threads(threads, run, t, sizeof(t[0]));
	for (unsigned i = 0; i < threads; i++) {
		if (t[i].percent)
			receive(&t[i]);
		free(t[i].slot);
	}
}

int main(int argc, char **argv)
{
	unsigned threads = (unsigned)bench_arg(argc, argv, 1, 4, 1, MAX_THREADS);
	uint64_t cycles = bench_arg(argc, argv, 2, 40000, 1, 1ul << 40);
	uint32_t slots = (uint32_t)bench_arg(argc, argv, 3, 2048, 1, 1u << 28);
	uint32_t seed = (uint32_t)bench_arg(argc, argv, 4, 42, 0, UINT32_MAX);
	uint32_t percent = (uint32_t)bench_arg(argc, argv, 5, 0, 0, 100);
	static struct thread t[MAX_THREADS];
	struct ring *ring = percent ? bench_rings(threads) : NULL;
	uint64_t mallocs = 0, drained = 0;
	double start, seconds;

	for (unsigned i = 0; i < threads; i++) {
		t[i].cycles = cycles;
		t[i].slots = slots;
		t[i].seed = t[i].luck = bench_seed(seed, i);
		t[i].percent = percent;
		if (ring) {
			t[i].in = &ring[i];
			t[i].out = &ring[(i + 1) % threads];
		}
	}
	start = bench_now();
	run_all(t, threads);
	seconds = bench_now() - start;
	for (unsigned i = 0; i < threads; i++) {
		mallocs += t[i].mallocs;
		drained += t[i].drained;
	}
	printf("mid_large_mt threads=%u cycles=%llu slots=%u seed=%u mallocs=%llu frees=%llu "
	       "drained=%llu",
	       threads, (unsigned long long)cycles, slots, seed, (unsigned long long)mallocs,
	       (unsigned long long)(threads * cycles - mallocs), (unsigned long long)drained);
	bench_report(threads * cycles, seconds);
	free(ring);
	return 0;
}
