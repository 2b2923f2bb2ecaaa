/*
 * steady N: after a fixed warm-up, N rounds of what a server does in its steady state: local
 * pairs, blocks of many sizes held for a while, blocks handed to another thread and freed there.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RING 64
#define WARM 20000

static void *ring[RING];
static long rounds;

static uint32_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(*state >> 33);
}

/* Spins, so that waiting makes no system call either. */
static void *freer(void *arg)
{
	(void)arg;
	for (long i = 0; i < rounds + WARM; i++) {
		void *p;

		while (!(p = __atomic_exchange_n(&ring[i % RING], NULL, __ATOMIC_ACQUIRE)))
			__builtin_ia32_pause();
		free(p);
	}
	return NULL;
}

/* Mostly small; some of every class; now and then a run of slices, or a mapping of its own. */
static size_t some_size(uint32_t r)
{
	if (r % 1024 == 0)
		return 3 << 20;
	if (r % 128 == 0)
		return 70000 + r % 500000;
	return 1 + (r % 16 ? r % 1000 : r % 65536);
}

static void work(long n, long first, uint64_t *state)
{
	static void *held[256];

	for (long i = first; i < first + n; i++) {
		uint32_t r = next_random(state);
		size_t size = some_size(r);
		void **h = &held[r >> 8 & 255], **slot = &ring[i % RING];
		void *p;

		free(*h);
		*h = malloc(size);
		memset(*h, 1, size < 64 ? size : 64);
		free(malloc(100));
		p = malloc(1 + r % 3000);
		while (__atomic_load_n(slot, __ATOMIC_ACQUIRE))
			__builtin_ia32_pause();
		__atomic_store_n(slot, p, __ATOMIC_RELEASE);
	}
}

int main(int argc, char **argv)
{
	uint64_t state = 1;
	pthread_t t;

	rounds = argc > 1 ? atol(argv[1]) : 1000;
	pthread_create(&t, NULL, freer, NULL);
	work(WARM, 0, &state);
	work(rounds, WARM, &state);
	pthread_join(t, NULL);
	_exit(0);
}
