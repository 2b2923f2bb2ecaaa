/*
 * What is not plain malloc: growing blocks with realloc, zeroed blocks, aligned blocks.
 *
 * usage: resize [kind=realloc] [thousand=200] [max=4096] [seed=7]
 * realloc: strings that grow by a third until they pass max bytes; calloc: 16 to max bytes, read
 * back, written; aligned: 16 to max bytes at 32 to 4096. thousand: operations.
 */
#include "bench.h"

#define LIVE 512u

static char *block[LIVE];
static uint32_t bytes_of[LIVE], max, state;

static void grow(uint32_t i)
{
	uint32_t bytes = bytes_of[i] + bytes_of[i] / 3 + 16;

	if (bytes > max) {
		bench_check(block[i], i);
		free(block[i]);
		block[i] = NULL;
		bytes = 16 + bench_next(&state) % 48;
	}
	if (block[i])
		bench_check(block[i], i);
	block[i] = bench_need(realloc(block[i], bytes), bytes);
	bench_mark(block[i], i, bytes);
	bytes_of[i] = bytes;
}

static void zeroed(uint32_t i)
{
	uint32_t bytes = 16 + bench_next(&state) % (max - 15);

	free(block[i]);
	block[i] = bench_need(calloc(1, bytes), bytes);
	if (block[i][0] || block[i][bytes / 2] || block[i][bytes - 1])
		bench_broken(block[i], i);
	memset(block[i], 1, bytes < 256 ? bytes : 256);
	block[i][bytes - 1] = 1;
}

static void aligned(uint32_t i)
{
	uint32_t bytes = 16 + bench_next(&state) % (max - 15), a = 32u << bench_next(&state) % 8;
	void *p = NULL;

	if (block[i])
		bench_check(block[i], i);
	free(block[i]);
	if (posix_memalign(&p, a, bytes) || (uintptr_t)p % a)
		bench_broken(p, i);
	block[i] = p;
	bench_mark(block[i], i, bytes);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "realloc";
	uint64_t ops = bench_arg(argc, argv, 2, 200, 1, 1u << 30) * 1000;
	void (*step)(uint32_t);
	double start;

	max = (uint32_t)bench_arg(argc, argv, 3, 4096, 64, 1u << 30);
	state = (uint32_t)bench_arg(argc, argv, 4, 7, 1, UINT32_MAX);
	step = !strcmp(kind, "realloc")	  ? grow
	       : !strcmp(kind, "calloc")  ? zeroed
	       : !strcmp(kind, "aligned") ? aligned
					  : NULL;
	if (!step) {
		fprintf(stderr, "resize: kind must be realloc, calloc or aligned\n");
		return 2;
	}
	start = bench_now();
	for (uint64_t k = 0; k < ops; k++)
		step(bench_next(&state) % LIVE);
	start = bench_now() - start;
	for (uint32_t i = 0; i < LIVE; i++)
		free(block[i]);
	printf("resize kind=%s max=%u", kind, max);
	bench_report(ops, start);
	return 0;
}
