/*
 * What C, POSIX and glibc's manual say of malloc and its family, as far as a program can see.
 * Every way to allocate is a line of one table, every way to free a line of another, and most
 * cases go through all of them. The standard's C++ half is in conform_new.cc, blocks that libc
 * makes in conform_libc.c.
 */
#include "life.h"

#include <malloc.h>

/* C23, and a name from before glibc 2.26: headers and libc may not have them. */
extern void free_sized(void *p, size_t n) __attribute__((weak));
extern void free_aligned_sized(void *p, size_t alignment, size_t n) __attribute__((weak));
extern void cfree(void *p) __attribute__((weak));

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define OS_PAGE ((size_t)4096)
#define KEEP 1234 /* an errno that no function sets */

/* ---- the ways ---- */

static void *by_calloc(size_t n)
{
	return calloc(1, n);
}

static void *by_calloc_of_bytes(size_t n)
{
	return calloc(n, 1);
}

static void *by_realloc(size_t n)
{
	return realloc(NULL, n);
}

static void *by_reallocarray(size_t n)
{
	return reallocarray(NULL, n, 1);
}

static void *by_aligned_alloc(size_t n)
{
	return aligned_alloc(16, n);
}

static void *by_aligned_alloc_256(size_t n)
{
	return aligned_alloc(256, n);
}

static void *by_memalign_32(size_t n)
{
	return memalign(32, n);
}

static void *by_memalign_64k(size_t n)
{
	return memalign(65536, n);
}

static void *by_memalign_1m(size_t n)
{
	return memalign(1U << 20, n);
}

/* The result is the error; of errno glibc's sets it when out of memory only. */
static void *posix(size_t alignment, size_t n)
{
	static char untouched;
	void *p = &untouched;
	int before = errno, error = posix_memalign(&p, alignment, n);

	CHECK_EQ(errno, error == ENOMEM ? ENOMEM : before);
	if (!error)
		return p;
	CHECK(p == &untouched);
	errno = error;
	return NULL;
}

static void *by_posix_memalign_8(size_t n)
{
	return posix(8, n);
}

static void *by_posix_memalign_4096(size_t n)
{
	return posix(OS_PAGE, n);
}

static const struct way {
	const char *name;
	void *(*get)(size_t n);
	size_t alignment;
	bool zero;
} ways[] = {
	{"malloc", malloc, 16, false},
	{"calloc 1 n", by_calloc, 16, true},
	{"calloc n 1", by_calloc_of_bytes, 16, true},
	{"realloc NULL", by_realloc, 16, false},
	{"reallocarray NULL", by_reallocarray, 16, false},
	{"aligned_alloc 16", by_aligned_alloc, 16, false},
	{"aligned_alloc 256", by_aligned_alloc_256, 256, false},
	{"memalign 32", by_memalign_32, 32, false},
	{"memalign 65536", by_memalign_64k, 65536, false},
	{"memalign 1 MiB", by_memalign_1m, 1U << 20, false},
	{"posix_memalign 8", by_posix_memalign_8, 16, false},
	{"posix_memalign 4096", by_posix_memalign_4096, 4096, false},
	{"valloc", valloc, 4096, false},
	{"pvalloc", pvalloc, 4096, false},
};

/* n, alignment: what was asked for */
static void by_free(void *p, size_t n, size_t alignment)
{
	(void)n;
	(void)alignment;
	free(p);
}

static void by_cfree(void *p, size_t n, size_t alignment)
{
	(void)n;
	(void)alignment;
	cfree(p);
}

static void by_free_sized(void *p, size_t n, size_t alignment)
{
	if (alignment > 16)
		free_aligned_sized(p, alignment, n);
	else
		free_sized(p, n);
}

static void by_realloc_to_0(void *p, size_t n, size_t alignment)
{
	(void)n;
	(void)alignment;
	if (p)
		CHECK(realloc(p, 0) == NULL);
}

static void by_reallocarray_to_0(void *p, size_t n, size_t alignment)
{
	(void)alignment;
	if (p)
		CHECK((n & 1 ? reallocarray(p, 0, 8) : reallocarray(p, 8, 0)) == NULL);
}

