/*
 * What the helpers about lives of processes and threads share: blocks whose contents are known,
 * children, the heap's own word. Nothing here needs the library's header: the same program runs
 * preloaded, linked and static.
 */
#ifndef LIFE_H
#define LIFE_H

#include "test.h"

#include <pthread.h>
#include <sys/wait.h>

#define BAG 64
#define CHILD_SECONDS 60 /* a child that hangs is ended and counted as failed */

extern unsigned hak_check(void) __attribute__((weak));
extern bool hak_trim(void) __attribute__((weak));

/* Fails without hakmem, too: then nothing here was tested. */
static inline void heap_is_whole(void)
{
	if (CHECK(hak_check != NULL))
		CHECK_EQ(hak_check(), 0);
}

struct bag {
	void *p[BAG];
	size_t n[BAG];
	uint32_t seed[BAG];
	uint64_t state;
};

static inline void bag_drop(struct bag *b, unsigned i)
{
	if (b->p[i])
		CHECK(test_verify(b->p[i], b->n[i], b->seed[i]));
	free(b->p[i]);
	b->p[i] = NULL;
}

static inline size_t bag_size(uint32_t r)
{
	if (r % 128 == 0)
		return r % (3U << 20);
	return r % 8 ? r % 900 : r % 20000;
}

/* One block goes, another comes; refused, the place stays empty. */
static inline bool bag_step(struct bag *b)
{
	uint32_t r = test_random(&b->state);
	unsigned i = r % BAG;
	size_t n = bag_size(test_random(&b->state));
	void *p = r & 1 << 20 ? calloc(1, n) : malloc(n);

	bag_drop(b, i);
	if (!p)
		return false;
	test_fill(p, n, r);
	b->p[i] = p;
	b->n[i] = n;
	b->seed[i] = r;
	return true;
}

static inline void bag_steps(struct bag *b, unsigned n)
{
	while (n--)
		CHECK(bag_step(b));
}

static inline void bag_verify(const struct bag *b)
{
	for (unsigned i = 0; i < BAG; i++)
		CHECK(!b->p[i] || test_verify(b->p[i], b->n[i], b->seed[i]));
}

static inline void bag_empty(struct bag *b)
{
	for (unsigned i = 0; i < BAG; i++)
		bag_drop(b, i);
}

static inline bool succeeded(pid_t pid)
{
	int status = -1;

	if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0)
		return true;
	test_say("#   child %d ended with %d, signal %d\n", (int)pid, status >> 8, status & 127);
	return false;
}

/* Threads that allocate all the time, until load_end. */
#define LOAD 2
static bool load_stop;
static pthread_t load_thread[LOAD];

static inline void *load_run(void *arg)
{
	struct bag b = {.state = (uintptr_t)arg};

	while (!__atomic_load_n(&load_stop, __ATOMIC_RELAXED))
		bag_steps(&b, 50);
	bag_empty(&b);
	return NULL;
}

static inline void load_begin(void)
{
	load_stop = false;
	for (uintptr_t i = 0; i < LOAD; i++)
		CHECK_EQ(pthread_create(&load_thread[i], NULL, load_run, (void *)(i + 1)), 0);
}

static inline void load_end(void)
{
	__atomic_store_n(&load_stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < LOAD; i++)
		pthread_join(load_thread[i], NULL);
	heap_is_whole();
}

#endif
