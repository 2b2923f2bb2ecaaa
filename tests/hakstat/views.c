/*
 * views SCENARIO OUT: does what hakstat's views show, so many times, and no more. OUT.pid tells
 * its pid once it is ready; each line on stdin lets it do the next step, after which OUT holds the
 * number of the step.
 *
 *   pairs    step 1: thread "maker" allocates 20,000 blocks of 100 bytes, "taker" frees them all
 *   route    step 1: 1,000 of 33 KiB, freed; 50 of 33 KiB at a multiple of 128 KiB,
 *            one of them 30 times more;
 *            20 of 1 MiB; 10 of 5 MiB, all kept
 *   memory   2,000 blocks of 8 KiB, every second one freed again; 10 MiB of which 3 are touched;
 *            6 MiB that are only read; 4 MiB touched and freed; a stack of 1 MiB; 5 MiB of its own;
 *            1 MiB shared; 4 MiB mapped of hugetlbfs. Step 1: malloc_trim
 *   pages    memory of every kind a page table tells: huge pages, whole and with a hole, pages of
 *            zeroes, small and huge, what may not be accessed, what is paged out if it can be
 *   many     1,000 threads that have allocated once and wait
 *   convoy   step 1: four threads fight for runs of the arena
 *   crowd    step 1: of 20 threads the n-th allocates n x 100 blocks, of which "first" frees three
 *            quarters and "second" the rest
 */
#include <alloca.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCKS 20000
#define MANY 1000
#define FIGHTERS 4
#define MIB ((size_t)1 << 20)

static void *volatile block[BLOCKS];
static pthread_barrier_t gate;
static const char *out;

/* Not by stdio: nothing else in here allocates. */
static void say(const char *suffix, int number)
{
	char path[4096], text[16];
	int fd, n = snprintf(text, sizeof(text), "%d\n", number);

	snprintf(path, sizeof(path), "%s%s", out, suffix);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		_exit(1);
	close(fd);
}

/* False at the end of the input. */
static int step(void)
{
	static int steps;
	char c;

	if (!steps)
		say(".pid", getpid());
	else
		say("", steps);
	steps++;
	return read(STDIN_FILENO, &c, 1) == 1;
}

static void pass(void)
{
	pthread_barrier_wait(&gate);
}

static void start(void *(*work)(void *), const char *name, void *arg)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 2 * MIB);
	if (pthread_create(&t, &attr, work, arg))
		_exit(1);
	pthread_attr_destroy(&attr);
	if (name)
		pthread_setname_np(t, name);
}

/* --- pairs --- */

static void *maker(void *arg)
{
	free(malloc(1)); /* has a heap before anybody counts */
	pass();
	pass();
	for (int i = 0; i < BLOCKS; i++)
		block[i] = malloc(100);
	pass();
	pass();
	pause();
	return arg;
}

static void *taker(void *arg)
{
	free(malloc(1));
	pass();
	pass();
	pass();
	for (int i = 0; i < BLOCKS; i++)
		free(block[i]);
	pass();
	pause();
	return arg;
}

static void pairs(void)
{
	pthread_barrier_init(&gate, NULL, 3);
	start(maker, "maker", NULL);
	start(taker, "taker", NULL);
	pass();
	step();
	pass();
	pass();
	pass();
	while (step())
		;
}

/* --- route --- */

static void route(void)
{
	step();
	for (int i = 0; i < 1000; i++) {
		block[0] = malloc(33 << 10);
		free(block[0]);
	}
	for (int i = 0; i < 50; i++)
		block[i] = aligned_alloc(128 << 10, 33 << 10);
	for (int i = 0; i < 30; i++) {
		free(block[49]);
		block[49] = aligned_alloc(128 << 10, 33 << 10);
	}
	for (int i = 0; i < 20; i++)
		block[i] = malloc(MIB);
	for (int i = 0; i < 10; i++)
		block[i] = malloc(5 * MIB);
	while (step())
		;
}

/* --- memory --- */

static void *deep(void *arg)
{
	volatile char *p = alloca(MIB);

	for (size_t i = 0; i < MIB; i += 1024)
		p[i] = 1;
	pass();
	pause();
	return arg;
}

/* Fresh memory, read only: no part of RSS. */
static void read_all(const volatile char *p, size_t n)
{
	for (size_t i = 0; i < n; i += 1024)
		(void)p[i];
}

