/* A ring with one sender and one receiver: how blocks change threads without a lock. */
#ifndef BENCH_RING_H
#define BENCH_RING_H

#include "bench.h"

#define RING 4096u /* blocks under way from one thread to the next */

struct ring {
	void *slot[RING];
	uint64_t put __attribute__((aligned(64)));
	uint64_t got __attribute__((aligned(64)));
} __attribute__((aligned(64)));

static inline struct ring *bench_rings(unsigned n)
{
	struct ring *r = bench_need(aligned_alloc(64, n * sizeof(*r)), n * sizeof(*r));

	memset(r, 0, n * sizeof(*r));
	return r;
}

/* 0: full */
static inline int ring_put(struct ring *r, void *p)
{
	uint64_t n = __atomic_load_n(&r->put, __ATOMIC_RELAXED);

	if (n - __atomic_load_n(&r->got, __ATOMIC_ACQUIRE) == RING)
		return 0;
	r->slot[n % RING] = p;
	__atomic_store_n(&r->put, n + 1, __ATOMIC_RELEASE);
	return 1;
}

/* NULL: empty */
static inline void *ring_get(struct ring *r)
{
	uint64_t n = __atomic_load_n(&r->got, __ATOMIC_RELAXED);
	void *p;

	if (n == __atomic_load_n(&r->put, __ATOMIC_ACQUIRE))
		return NULL;
	p = r->slot[n % RING];
	__atomic_store_n(&r->got, n + 1, __ATOMIC_RELEASE);
	return p;
}

#endif
