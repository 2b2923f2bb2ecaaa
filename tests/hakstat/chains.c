/*
 * Known call chains to a probe: every block is larger than the allocator keeps pages for, none is
 * freed, so that each makes mmap_fallback fire once. What happens is written to the file named
 * first: "COUNT BYTES innermost<...<outermost", as functions of this file, after the one of the
 * allocator. Then, with a second argument "wait", it waits for the end of its standard input.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define KEEP_FRAME __asm__ volatile("" ::: "memory") /* the call before it is no tail call */
#define FN __attribute__((noinline, noclone, noipa)) void

void big(size_t n);
void gamma_(size_t n);
void beta(size_t n);
void alpha(size_t n);
void other(size_t n);
void with_inlined(size_t n);
void descend(size_t n, int depth);
void on_thread(size_t n);
void by_others(void);

static void *volatile kept;

FN big(size_t n)
{
	kept = malloc(n);
	KEEP_FRAME;
}

FN gamma_(size_t n)
{
	char local[200]; /* frames of different sizes */

	memset(local, (int)n, sizeof(local));
	__asm__ volatile("" ::"r"(local) : "memory");
	big(n);
	KEEP_FRAME;
}

FN beta(size_t n)
{
	gamma_(n + MIB);
	KEEP_FRAME;
}

FN alpha(size_t n)
{
	for (int i = 0; i < 7; i++)
		beta(n);
	KEEP_FRAME;
}

FN other(size_t n)
{
	for (int i = 0; i < 5; i++)
		gamma_(n);
	KEEP_FRAME;
}

static inline __attribute__((always_inline)) void inlined_step(size_t n)
{
	big(n); /* inlined: its line */
	KEEP_FRAME;
}

FN with_inlined(size_t n)
{
	for (int i = 0; i < 3; i++)
		inlined_step(n); /* inlined: the caller's line */
	KEEP_FRAME;
}

FN descend(size_t n, int depth)
{
	if (depth)
		descend(n, depth - 1);
	else
		big(n);
	KEEP_FRAME;
}

FN on_thread(size_t n)
{
	for (int i = 0; i < 4; i++)
		gamma_(n);
	KEEP_FRAME;
}

/* Each by a function of the allocator that does not show itself: it jumps on, or is jumped to. */
FN by_others(void)
{
	void *(*volatile pointer)(size_t) = malloc;
	void *p;

	kept = aligned_alloc(2 * MIB, 8 * MIB);
	kept = calloc(1, 9 * MIB);
	kept = reallocarray(NULL, 10, MIB);
	kept = pointer(11 * MIB); /* by a register: which one is not told */
	p = malloc(100);
	kept = realloc(p, 12 * MIB);
	KEEP_FRAME;
}

static void *thread(void *arg)
{
	on_thread(4 * MIB);
	return arg;
}

static void tell(const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		abort();
	fprintf(f, "7 %zu malloc<big<gamma_<beta<alpha<main\n", 7 * 4 * MIB);
	fprintf(f, "5 %zu malloc<big<gamma_<other<main\n", 5 * 5 * MIB);
	fprintf(f, "3 %zu malloc<big<%swith_inlined<main\n", 3 * 6 * MIB, INLINED);
	fprintf(f, "4 %zu malloc<big<gamma_<on_thread\n", 4 * 4 * MIB);
	fprintf(f, "1 %zu aligned_alloc<by_others<main\n", 8 * MIB);
	fprintf(f, "1 %zu calloc<by_others<main\n", 9 * MIB);
	fprintf(f, "1 %zu reallocarray<by_others<main\n", 10 * MIB);
	fprintf(f, "1 %zu malloc<by_others<main\n", 11 * MIB);
	fprintf(f, "1 %zu realloc<by_others<main\n", 12 * MIB);
	fprintf(f, "1 %zu malloc<big", 7 * MIB);
	for (int i = 0; i <= 40; i++)
		fprintf(f, "<descend");
	fprintf(f, "<main\n");
	fclose(f);
}

int main(int argc, char **argv)
{
	int deep = argc > 2 ? atoi(argv[2]) : 0;
	pthread_t t;
	char c;

	if (argc < 2)
		return 2;
	tell(argv[1]);
	if (deep) {
		descend(3 * MIB, deep);
		return 0;
	}
	if (argc > 2)
		while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
			;
	alpha(3 * MIB);
	other(5 * MIB);
	with_inlined(6 * MIB);
	descend(7 * MIB, 40);
	by_others();
	pthread_create(&t, NULL, thread, NULL);
	pthread_join(t, NULL);
	if (argc > 2)
		while (read(STDIN_FILENO, &c, 1) == 1)
			;
	return 0;
}
