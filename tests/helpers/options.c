/*
 * options WHAT: one behaviour an option changes, as a number.
 *   cached    KiB kept in the thread's caches after many frees
 *   dirty     KiB of unused memory still backed, after a burst was freed and a second of work
 *   at-once   the same right after the frees
 *   chunk     largest step by which the address space grew, in MiB
 *   fills     system calls that got memory for 64 MB of small blocks
 *   misuse    frees a wrong pointer, then prints 1
 */
#include "hakmem.h"
#include "shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCKS 20000

static struct hak_snapshot s;
static void *p[BLOCKS];

static void burst(void)
{
	for (int i = 0; i < BLOCKS; i++) {
		p[i] = malloc(700 + i % 700);
		memset(p[i], 1, 700);
	}
	for (int i = 0; i < BLOCKS; i++)
		free(p[i]);
}

static unsigned long long dirty(void)
{
	hak_snapshot(&s);
	return s.dirty_bytes >> 10;
}

static void work_a_second(void)
{
	for (int i = 0; i < 30; i++) {
		void *q[40];

		nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
		free(malloc(600000)); /* no hit: else nobody would look at the clock */
		for (int k = 0; k < 40; k++)
			q[k] = malloc(20000);
		for (int k = 0; k < 40; k++)
			free(q[k]);
	}
}

static unsigned long long chunk(void)
{
	unsigned long long last, most = 0;

	for (int i = 0; i < 3000; i++) {
		hak_snapshot(&s);
		last = s.mapped_bytes;
		if (!malloc(100000))
			return 0;
		hak_snapshot(&s);
		if (s.mapped_bytes - last > most)
			most = s.mapped_bytes - last;
	}
	return most >> 20;
}

extern struct hak_root hakmem_root;

/* System calls that brought memory before it was used. */
static unsigned long long fills(void)
{
	for (int i = 0; i < 64000; i++)
		memset(malloc(1000), 1, 1000);
	return hakmem_root.os.fills;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "chunk")) {
		printf("%llu\n", chunk());
		return 0;
	}
	if (!strcmp(what, "fills")) {
		printf("%llu\n", fills());
		return 0;
	}
	burst();
	if (!strcmp(what, "cached")) {
		hak_snapshot(&s);
		printf("%llu\n", (unsigned long long)s.cached_bytes >> 10);
	} else if (!strcmp(what, "dirty")) {
		work_a_second();
		printf("%llu\n", dirty());
	} else if (!strcmp(what, "at-once")) {
		printf("%llu\n", dirty());
	} else if (!strcmp(what, "misuse")) {
		void *volatile wrong = &s;

		free(wrong);
		printf("1\n");
	}
	return 0;
}
