/*
 * What the benchmark programs share: the random stream, the clock, and the marks by which each
 * program proves that the allocator gave it memory of its own.
 */
#ifndef BENCH_H
#define BENCH_H

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* For what one thread writes all the time: no line (two, as processors fetch them) with another's.
 */
#define BENCH_APART __attribute__((aligned(128)))

/* Marsaglia's xorshift32 with shifts 13, 17, 5; state must not be 0. */
static inline uint32_t bench_next(uint32_t *state)
{
	uint32_t x = *state;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	*state = x;
	return x;
}

/* A different start for each thread; the multiplier is 2^32 / golden ratio. */
static inline uint32_t bench_seed(uint32_t seed, unsigned thread)
{
	uint32_t s = seed ^ ((thread + 1) * 2654435761u);

	return s ? s : 1;
}

static inline double bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline void *bench_need(void *block, size_t bytes)
{
	if (!block) {
		fprintf(stderr, "bench: no memory for %zu bytes\n", bytes);
		exit(1);
	}
	return block;
}

static inline void bench_broken(const void *block, uint32_t slot)
{
	fprintf(stderr, "bench: block %p of slot %u was overwritten\n", block, slot);
	exit(1);
}

/* Leads a marked block; the last byte of the block repeats slot ^ bytes. */
struct bench_mark {
	uint32_t slot;
	uint32_t bytes;
};

/* bytes: at least sizeof(struct bench_mark) */
static inline void bench_mark(void *block, uint32_t slot, uint32_t bytes)
{
	struct bench_mark m = {slot, bytes};

	memcpy(block, &m, sizeof(m));
	if (bytes > sizeof(m))
		((unsigned char *)block)[bytes - 1] = (unsigned char)(slot ^ bytes);
}

static inline uint32_t bench_check(const void *block, uint32_t slot)
{
	struct bench_mark m;

	memcpy(&m, block, sizeof(m));
	if (m.slot != slot || (m.bytes > sizeof(m) && ((const unsigned char *)block)[m.bytes - 1] !=
							      (unsigned char)(slot ^ m.bytes)))
		bench_broken(block, slot);
	return m.bytes;
}

/* Argument i as a number within [min, max], or fallback when it is absent; ends on nonsense. */
static inline unsigned long bench_arg(int argc, char **argv, int i, unsigned long fallback,
				      unsigned long min, unsigned long max)
{
	unsigned long v;
	char *end;

	if (i >= argc)
		return fallback;
	v = strtoul(argv[i], &end, 10);
	if (end == argv[i] || *end || argv[i][0] == '-' || v < min || v > max) {
		fprintf(stderr, "%s: argument %d must be a number from %lu to %lu, not '%s'\n",
			argv[0], i, min, max, argv[i]);
		exit(2);
	}
	return v;
}

/* The CPU of thread i, of those this process may use, in turn. */
static inline void bench_spread(pthread_attr_t *attr, unsigned i)
{
	cpu_set_t all, one;
	int cpu = -1;

	if (sched_getaffinity(0, sizeof(all), &all))
		return;
	for (unsigned left = i % (unsigned)CPU_COUNT(&all) + 1; left; left -= CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	pthread_attr_setaffinity_np(attr, sizeof(one), &one);
}

/*
 * Runs f on n items of an array, each in a thread of its own, and waits for all. Several have
 * their CPUs told: else the scheduler decides, by the run, whether threads that hand over blocks
 * share a cache, which changes the time more than any allocator does.
 */
static inline void bench_threads(unsigned n, void *(*f)(void *), void *items, size_t item_bytes)
{
	pthread_t t[256];

	for (unsigned i = 0; i < n; i++) {
		pthread_attr_t attr;

		pthread_attr_init(&attr);
		if (n > 1)
			bench_spread(&attr, i);
		if (pthread_create(&t[i], &attr, f, (char *)items + i * item_bytes)) {
			fprintf(stderr, "bench: cannot start thread %u\n", i);
			exit(1);
		}
		pthread_attr_destroy(&attr);
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(t[i], NULL);
}

/* Resident bytes of this process now. */
static inline size_t bench_rss(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f && fscanf(f, "%*u %lu", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return pages * 4096;
}

/* With BENCH_WAIT set, until a line comes: somebody wants to look on from the beginning. */
static inline void bench_wait(void)
{
	if (getenv("BENCH_WAIT"))
		while (getchar() != '\n' && !feof(stdin))
			;
}

/* The two numbers bench/run.sh reads. Ends the line. */
static inline void bench_report(uint64_t ops, double seconds)
{
	printf(" ops=%llu seconds=%.6f ops_per_s=%.0f\n", (unsigned long long)ops, seconds,
	       (double)ops / (seconds > 0 ? seconds : 1e-9));
}

#endif
