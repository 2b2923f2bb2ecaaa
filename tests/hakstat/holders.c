/*
 * Holds known amounts of memory, each allocated by a function of its own, and tells how much.
 *
 * usage: holders FILE: at each line on stdin goes on: every function allocates, and FILE has lines
 * "FUNCTION BLOCKS BYTES EACH" and then "held"; all is freed, and FILE says "freed"; the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCKS_MAX 300000

void *hak_alloc_at(size_t bytes, const char *site) __attribute__((weak));

static void *held[BLOCKS_MAX];
static size_t holds;
static FILE *out;
static const char *const site_names[] = {"holders: index", "holders: cache"};

static void keep(void *p)
{
	if (!p || holds == BLOCKS_MAX)
		exit(1);
	held[holds++] = p;
}

static void tell(const char *name, size_t blocks, size_t each)
{
	fprintf(out, "%s %zu %zu %zu\n", name, blocks, blocks * each, each);
}

#define HOLD(name, n, bytes, how)                        \
	static __attribute__((noinline)) void name(void) \
	{                                                \
		for (size_t i = 0; i < (n); i++)         \
			keep(how);                       \
		tell(#name, n, bytes);                   \
	}

HOLD(hold_tiny, 200000, 40, malloc(40))
HOLD(hold_small, 20000, 500, calloc(1, 500))
HOLD(hold_mid, 3000, 5000, malloc(5000))
HOLD(hold_run, 60, 200000, malloc(200000))
HOLD(hold_large, 8, 3 << 20, malloc(3 << 20))
HOLD(hold_aligned, 2000, 4096, aligned_alloc(4096, 4096))

/* Grows in place or moves: one block is left, of the last size. */
static __attribute__((noinline)) void hold_grown(void)
{
	for (int i = 0; i < 500; i++) {
		char *p = malloc(100);

		for (size_t n = 200; p && n <= 12800; n *= 2)
			p = realloc(p, n);
		keep(p);
	}
	tell("hold_grown", 500, 12800);
}

static __attribute__((noinline)) void hold_nothing(void)
{
	for (int i = 0; i < 40000; i++) {
		char *p = malloc(1000);

		if (!p)
			exit(1);
		*(volatile char *)p = 1;
		free(p);
	}
	tell("hold_nothing", 0, 1000);
}

static __attribute__((noinline)) void hold_sites(void)
{
	for (int i = 0; i < 3000 && hak_alloc_at; i++)
		keep(hak_alloc_at(i % 3 ? 100 : 3000, site_names[i % 3 == 0]));
}

static void next(void)
{
	char line[16];

	if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
		exit(0);
}

int main(int argc, char **argv)
{
	static void *before[1000];

	for (int i = 0; i < 1000; i++)
		before[i] = malloc(10000);
	out = fopen(argc > 1 ? argv[1] : "/dev/null", "w");
	if (!out || !before[999])
		return 1;
	fprintf(out, "ready\n");
	fflush(out);
	next();
	hold_tiny();
	hold_small();
	hold_mid();
	hold_run();
	hold_large();
	hold_aligned();
	hold_grown();
	hold_nothing();
	hold_sites();
	fprintf(out, "held\n");
	fflush(out);
	next();
	for (size_t i = 0; i < holds; i++)
		free(held[i]);
	fprintf(out, "freed\n");
	fflush(out);
	next();
	return 0;
}
