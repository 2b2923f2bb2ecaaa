/*
 * With an argument: reads a block after its free, and loses another one. Without: does nothing
 * wrong, through every function a checker replaces. Prints "done".
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *volatile lost;

static int wrong(void)
{
	volatile char *p = malloc(40);

	memset((char *)p, 1, 40);
	lost = malloc(1234);
	lost = NULL;
	free((void *)p);
	return p[8];
}

static int right(void)
{
	size_t sum = 0, rounds = 0;

	for (size_t n = 1; n < 3000000; n = n * 2 + 1, rounds++) {
		char *p = calloc(1, n), *q = aligned_alloc(64, (n + 63) / 64 * 64);

		p = realloc(p, 2 * n);
		q[0] = 1;
		sum += (size_t)p[0] + (size_t)q[0] + (malloc_usable_size(p) >= 2 * n);
		free(p);
		free(q);
	}
	return sum == 2 * rounds ? 0 : 1;
}

int main(int argc, char **argv)
{
	int r = argc > 1 ? wrong() & 0 : right();

	(void)argv;
	puts(r ? "failed" : "done");
	return r;
}