static void (*const frees[])(void *p, size_t n, size_t alignment) = {
	by_free, by_cfree, by_free_sized, by_realloc_to_0, by_reallocarray_to_0,
};

static void blame(const struct way *w, size_t n)
{
	if (test_bad < 10)
		test_say("#   %s, %zu bytes\n", w->name, n);
}

/* ---- blocks whose bytes are known: all of them up to 8 KiB, ends and samples beyond ---- */

#define ENDS 64U

static size_t step_of(size_t n)
{
	return n > 8192 ? 1021 : 1;
}

static unsigned char byte_at(size_t i, uint32_t seed)
{
	return (unsigned char)(seed + i * 7 + (i >> 8));
}

static void fill(unsigned char *p, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i += step_of(n))
		p[i] = byte_at(i, seed);
	for (size_t i = n > ENDS ? n - ENDS : 0; i < n; i++)
		p[i] = byte_at(i, seed);
}

/* The first `common` bytes of a block that was filled as n. */
static bool holds(const unsigned char *p, size_t n, size_t common, uint32_t seed)
{
	for (size_t i = 0; i < common; i += step_of(n))
		if (p[i] != byte_at(i, seed))
			return false;
	for (size_t i = n > ENDS ? n - ENDS : 0; i < common; i++)
		if (p[i] != byte_at(i, seed))
			return false;
	return true;
}

static bool is_aligned(const void *p, size_t to)
{
	return p && ((uintptr_t)p & (to - 1)) == 0;
}

static bool is_zero(const unsigned char *p, size_t n)
{
	return !n || (!p[0] && !memcmp(p, p + 1, n - 1));
}

/* Sizes on both sides of every border an allocator is likely to have. */
static size_t next_size(size_t n)
{
	size_t pow2 = 1;

	if (n < 530)
		return n + 1;
	while (pow2 <= n)
		pow2 *= 2;
	/* ..., 2^k - 1, 2^k, 2^k + 1, ... */
	if (n == pow2 / 2 || n == pow2 - 1)
		return n + 1;
	n += n / 5;
	return n < pow2 - 1 ? n : pow2 - 1;
}

/* ---- the cases ---- */

static void zero_bytes_are_a_block_each(void)
{
	void *p[COUNT(ways)][3];

	errno = KEEP;
	for (size_t w = 0; w < COUNT(ways); w++)
		for (size_t i = 0; i < 3; i++)
			if (!CHECK((p[w][i] = ways[w].get(0)) != NULL))
				blame(&ways[w], 0);
	for (size_t i = 0; i < COUNT(ways) * 3; i++)
		for (size_t k = 0; k < i; k++)
			CHECK(p[i / 3][i % 3] != p[k / 3][k % 3]);
	for (size_t w = 0; w < COUNT(ways); w++)
		for (size_t i = 0; i < 3; i++)
			frees[(w + i) % COUNT(frees)](p[w][i], 0, ways[w].alignment);
	p[0][0] = calloc(0, 0);
	p[0][1] = calloc(0, HIDE(SIZE_MAX));
	p[0][2] = reallocarray(NULL, HIDE(SIZE_MAX), 0);
	CHECK(p[0][0] && p[0][1] && p[0][2]);
	for (size_t i = 0; i < 3; i++)
		free(p[0][i]);
	CHECK_EQ(errno, KEEP);
}

static void null_is_freed(void)
{
	errno = KEEP;
	for (size_t f = 0; f < COUNT(frees); f++)
		for (size_t a = 16; a <= 32; a += 16)
			frees[f](NULL, 0, a);
	CHECK_EQ(malloc_usable_size(NULL), 0);
	CHECK_EQ(errno, KEEP);
}

/* 64 blocks live at a time, of every way: aligned, as long as promised, none in another. */
#define RING 64U

static struct {
	unsigned char *p;
	size_t n, usable, alignment;
} ring[RING];

