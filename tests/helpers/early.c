/*
 * A library that works before everybody else: built as one to preload before the allocator, and
 * as a dependency of the program. Its constructors run before the allocator's, and their blocks
 * are verified by its destructor, which runs after it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCKS 500

static char *block[BLOCKS];
static unsigned bad;

static size_t size_of(unsigned i)
{
	return i % 50 ? 16 + i * 13 : i * 3000 + 1;
}

static void fill(void)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		block[i] = malloc(size_of(i));
		if (block[i])
			memset(block[i], (int)i, size_of(i));
	}
}

static void verify_and_free(void)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		for (size_t k = 0; !block[i] || k < size_of(i); k++)
			if (!block[i] || block[i][k] != (char)i) {
				bad++;
				break;
			}
		free(block[i]);
	}
}

__attribute__((constructor(101))) static void first(void)
{
	fill();
}

static void at_exit(void)
{
	verify_and_free();
	fill();
}

__attribute__((constructor)) static void then(void)
{
	verify_and_free();
	fill();
	atexit(at_exit);
}

__attribute__((destructor(101))) static void last(void)
{
	verify_and_free();
	if (bad)
		_exit(99);
}

/* A function that is chosen when the library is bound: the one chosen allocates. */
static void *really(size_t n)
{
	return calloc(1, n);
}

__attribute__((used)) static void *(*choose(void))(size_t)
{
	return really;
}

void *early_chosen(size_t n) __attribute__((ifunc("choose")));
