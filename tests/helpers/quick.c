/*
 * A look at a build: the family of malloc, threads that hand blocks to each other, and the heap
 * checked. Plain C and POSIX: for every C library and processor the library is built for.
 */
#include "hakmem.h"
#include "test.h"

#include <pthread.h>

#define THREADS 4
#define ROUNDS 60
#define BLOCKS 400

static void every_size(void)
{
	for (size_t n = 0; n < (size_t)3 << 20; n += 1 + n / 6) {
		unsigned char *p = malloc(n), *q = realloc(p, n + n / 2 + 1);

		if (!CHECK(q))
			return;
		CHECK(((uintptr_t)q & 15) == 0 && hak_usable_size(q) >= n + n / 2 + 1);
		test_fill(q, n + 1, 7);
		CHECK(test_verify(q, n + 1, 7));
		q = realloc(q, n / 2 + 1);
		CHECK(q && test_verify(q, n / 2 + 1, 7));
		free(q);
	}
}

static void zeroed(void)
{
	static const size_t sizes[] = {24, 5000, 70000, 600000, 3000000};
	static const unsigned char zero[3000000];

	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			unsigned char *p = calloc(1, sizes[i]);

			if (!CHECK(p))
				return;
			CHECK(!memcmp(p, zero, sizes[i]));
			memset(p, 1, sizes[i]);
			free(p);
		}
}

static void aligned(void)
{
	for (size_t a = 16; a <= (size_t)4 << 20; a *= 2)
		for (size_t n = 1; n <= 400000; n *= 20) {
			void *p = NULL;

			if (!CHECK(!posix_memalign(&p, a, n)) || !CHECK(p))
				return;
			CHECK(((uintptr_t)p & (a - 1)) == 0);
			memset(p, 1, n);
			free(p);
		}
}

static void refused(void)
{
	errno = 0;
	CHECK(!malloc(HIDE((size_t)PTRDIFF_MAX + 1)) && errno == ENOMEM);
	errno = 0;
	CHECK(!calloc(HIDE(SIZE_MAX / 2), 4) && errno == ENOMEM);
	errno = 5;
	free(malloc(100));
	CHECK(errno == 5);
}

/* The C library's own allocations come from here, and go back here. */
static void of_libc(void)
{
	char *s = strdup("a string of libc's");

	CHECK(s && hak_usable_size(s) > strlen(s));
	free(s);
}

static unsigned char *shared[BLOCKS];

static void *work(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	for (unsigned i = 0; i < ROUNDS * BLOCKS; i++) {
		size_t n = 16 + test_random(&state) % (i % 61 ? 3000 : 300000);
		unsigned char *p = malloc(n), *old;

		if (!CHECK(p))
			return NULL;
		memcpy(p, &n, sizeof(n));
		p[n - 1] = (unsigned char)n;
		old = __atomic_exchange_n(&shared[test_random(&state) % BLOCKS], p,
					  __ATOMIC_ACQ_REL);
		if (!old)
			continue;
		memcpy(&n, old, sizeof(n));
		CHECK(n >= 16 && old[n - 1] == (unsigned char)n);
		free(old);
	}
	return NULL;
}

static void threads(void)
{
	for (int round = 0; round < 3; round++) {
		pthread_t t[THREADS];

		for (uintptr_t i = 0; i < THREADS; i++)
			CHECK(!pthread_create(&t[i], NULL, work, (void *)(i + 1)));
		for (int i = 0; i < THREADS; i++)
			pthread_join(t[i], NULL);
		CHECK_EQ(hak_check(), 0);
	}
	for (int i = 0; i < BLOCKS; i++)
		free(shared[i]);
	hak_trim();
	CHECK_EQ(hak_check(), 0);
}

static void counted(void)
{
	static struct hak_snapshot a, b;
	uint64_t allocs = 0, frees = 0;

	hak_snapshot(&a);
	for (int i = 0; i < 1000; i++)
		free(malloc(HIDE((size_t)48)));
	hak_snapshot(&b);
	for (unsigned c = 1; c < b.classes; c++) {
		allocs += b.class_[c].allocs - a.class_[c].allocs;
		frees += b.class_[c].frees - a.class_[c].frees;
	}
	CHECK_EQ(allocs, 1000);
	CHECK_EQ(frees, 1000);
}

int main(void)
{
	RUN(every_size);
	RUN(zeroed);
	RUN(aligned);
	RUN(refused);
	RUN(of_libc);
	RUN(counted);
	RUN(threads);
	return test_done();
}