static void ring_drop(unsigned i)
{
	if (ring[i].p)
		CHECK(holds(ring[i].p, ring[i].usable, ring[i].usable, i));
	frees[i % COUNT(frees)](ring[i].p, ring[i].n, ring[i].alignment);
	ring[i].p = NULL;
}

static void ring_put(unsigned i, const struct way *w, size_t n)
{
	unsigned char *p;

	ring_drop(i);
	errno = KEEP;
	p = w->get(n);
	CHECK_EQ(errno, KEEP);
	if (!CHECK(is_aligned(p, w->alignment)) || !CHECK(malloc_usable_size(p) >= n)) {
		blame(w, n);
		return;
	}
	if (w->zero && n < 300000)
		CHECK(is_zero(p, n));
	ring[i].p = p;
	ring[i].n = n;
	ring[i].usable = malloc_usable_size(p);
	ring[i].alignment = w->alignment;
	fill(p, ring[i].usable, i);
}

static void every_size_is_aligned_and_all_its_own(void)
{
	unsigned i = 0;

	for (size_t n = 0; n < 4300000; n = next_size(n))
		for (size_t w = 0; w < COUNT(ways); w++)
			ring_put(i++ % RING, &ways[w], n);
	for (i = 0; i < RING; i++)
		ring_drop(i);
	heap_is_whole();
}

static void pvalloc_is_whole_pages(void)
{
	for (size_t n = 0; n < 40000; n += 777) {
		void *p = pvalloc(n);

		CHECK(malloc_usable_size(p) >= (n + OS_PAGE - 1) / OS_PAGE * OS_PAGE);
		free(p);
	}
}

/* Memory that was dirty a moment ago, in every layer. */
static void calloc_is_zero(void)
{
	for (size_t n = 1; n < 9000000; n = n < 100 ? n + 9 : n * 5 / 2) {
		for (unsigned round = 0; round < 4; round++) {
			unsigned char *p = malloc(n);

			memset(p, 0xff, malloc_usable_size(p));
			free(p);
			p = round & 1 ? calloc(n, 1) : calloc(1, n);
			CHECK(p && is_zero(p, n));
			memset(p, 0xff, malloc_usable_size(p));
			free(p);
		}
	}
}

/* Many blocks of a size are written, freed in parts and taken again, also by others' pages. */
static void calloc_after_reuse(void)
{
	enum { N = 300 };
	static unsigned char *p[N];

	for (size_t size = 1100; size < 100000; size = size * 5 / 3) {
		for (unsigned round = 0; round < 12; round++) {
			for (unsigned i = round % 3; i < N; i += 1 + round % 4) {
				free(p[i]);
				p[i] = calloc(1, size);
				CHECK(p[i][0] == 0 && p[i][size / 2] == 0 && p[i][size - 1] == 0);
				memset(p[i], 0xa5, size);
			}
		}
		for (unsigned i = 0; i < N; i++) {
			free(p[i]);
			p[i] = NULL;
		}
	}
}

/* Above PTRDIFF_MAX, or so near to it that no machine has it. */
static const size_t too_many[] = {
	PTRDIFF_MAX - 131072UL,
	PTRDIFF_MAX - 65536UL,
	PTRDIFF_MAX - 65535UL,
	PTRDIFF_MAX - 4096UL,
	PTRDIFF_MAX - 4095UL,
	PTRDIFF_MAX - 16UL,
	PTRDIFF_MAX,
	PTRDIFF_MAX + 1UL,
	PTRDIFF_MAX + 2UL,
	PTRDIFF_MAX + 4097UL,
	SIZE_MAX - 1048576,
	SIZE_MAX - 1048575,
	SIZE_MAX - 65536,
	SIZE_MAX - 65535,
	SIZE_MAX - 4096,
	SIZE_MAX - 4095,
	SIZE_MAX - 256,
	SIZE_MAX - 255,
	SIZE_MAX - 16,
	SIZE_MAX - 15,
	SIZE_MAX - 8,
	SIZE_MAX - 1,
	SIZE_MAX,
	(size_t)1 << 47,
	(size_t)1 << 48,
	(size_t)1 << 62,
};

