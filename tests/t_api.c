/*
 * The library's names of its own, and what goes beyond the standard: hak_ functions do what the
 * standard's do, fresh memory is not touched. The malloc family itself: t_conform.sh.
 */
#include "hakmem.h"
#include "test.h"

#include <malloc.h>
#include <sys/resource.h>

static void own_names_refuse_as_the_standard_ones(void)
{
	static const size_t bad[] = {0, 3, 24, 100, 4097};
	char *p = hak_malloc(0), *q = hak_calloc(0, 5);

	CHECK(p && q && p != q);
	CHECK(hak_realloc(HIDE(p), 0) == NULL);
	hak_free(q);
	hak_free(NULL);
	hak_free_at(NULL, "nowhere");
	CHECK_EQ(hak_usable_size(NULL), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		errno = 0;
		CHECK(hak_aligned_alloc(HIDE(bad[i]), 10) == NULL && errno == EINVAL);
	}
	errno = 0;
	CHECK(hak_calloc(HIDE((size_t)1 << 63), 2) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(hak_malloc(HIDE((size_t)PTRDIFF_MAX + 1)) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(hak_alloc_at(HIDE(SIZE_MAX), "here") == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(hak_aligned_alloc(64, HIDE(SIZE_MAX)) == NULL && errno == ENOMEM);
}

static void own_alignments(void)
{
	for (size_t a = 1; a <= (size_t)1 << 30; a <<= 1) {
		for (size_t n = 0; n < 4000000; n = n * 7 + 1) {
			void *p = hak_aligned_alloc(a, n);

			CHECK(p && ((uintptr_t)p & (a - 1)) == 0 && hak_usable_size(p) >= n);
			hak_free(p);
		}
	}
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

/* malloc_info and malloc_stats are the library's, and say so. */
static void reports_name_the_library(void)
{
	static char text[16384];
	FILE *f = fmemopen(text, sizeof(text), "w");
	int pipes[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	CHECK_EQ(malloc_info(0, f), 0);
	fclose(f);
	CHECK(strstr(text, "<malloc version=\"hakmem-" HAKMEM_VERSION "\">\n") == text);
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
	RUN(own_names_refuse_as_the_standard_ones);
	RUN(own_alignments);
	RUN(names_mix);
	RUN(calloc_leaves_fresh_memory_alone);
	RUN(reports_name_the_library);
	return test_done();
}
