/* The malloc family under its standard names does what glibc's does. */
#include "hakmem.h"
#include "test.h"

#include <malloc.h>
#include <sys/resource.h>

/* C23; glibc 2.36 does not declare them */
void free_sized(void *p, size_t bytes);
void free_aligned_sized(void *p, size_t alignment, size_t bytes);

static bool aligned(const void *p, size_t to)
{
	return ((uintptr_t)p & (to - 1)) == 0;
}

static void zero_bytes(void)
{
	void *a = malloc(0), *b = malloc(0), *c = calloc(0, 10), *d = calloc(10, 0);

	CHECK(a && b && c && d); /* unique pointers, as glibc */
	CHECK(a != b && c != d && a != c);
	free(a);
	free(b);
	free(c);
	free(d);
	free(NULL);
	a = realloc(NULL, 0);
	CHECK(a != NULL);
	CHECK(realloc(HIDE(a), 0) == NULL); /* glibc: frees */
	CHECK_EQ(malloc_usable_size(NULL), 0);
}

static void every_size_is_aligned(void)
{
	for (size_t n = 0; n <= 70000; n += n < 2048 ? 1 : 61) {
		char *p = malloc(n);

		CHECK(p && aligned(p, 16));
		CHECK(malloc_usable_size(p) >= n);
		memset(p, 0x5a, malloc_usable_size(p)); /* all of it is ours */
		free(p);
	}
	CHECK_EQ(hak_check(), 0);
}

static bool all_zero(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

/* calloc of memory that was dirty a moment ago, in every layer. */
static void calloc_is_zero(void)
{
	static const size_t sizes[] = {1, 100, 4096, 60000, 65536, 65537, 300000, 2 << 20, 9 << 20};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (int round = 0; round < 4; round++) {
			char *p = malloc(sizes[i]);

			memset(p, 0xff, sizes[i]);
			free(p);
			p = calloc(sizes[i], 1);
			CHECK(p && all_zero(p, sizes[i]));
			memset(p, 0xff, sizes[i]);
			free(p);
			p = calloc(1, sizes[i]);
			CHECK(p && all_zero(p, sizes[i]));
			free(p);
		}
	}
}

static long faults(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return use.ru_minflt;
}