static void memory(void)
{
	char *p;

	pthread_barrier_init(&gate, NULL, 2);
	start(deep, "deep", NULL);
	pass();
	for (int i = 0; i < 2000; i++)
		block[i] = memset(malloc(8192), 1, 8192);
	for (int i = 0; i < 2000; i += 2)
		free(block[i]);
	memset(malloc(10 * MIB), 1, 3 * MIB);
	read_all(malloc(6 * MIB), 6 * MIB);
	p = memset(malloc(4 * MIB), 1, 4 * MIB);
	block[0] = p;
	free(block[0]);
	p = mmap(NULL, 5 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(p, 1, 5 * MIB);
	p = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(p, 1, MIB);
	/* not reserved: the machine may have none of them */
	mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
	while (step())
		malloc_trim(0);
}

/* --- pages --- */

#define HUGE (2 * MIB)

/* Of the allocator, for attention to be paid to each page of it. */
static char *huge_block(size_t bytes)
{
	char *p = aligned_alloc(HUGE, bytes);

	madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

static void pages(void)
{
	size_t page = 4096, n = 8 * MIB;
	char *p = malloc(n);

	for (size_t i = 0; i < n / page; i += 1 + i % 3)
		p[i * page] = 1;
	p = memset(huge_block(n), 1, n);
	madvise(p + HUGE + 3 * page, 7 * page, MADV_DONTNEED);
	read_all(malloc(n), n / 2);
	p = huge_block(n);
	read_all(p, n / 2);
	p[HUGE] = 1;
	mprotect(memset(huge_block(n), 1, n), n, PROT_NONE);
	p = huge_block(n);
	read_all(p, n);
	mprotect(p, n, PROT_NONE);
	p = memset(malloc(n), 1, n);
	p += -(uintptr_t)p % page;
	mprotect(p, n / 4, PROT_NONE);
	madvise(p + n / 2, n / 4, MADV_PAGEOUT);
	for (int i = 0; i < 2000; i++)
		block[i] = memset(malloc(8192), 1, 8192);
	for (int i = 0; i < 2000; i += 2)
		free(block[i]);
	while (step())
		malloc_trim(0);
}

/* --- many --- */

static void *one_of_many(void *arg)
{
	block[(size_t)arg] = malloc(50);
	pass();
	pause();
	return arg;
}

static void many(void)
{
	pthread_barrier_init(&gate, NULL, MANY + 1);
	for (size_t i = 0; i < MANY; i++)
		start(one_of_many, "many", (void *)i);
	pass();
	while (step())
		;
}

/* --- convoy --- */

static void *fighter(void *arg)
{
	void *p[64];

	free(malloc(1));
	pass();
	pass();
	for (int round = 0; round < 1000; round++) {
		for (int i = 0; i < 64; i++)
			p[i] = malloc(530000 + (size_t)(i % 4) * 65536);
		for (int i = 0; i < 64; i++)
			free(p[i]);
	}
	pass();
	pause();
	return arg;
}

static void convoy(void)
{
	pthread_barrier_init(&gate, NULL, FIGHTERS + 1);
	for (int i = 0; i < FIGHTERS; i++)
		start(fighter, "fighter", NULL);
	pass();
	step();
	pass();
	pass();
	while (step())
		;
}

/* --- crowd --- */

#define CROWD 20
#define CROWD_BLOCKS 100

static pthread_barrier_t freed;
static void *volatile crowd_block[CROWD][CROWD * CROWD_BLOCKS];

static void *one_of_crowd(void *arg)
{
	size_t me = (size_t)arg;

	pass();
	for (size_t i = 0; i < (me + 1) * CROWD_BLOCKS; i++)
		crowd_block[me][i] = malloc(100);
	pass();
	pause();
	return arg;
}

static void *freer(void *arg)
{
	bool rest = arg != NULL;

	pass();
	pass();
	for (size_t k = 0; k < CROWD; k++)
		for (size_t i = 0; i < (k + 1) * CROWD_BLOCKS; i++)
			if ((i % 4 == 0) == rest)
				free(crowd_block[k][i]);
	pthread_barrier_wait(&freed);
	pause();
	return arg;
}

static void crowd(void)
{
	char name[16];

	pthread_barrier_init(&gate, NULL, CROWD + 3);
	pthread_barrier_init(&freed, NULL, 3);
	for (size_t i = 0; i < CROWD; i++) {
		snprintf(name, sizeof(name), "owner%02zu", i + 1);
		start(one_of_crowd, name, (void *)i);
	}
	start(freer, "first", NULL);
	start(freer, "second", (void *)1);
	step();
	pass();
	pass();
	pthread_barrier_wait(&freed);
	while (step())
		;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} scenarios[] = {{"pairs", pairs}, {"route", route},   {"memory", memory}, {"pages", pages},
			 {"many", many},   {"convoy", convoy}, {"crowd", crowd}};

	out = argc > 2 ? argv[2] : "";
	for (size_t i = 0; argc > 2 && i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		if (!strcmp(argv[1], scenarios[i].name)) {
			scenarios[i].run();
			_exit(0); /* with all its threads */
		}
	return 2;
}
