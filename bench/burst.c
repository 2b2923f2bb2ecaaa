/*
 * A peak and what follows: fills memory with blocks of mixed sizes, frees nine of ten, goes on
 * with other sizes, frees all, and waits a second at work. Tells the memory held at each stage.
 *
 * usage: burst [mib=1024] [rounds=1] [seed=5]
 */
#include "bench.h"

#include <unistd.h>

static void **block;
static uint32_t made, state;
static size_t live;

static uint32_t first_sizes(void)
{
	uint32_t r = bench_next(&state);

	switch (r % 16) {
	case 0:
		return 2048 + (r >> 8) % 30000;
	case 1 ... 4:
		return 256 + (r >> 8) % 1800;
	default:
		return 16 + (r >> 8) % 240;
	}
}

static uint32_t other_sizes(void)
{
	return 1000 + bench_next(&state) % 9000;
}

static uint64_t fill(size_t until, uint32_t room, uint32_t (*size)(void))
{
	uint64_t ops = 0;

	for (; live < until && made < room; made++, ops++) {
		uint32_t bytes = size();

		block[made] = bench_need(malloc(bytes), bytes);
		memset(block[made], 1, bytes);
		bench_mark(block[made], 0, bytes);
		live += bytes;
	}
	return ops;
}

/* Frees all but each tenth (`keep` 10) or all (`keep` 0). */
static uint64_t thin(uint32_t keep)
{
	uint32_t left = 0;
	uint64_t ops = 0;

	for (uint32_t i = 0; i < made; i++) {
		if (keep && bench_next(&state) % keep == 0) {
			block[left++] = block[i];
			continue;
		}
		live -= bench_check(block[i], 0);
		free(block[i]);
		ops++;
	}
	made = left;
	return ops;
}

/* A second in the life of a program that is past its peak. */
static void idle_second(void)
{
	for (int i = 0; i < 100; i++) {
		void *p[50];

		for (int k = 0; k < 50; k++)
			p[k] = bench_need(malloc(16 + bench_next(&state) % 4000), 4000);
		for (int k = 0; k < 50; k++)
			free(p[k]);
		usleep(10000);
	}
}

int main(int argc, char **argv)
{
	size_t total = bench_arg(argc, argv, 1, 1024, 1, 1u << 20) << 20, peak, thinned, shifted;
	uint64_t rounds = bench_arg(argc, argv, 2, 1, 1, 1000), ops = 0;
	uint32_t room = (uint32_t)(total / 100) + 1000;
	double start, seconds;

	state = (uint32_t)bench_arg(argc, argv, 3, 5, 1, UINT32_MAX);
	block = bench_need(malloc(room * sizeof(*block)), room);
	peak = thinned = shifted = 0;
	start = bench_now();
	for (uint64_t k = 0; k < rounds; k++) {
		ops += fill(total, room, first_sizes);
		peak = bench_rss();
		ops += thin(10);
		thinned = bench_rss();
		ops += fill(total / 2, room, other_sizes);
		shifted = bench_rss();
		ops += thin(0);
	}
	seconds = bench_now() - start;
	idle_second();
	printf("burst mib=%zu peak_kib=%zu thinned_kib=%zu shifted_kib=%zu after_kib=%zu",
	       total >> 20, peak >> 10, thinned >> 10, shifted >> 10, bench_rss() >> 10);
	bench_report(ops, seconds);
	return 0;
}