static void too_many_bytes_are_refused(void)
{
	for (size_t w = 0; w < COUNT(ways); w++) {
		for (size_t i = 0; i < COUNT(too_many); i++) {
			errno = 0;
			if (!CHECK(ways[w].get(too_many[i]) == NULL && errno == ENOMEM))
				blame(&ways[w], too_many[i]);
		}
	}
	heap_is_whole();
}

static void refused_realloc_leaves_the_block(void)
{
	static const size_t sizes[] = {1, 40, 3000, 60000, 300000, 1000000, 5000000};

	for (size_t k = 0; k < COUNT(sizes); k++) {
		size_t n = sizes[k];
		unsigned char *p = malloc(n);

		fill(p, n, 5);
		for (size_t i = 0; i < COUNT(too_many); i++) {
			errno = 0;
			CHECK(realloc(HIDE(p), too_many[i]) == NULL && errno == ENOMEM);
			errno = 0;
			CHECK(reallocarray(HIDE(p), 1, too_many[i]) == NULL && errno == ENOMEM);
		}
		CHECK(holds(HIDE(p), n, n, 5));
		free(HIDE(p));
	}
}

/* The product is more than there is, though what is left of it in a word may be little. */
static void products_that_overflow_are_refused(void)
{
	static const size_t pairs[][2] = {
		{(size_t)1 << 63, 2},
		{(size_t)1 << 32, (size_t)1 << 32},
		{((size_t)1 << 32) + 1, ((size_t)1 << 32) + 1},
		{SIZE_MAX / 16 + 1, 16},
		{SIZE_MAX / 16 + 2, 16},
		{SIZE_MAX / 48 + 1, 48},
		{SIZE_MAX / 3 + 1, 3},
		{SIZE_MAX, SIZE_MAX},
		{SIZE_MAX, 2},
		{SIZE_MAX / 2, 3},
		{SIZE_MAX / 2, 2},
		{(size_t)1 << 62, 2},
		{0x7ffffffe, 0x1000000020000000},
	};
	unsigned char *p = malloc(40);

	fill(p, 40, 1);
	for (size_t i = 0; i < 2 * COUNT(pairs); i++) {
		size_t a = pairs[i / 2][i % 2], b = pairs[i / 2][1 - i % 2];

		errno = 0;
		CHECK(calloc(a, b) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(reallocarray(NULL, a, b) == NULL && errno == ENOMEM);
		errno = 0;
		if (!CHECK(reallocarray(HIDE(p), a, b) == NULL && errno == ENOMEM))
			test_say("#   %zu times %zu\n", a, b);
	}
	CHECK(holds(HIDE(p), 40, 40, 1));
	free(HIDE(p));
}

/* 2^45 and more: some may be had, but not by wrapping around. */
static void huge_alignments(void)
{
	for (unsigned shift = 31; shift < 64; shift++) {
		size_t a = (size_t)1 << shift, n = shift & 1 ? 1 : a - 1;
		void *p[3];

		errno = 0;
		p[0] = aligned_alloc(a, n);
		CHECK(p[0] ? is_aligned(p[0], a) : errno == ENOMEM);
		errno = 0;
		p[1] = memalign(a, n);
		CHECK(p[1] ? is_aligned(p[1], a) : errno == ENOMEM);
		p[2] = posix(a, 1);
		CHECK(p[2] ? is_aligned(p[2], a) : errno == ENOMEM);
		for (size_t i = 0; i < COUNT(too_many); i++) {
			errno = 0;
			CHECK(aligned_alloc(a, too_many[i]) == NULL && errno == ENOMEM);
			CHECK(posix(a, too_many[i]) == NULL && errno == ENOMEM);
		}
		for (int i = 0; i < 3; i++)
			free(p[i]);
	}
	errno = 0;
	CHECK(memalign(HIDE(((size_t)1 << 63) + 1), 10) == NULL && errno == EINVAL);
	heap_is_whole();
}

static void bad_alignments(void)
{
	static const size_t bad[] = {0, 3, 6, 12, 24, 100, 4095, 4097, 65537, SIZE_MAX};

	for (size_t i = 0; i < COUNT(bad); i++) {
		CHECK(posix(bad[i], 10) == NULL && errno == EINVAL);
		CHECK(posix(bad[i], HIDE(SIZE_MAX)) == NULL && errno == EINVAL);
		errno = 0;
		CHECK(aligned_alloc(bad[i], 10) == NULL && errno == EINVAL);
	}
	for (size_t a = 1; a < sizeof(void *); a *= 2) { /* below a pointer's size */
		CHECK(posix(a, 10) == NULL && errno == EINVAL);
		errno = KEEP;
		free(aligned_alloc(a, 10));
		CHECK_EQ(errno, KEEP);
	}
}

/* glibc takes the next power of two. */
static void memalign_raises_an_alignment(void)
{
	static const size_t odd[][2] = {{0, 16},      {1, 16},	      {3, 16},	      {17, 32},
					{48, 64},     {100, 128},     {1000, 1024},   {4097, 8192},
					{5000, 8192}, {60000, 65536}, {65537, 131072}};

	for (size_t i = 0; i < COUNT(odd); i++) {
		void *p = memalign(odd[i][0], 100);

		CHECK(is_aligned(p, odd[i][1]));
		free(p);
	}
}

static void *aligned_block(unsigned how, size_t alignment, size_t n)
{
	switch (how % 3) {
	case 0:
		return aligned_alloc(alignment, n);
	case 1:
		return memalign(alignment, n);
	default:
		return posix(alignment < sizeof(void *) ? sizeof(void *) : alignment, n);
	}
}

/* From 1 byte to 1 GiB, sizes around it and others; several at a time. */
static void every_alignment(void)
{
	for (size_t a = 1; a <= (size_t)1 << 30; a <<= 1) {
		const size_t sizes[] = {
			0,    1,     a - 1, a,	    a + 1,  2 * a - 1, 17,	 1000,
			5000, 40000, 65536, 100000, 524288, 524289,    1U << 21, (1U << 21) + 1};
		unsigned char *p[COUNT(sizes)];

		for (unsigned i = 0; i < COUNT(sizes); i++) {
			size_t n = sizes[i] > (9U << 20) ? i : sizes[i];

			p[i] = aligned_block(i + (unsigned)(a % 7), a, n);
			if (CHECK(is_aligned(p[i], a) && is_aligned(p[i], 16)) &&
			    CHECK(malloc_usable_size(p[i]) >= n))
				fill(p[i], malloc_usable_size(p[i]), i);
		}
		for (unsigned i = 0; i < COUNT(sizes); i++) {
			size_t usable = malloc_usable_size(p[i]);

			CHECK(holds(p[i], usable, usable, i));
			free(p[i]);
		}
	}
	heap_is_whole();
}

static void free_keeps_errno(void)
{
	static const size_t sizes[] = {10, 3000, 60000, 500000, 1500000, 9000000};
	static void *p[200];

	for (size_t i = 0; i < COUNT(sizes); i++) {
		for (size_t f = 0; f < COUNT(frees); f++) {
			size_t many = sizes[i] > 100000 ? 5 : COUNT(p);

			for (size_t k = 0; k < many; k++)
				memset(p[k] = malloc(sizes[i]), 1, sizes[i]);
			for (size_t k = 0; k < many; k++) {
				errno = KEEP;
				frees[f](p[k], sizes[i], 16);
				CHECK_EQ(errno, KEEP);
			}
		}
	}
	malloc_trim(0);
	CHECK_EQ(errno, KEEP);
}

/* ---- realloc ---- */

static const size_t layers[] = {
	1,	16,	17,	100,	 1000,	  1025,	   9000,	  33000,   65536,   65537,
	200000, 524288, 524289, 1 << 20, 2097152, 2097153, (2 << 20) + 5, 5 << 20, 9 << 20,
};

static void resized(const struct way *w, size_t from, size_t to, uint32_t seed)
{
	size_t common = from < to ? from : to;
	unsigned char *p = w->get(from), *q;

	fill(p, from, seed);
	errno = KEEP;
	q = to & 1 ? realloc(p, to) : reallocarray(p, 1, to);
	CHECK_EQ(errno, KEEP);
	if (!CHECK(is_aligned(q, 16) && malloc_usable_size(q) >= to) ||
	    !CHECK(holds(q, from, common, seed)))
		blame(w, from);
	fill(q, malloc_usable_size(q), seed + 1);
	CHECK(holds(q, malloc_usable_size(q), malloc_usable_size(q), seed + 1));
	free(q);
}

/* From every size to every other, across all layers and back: the common part stays. */
static void realloc_keeps_contents(void)
{
	for (size_t i = 0; i < COUNT(layers); i++)
		for (size_t k = 0; k < COUNT(layers); k++)
			resized(&ways[0], layers[i], layers[k], (uint32_t)(i + k));
	heap_is_whole();
}

/* Blocks of any origin may be resized; the alignment need not stay, the contents must. */
static void realloc_of_every_origin(void)
{
	static const size_t sizes[] = {1, 300, 5000, 70000, 600000, 3000000};

	for (size_t w = 1; w < COUNT(ways); w++)
		for (size_t i = 0; i < COUNT(sizes); i++)
			for (size_t k = 0; k < COUNT(sizes); k++)
				resized(&ways[w], sizes[i], sizes[k], (uint32_t)(w + i + k));
	for (size_t a = 32; a <= (size_t)1 << 30; a *= 4) {
		unsigned char *p = aligned_alloc(a, 5000);

		fill(p, 5000, 9);
		p = realloc(p, 3000000);
		CHECK(is_aligned(p, 16) && holds(p, 5000, 5000, 9));
		p = realloc(p, 50);
		CHECK(is_aligned(p, 16) && holds(p, 5000, 50, 9));
		free(p);
	}
	heap_is_whole();
}

static void realloc_step_by_step(void)
{
	unsigned char *p = NULL;

	for (size_t n = 1; n < 6000000; n += n / 3 + 1) {
		size_t old = p ? malloc_usable_size(p) : 0;

		p = realloc(p, n);
		CHECK(test_verify(p, old < n ? old : n, 77));
		test_fill(p, malloc_usable_size(p), 77);
	}
	for (size_t n = malloc_usable_size(p); n > 0; n = n * 2 / 3) {
		p = reallocarray(p, n, 1);
		CHECK(test_verify(p, n, 77));
		CHECK(malloc_usable_size(p) < 2 * n + 4096 + 64); /* shrinking gives back */
	}
	free(p);
}

/* realloc to nothing frees, as glibc's does: as much is in use as before. */
static void realloc_to_nothing_frees(void)
{
	size_t before = mallinfo2().uordblks;

	for (size_t i = 0; i < COUNT(layers); i++) {
		for (size_t k = 0; k < 20; k++) {
			CHECK(realloc(malloc(layers[i]), 0) == NULL);
			CHECK(reallocarray(malloc(layers[i]), 0, k) == NULL);
			CHECK(reallocarray(malloc(layers[i]), k, 0) == NULL);
		}
	}
	CHECK_EQ(mallinfo2().uordblks, before);
}

int main(void)
{
	RUN(zero_bytes_are_a_block_each);
	RUN(null_is_freed);
	RUN(every_size_is_aligned_and_all_its_own);
	RUN(pvalloc_is_whole_pages);
	RUN(calloc_is_zero);
	RUN(calloc_after_reuse);
	RUN(too_many_bytes_are_refused);
	RUN(refused_realloc_leaves_the_block);
	RUN(products_that_overflow_are_refused);
	RUN(huge_alignments);
	RUN(bad_alignments);
	RUN(memalign_raises_an_alignment);
	RUN(every_alignment);
	RUN(free_keeps_errno);
	RUN(realloc_keeps_contents);
	RUN(realloc_of_every_origin);
	RUN(realloc_step_by_step);
	RUN(realloc_to_nothing_frees);
	return test_done();
}
