/*
 * False sharing: threads write to small blocks again and again. If the allocator puts blocks of
 * two threads on one cache line, the writes slow each other down.
 *
 * usage: sharing [kind=active] [threads=2] [rounds=20000] [writes=1000] [bytes=8]
 * active: each thread allocates its own blocks. passive: it first frees one that the main thread
 * allocated next to those of the others, and should not be handed pieces of that line.
 */
#include "bench.h"

struct worker {
	char *given;
	uint64_t rounds, writes;
	uint32_t bytes, slot;
} BENCH_APART;

static void *work(void *arg)
{
	struct worker *w = arg;

	free(w->given);
	for (uint64_t k = 0; k < w->rounds; k++) {
		volatile char *p = bench_need(malloc(w->bytes), w->bytes);

		for (uint64_t i = 0; i < w->writes; i++)
			p[i % w->bytes] = (char)(p[i % w->bytes] + 1);
		bench_mark((void *)(uintptr_t)p, w->slot, w->bytes);
		bench_check((void *)(uintptr_t)p, w->slot);
		free((void *)(uintptr_t)p);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "active";
	unsigned threads = (unsigned)bench_arg(argc, argv, 2, 2, 1, 256);
	uint64_t rounds = bench_arg(argc, argv, 3, 20000, 1, 1ul << 32);
	uint64_t writes = bench_arg(argc, argv, 4, 1000, 1, 1ul << 32);
	uint32_t bytes = (uint32_t)bench_arg(argc, argv, 5, 8, sizeof(struct bench_mark), 4096);
	int passive = !strcmp(kind, "passive");
	struct worker w[256];
	double start;

	for (unsigned i = 0; i < threads; i++)
		w[i] = (struct worker){passive ? bench_need(malloc(bytes), bytes) : NULL, rounds,
				       writes, bytes, i};
	start = bench_now();
	bench_threads(threads, work, w, sizeof(w[0]));
	start = bench_now() - start;
	printf("sharing kind=%s threads=%u writes=%llu", kind, threads, (unsigned long long)writes);
	bench_report(rounds * threads, start);
	return 0;
}