/* Memory fresh from the system is zero: calloc leaves it alone, in every layer. */
static void calloc_leaves_fresh_memory_alone(void)
{
	static const size_t sizes[] = {5000, 40000, 200000, 5000000};
	enum { N = 1000 };
	static char *p[N];

	hak_trim();
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t n = sizes[i] > 1000000 ? 20 : N;
		long before = faults();

		for (size_t k = 0; k < n; k++)
			p[k] = calloc(1, sizes[i]);
		CHECK(faults() - before < (long)(n * sizes[i] / 4096 / 4));
		for (size_t k = 0; k < n; k++)
			free(p[k]);
		hak_trim();
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

static void overflow_is_refused(void)
{
	size_t half = HIDE((size_t)1 << 63), big = HIDE(SIZE_MAX / 2);
	char *p = malloc(40);

	test_fill(p, 40, 1);
	errno = 0;
	CHECK(calloc(half, 2) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(calloc(big, 3) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(reallocarray(HIDE(p), half, 2) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(realloc(HIDE(p), HIDE(SIZE_MAX)) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(memalign(4096, HIDE(SIZE_MAX - 100)) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(valloc(HIDE(SIZE_MAX - 100)) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(pvalloc(HIDE(SIZE_MAX - 100)) == NULL && errno == ENOMEM);
	CHECK(test_verify(HIDE(p), 40, 1));
	free(HIDE(p));
}

/* From every size to every other, across all layers and back: the common part stays. */
static void realloc_keeps_contents(void)
{
	static const size_t sizes[] = {
		1,     16,    17,     100,     1000,	      1025,	     9000,    33000,
		65536, 65537, 200000, 1 << 20, (2 << 20) - 5, (2 << 20) + 5, 5 << 20, 40 << 20,
	};
	const size_t n = sizeof(sizes) / sizeof(sizes[0]);

	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < n; j++) {
			size_t both = sizes[i] < sizes[j] ? sizes[i] : sizes[j];
			char *p = malloc(sizes[i]);

			test_fill(p, sizes[i], (uint32_t)(i + j));
			p = realloc(p, sizes[j]);
			CHECK(p && malloc_usable_size(p) >= sizes[j] && aligned(p, 16));
			CHECK(test_verify(p, both, (uint32_t)(i + j)));
			p[sizes[j] - 1] = 1;
			free(p);
		}
	}
	CHECK_EQ(hak_check(), 0);
}

static void realloc_step_by_step(void)
{
	char *p = NULL;

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

static void alignments(void)
{
	static const size_t sizes[] = {0, 1, 17, 1000, 5000, 40000, 65536, 100000, 3 << 20};

	for (size_t a = 1; a <= (size_t)1 << 30; a <<= 1) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			size_t n = sizes[i];
			void *p[4] = {aligned_alloc(a, n), memalign(a, n), NULL,
				      hak_aligned_alloc(a, n)};

			CHECK_EQ(posix_memalign(&p[2], a < 8 ? 8 : a, n), 0);
			for (int k = 0; k < 4; k++) {
				if (!CHECK(p[k] && aligned(p[k], a) && aligned(p[k], 16)))
					continue;
				CHECK(malloc_usable_size(p[k]) >= n);
				memset(p[k], 1, n);
				free(p[k]);
			}
		}
	}
	CHECK_EQ(hak_check(), 0);
}

/* Several at once, so that no neighbour overlaps; then realloc away from the alignment. */
static void aligned_blocks_are_apart(void)
{
	for (size_t a = 32; a <= 1 << 20; a <<= 1) {
		void *p[16];

		for (int i = 0; i < 16; i++) {
			p[i] = aligned_alloc(a, 300);
			test_fill(p[i], 300, (uint32_t)i);
		}
		for (int i = 0; i < 16; i++) {
			CHECK(test_verify(p[i], 300, (uint32_t)i));
			p[i] = realloc(p[i], 5000);
			CHECK(test_verify(p[i], 300, (uint32_t)i));
		}
		for (int i = 0; i < 16; i++)
			free(p[i]);
	}
}

static void bad_alignments(void)
{
	static const size_t bad[] = {0, 3, 12, 24, 100, 4097};
	void *out = &out;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		size_t a = HIDE(bad[i]);

		errno = 5;
		CHECK_EQ(posix_memalign(&out, a, 10), EINVAL);
		CHECK_EQ(errno, 5);
		errno = 0;
		CHECK(aligned_alloc(a, 10) == NULL && errno == EINVAL);
	}
	errno = 5;
	CHECK_EQ(posix_memalign(&out, HIDE((size_t)4), 10), EINVAL); /* below a pointer */
	CHECK_EQ(posix_memalign(&out, 64, HIDE(SIZE_MAX)), ENOMEM);
	CHECK_EQ(errno, 5);
	CHECK(out == &out);
	out = memalign(HIDE((size_t)48), 10); /* glibc raises it to the next power of two */
	CHECK(out && aligned(out, 64));
	free(out);
	errno = 0;
	CHECK(memalign(HIDE(SIZE_MAX / 2 + 2), 10) == NULL && errno == EINVAL);
}

static void pages(void)
{
	void *v = valloc(100), *p = pvalloc(100), *q = pvalloc(4097), *z = pvalloc(0);

	CHECK(v && p && q && z && aligned(v, 4096) && aligned(p, 4096) && aligned(q, 4096));
	CHECK(malloc_usable_size(p) >= 4096);
	CHECK(malloc_usable_size(q) >= 8192);
	free(v);
	free(p);
	free(q);
	free(z);
}

static void free_keeps_errno(void)
{
	static const size_t sizes[] = {10, 3000, 60000, 500000, 70 << 20};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		void *p[200];
		int n = sizes[i] > 1 << 20 ? 3 : 200;

		for (int k = 0; k < n; k++) {
			errno = 0;
			p[k] = malloc(sizes[i]);
			CHECK_EQ(errno, 0); /* nor does success touch it */
			memset(p[k], 1, sizes[i]);
		}
		for (int k = 0; k < n; k++) {
			errno = 1234;
			free(p[k]);
			CHECK_EQ(errno, 1234);
		}
	}
	errno = 1234;
	free(NULL);
	malloc_trim(0);
	CHECK_EQ(errno, 1234);
}

static void sized_frees(void)
{
	free_sized(NULL, 0);
	free_aligned_sized(NULL, 64, 0);
	free_sized(malloc(100), 100);
	free_sized(calloc(10, 10), 100);
	free_sized(malloc(300000), 300000);
	free_aligned_sized(aligned_alloc(256, 1000), 256, 1000);
	CHECK_EQ(hak_check(), 0);
}

static void names_mix(void)
{
	char *p = hak_malloc(100);

	test_fill(p, 100, 4);
	p = realloc(p, 1000);
	CHECK(test_verify(p, 100, 4));
	CHECK_EQ(hak_usable_size(p), malloc_usable_size(p));
	p = hak_realloc(p, 70000);
	CHECK(test_verify(p, 100, 4));
	free(p);
	hak_free(strdup("a block of libc's making"));
	hak_free_at(malloc(10), "here");
	free(hak_alloc_at(10, "there"));
	free(hak_calloc(3, 5));
	CHECK(strcmp(hak_version(), HAKMEM_VERSION) == 0);
	CHECK_EQ(hak_check(), 0);
}

static void honest_mallinfo(void)
{
	struct mallinfo2 a = mallinfo2(), b;
	void *small = malloc(1000), *big = malloc(50 << 20);

	b = mallinfo2();
	CHECK_EQ(b.uordblks - a.uordblks, malloc_usable_size(small) + malloc_usable_size(big));
	CHECK(b.hblkhd - a.hblkhd >= 50 << 20 && b.hblkhd - a.hblkhd < 51 << 20);
	CHECK_EQ(b.hblks - a.hblks, 1);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	CHECK_EQ((size_t)mallinfo().uordblks, b.uordblks);
	CHECK_EQ((size_t)mallinfo().arena, b.arena);
#pragma GCC diagnostic pop
	free(small);
	free(big);
	CHECK_EQ(mallinfo2().uordblks, a.uordblks);
}

static void trim_returns(void)
{
	void *p[300];
	size_t rss;

	for (int i = 0; i < 300; i++)
		memset(p[i] = malloc(50000), 1, 50000);
	rss = test_rss();
	for (int i = 0; i < 300; i++)
		free(p[i]);
	CHECK_EQ(malloc_trim(0), 1);
	CHECK(test_rss() + (10U << 20) < rss);
	CHECK_EQ(malloc_trim(0), 0); /* nothing left to return */
}

static void reports(void)
{
	char text[16384];
	FILE *f = tmpfile();
	size_t n;

	CHECK_EQ(malloc_info(0, f), 0);
	rewind(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	fclose(f);
	CHECK(strncmp(text, "<malloc version=\"", 17) == 0);
	CHECK(strstr(text, "</malloc>\n") == text + n - 10);
	errno = 0;
	CHECK(malloc_info(1, stdout) == -1 && errno == EINVAL);
	CHECK_EQ(mallopt(M_TRIM_THRESHOLD, 1), 1);
	CHECK_EQ(mallopt(M_MMAP_MAX, 0), 1);
	CHECK_EQ(mallopt(M_PERTURB, 1), 0);
	CHECK_EQ(mallopt(-12345, 1), 0);
}

/* malloc_stats writes on stderr, and on nothing else. */
static void stats_on_stderr(void)
{
	char text[4096];
	int pipes[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	CHECK_EQ(pipe(pipes), 0);
	dup2(pipes[1], STDERR_FILENO);
	malloc_stats();
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(pipes[1]);
	n = read(pipes[0], text, sizeof(text) - 1);
	close(pipes[0]);
	CHECK(n > 0);
	text[n > 0 ? n : 0] = 0;
	CHECK(strstr(text, "hakmem: ") == text && strstr(text, "live bytes"));
}

int main(void)
{
	RUN(zero_bytes);
	RUN(every_size_is_aligned);
	RUN(calloc_is_zero);
	RUN(calloc_leaves_fresh_memory_alone);
	RUN(calloc_after_reuse);
	RUN(overflow_is_refused);
	RUN(realloc_keeps_contents);
	RUN(realloc_step_by_step);
	RUN(alignments);
	RUN(aligned_blocks_are_apart);
	RUN(bad_alignments);
	RUN(pages);
	RUN(free_keeps_errno);
	RUN(sized_frees);
	RUN(names_mix);
	RUN(honest_mallinfo);
	RUN(trim_returns);
	RUN(reports);
	RUN(stats_on_stderr);
	return test_done();
}
