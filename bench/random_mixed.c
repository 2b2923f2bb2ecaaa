/*
 * One thread, small blocks: every operation picks a slot and frees its block if there is one, else
 * allocates 16 to 1039 bytes. An untimed tenth of the operations comes first.
 *
 * usage: random_mixed [cycles=10000000] [slots=8192] [seed=1234567] [min=16] [max=1040]
 */
#include "bench.h"

struct mix {
	void **slot;
	uint32_t slots, state, min, max;
};

static uint32_t size_of(const struct mix *m, uint32_t r)
{
	uint32_t bytes = 16 + (r & 0x3FF);

	return bytes < m->min ? m->min : bytes > m->max ? m->max : bytes;
}

static void run(struct mix *m, uint64_t cycles)
{
	while (cycles--) {
		uint32_t r = bench_next(&m->state), i = r % m->slots;

		if (m->slot[i]) {
			bench_check(m->slot[i], i);
			free(m->slot[i]);
			m->slot[i] = NULL;
		} else {
			uint32_t bytes = size_of(m, r);

			m->slot[i] = bench_need(malloc(bytes), bytes);
			bench_mark(m->slot[i], i, bytes);
		}
	}
}

static void drain(struct mix *m)
{
	for (uint32_t i = 0; i < m->slots; i++) {
		if (m->slot[i])
			bench_check(m->slot[i], i);
		free(m->slot[i]);
	}
	free(m->slot);
}

int main(int argc, char **argv)
{
	uint64_t cycles = bench_arg(argc, argv, 1, 10000000, 1, 1ul << 40);
	uint32_t seed = (uint32_t)bench_arg(argc, argv, 3, 1234567, 0, UINT32_MAX);
	struct mix m = {.state = seed ? seed : 1};
	double start, seconds;

	m.slots = (uint32_t)bench_arg(argc, argv, 2, 8192, 1, 1u << 28);
	m.min = (uint32_t)bench_arg(argc, argv, 4, 16, sizeof(struct bench_mark), 1u << 30);
	m.max = (uint32_t)bench_arg(argc, argv, 5, 1040, m.min, 1u << 30);
	m.slot = bench_need(calloc(m.slots, sizeof(*m.slot)), m.slots);
	bench_wait();
	run(&m, cycles / 10);
	start = bench_now();
	run(&m, cycles);
	seconds = bench_now() - start;
	drain(&m);
	printf("random_mixed cycles=%llu slots=%u seed=%u min=%u max=%u",
	       (unsigned long long)cycles, m.slots, seed, m.min, m.max);
	bench_report(cycles, seconds);
	return 0;
}
