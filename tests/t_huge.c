/*
 * Huge pages: a heap that grows and is written to gets them, one that is not written to does not,
 * and what was given back is no huge page any more. As many memory as is used, about, in any case.
 */
#include "advice.h"
#include "apart.h"
#include "hakmem.h"
#include "internal.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define MIB ((size_t)1 << 20)
#define ALL (96 * MIB)
#define HALF (2 * MIB)

/* The number after the word at the beginning of a line of the file, 0 if there is none. */
static size_t number_after(const char *word, const char *path)
{
	FILE *f = fopen(path, "r");
	char line[200];
	size_t n = 0;

	if (!CHECK(f))
		return 0;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, word, strlen(word)))
			n = strtoul(line + strlen(word), NULL, 10);
	fclose(f);
	return n;
}

/* Bytes of this process in huge pages. */
static size_t huge(void)
{
	return number_after("AnonHugePages:", "/proc/self/smaps_rollup") << 10;
}

static bool system_has_huge_pages(void)
{
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
	char line[200] = "[never]";

	if (f) {
		(void)!fgets(line, sizeof(line), f);
		fclose(f);
	}
	return !strstr(line, "[never]");
}

static char **block;
static size_t blocks;

/* So many bytes in blocks of this size, of each of which the first bytes are written to. */
static void allocate(size_t all, size_t size, size_t written)
{
	if (!block)
		block = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	for (size_t n = 0; n < all; n += size) {
		char *p = HIDE(malloc(size));

		if (!CHECK(p))
			return;
		memset(p, 1, written);
		block[blocks++] = p;
	}
}

static void release_all(void)
{
	while (blocks)
		free(block[--blocks]);
}

static void what_grows_and_is_written_to(void)
{
	size_t rss = test_rss(), calls = hakmem_root.os.fills;

	allocate(ALL, 1000, 1000);
	calls = hakmem_root.os.fills - calls;
	test_say("# %zu MiB of %zu in huge pages, memory by %zu calls\n", huge() / MIB, ALL / MIB,
		 calls);
	CHECK(calls < 700);
	CHECK(test_rss() - rss < ALL + ALL / 8);
	if (system_has_huge_pages())
		CHECK(huge() > ALL / 2);
	CHECK_EQ(hak_check(), 0);
}

static void larger_blocks_that_are_written_to(void)
{
	allocate(ALL, 20000, 20000);
	if (system_has_huge_pages())
		CHECK(huge() > ALL / 2);
	CHECK_EQ(hak_check(), 0);
}

static void not_blocks_that_are_begun_only(void)
{
	size_t rss = test_rss(), always = huge();

	allocate(ALL, 32000, 8);
	test_say("# %zu MiB of %zu in memory\n", (test_rss() - rss) / MIB, ALL / MIB);
	CHECK(test_rss() - rss < ALL / 4);
	CHECK_EQ(huge(), always);
}

/* What the halves hold is looked at again: that they were filled says nothing of the program. */
static void not_any_more_when_blocks_are_begun_only(void)
{
	size_t rss;

	allocate(ALL, 1000, 1000);
	rss = test_rss();
	allocate(2 * ALL, 9000, 1);
	test_say("# %zu MiB of %zu in memory\n", (test_rss() - rss) / MIB, 2 * ALL / MIB);
	CHECK(test_rss() - rss < ALL + ALL / 4);
	rss = test_rss();
	for (size_t all = 0; all < 2 * ALL; all += 9000)
		CHECK(HIDE(calloc(1, 9000)));
	test_say("# %zu MiB of %zu of zeroes\n", (test_rss() - rss) / MIB, 2 * ALL / MIB);
	CHECK(test_rss() - rss < ALL / 4);
}

static void not_where_the_option_says_so(void)
{
	hak_options.huge = 0;
	allocate(ALL, 1000, 1000);
	CHECK_EQ(huge(), 0);
}

/* Huge pages that the whole system divided so far. */
static size_t splits(void)
{
	return number_after("thp_split_page ", "/proc/vmstat");
}

static void what_was_given_back_is_none(void)
{
	size_t rss = test_rss(), n = 0, split, had;

	allocate(ALL, 1000, 1000);
	had = huge();
	split = splits();
	/* one of 4000 stays: of each half, about */
	for (size_t i = 0; i < blocks; i++)
		if (i % 4000 == 0)
			block[n++] = block[i];
		else
			free(block[i]);
	blocks = n;
	hak_trim();
	test_say("# %zu KiB in memory for %zu blocks\n", (test_rss() - rss) >> 10, blocks);
	CHECK(test_rss() - rss < ALL / 8);
	CHECK_EQ(huge(), 0);
	/* else the system would keep what it does not count */
	CHECK(splits() - split >= had / HALF / 2);
	/* a few blocks in memory that was huge pages */
	allocate(MIB, 1000, 1000);
	CHECK(test_rss() - rss < ALL / 8);
	CHECK_EQ(hak_check(), 0);
	release_all();
	hak_trim();
	CHECK(test_rss() - rss < 4 * MIB);
	CHECK_EQ(hak_check(), 0);
}

static void again_after_all_was_given_back(void)
{
	for (int i = 0; i < 3; i++) {
		allocate(ALL, 1000, 1000);
		if (system_has_huge_pages())
			CHECK(huge() > ALL / 2);
		release_all();
		hak_trim();
		CHECK_EQ(huge(), 0);
	}
	CHECK_EQ(hak_check(), 0);
}

/* What is left of a half while nobody wants it goes back like other unused memory. */
static void the_rest_goes_back_by_decay(void)
{
	struct hak_snapshot s;

	hak_options.decay_ms = 50;
	allocate(40 * MIB, 1000, 1000);
	for (int i = 0; i < 100; i++) {
		usleep(10000);
		free(HIDE(malloc(600000)));
		allocate(2000, 40, 40);
	}
	hak_snapshot(&s);
	test_say("# %zu KiB unused\n", (size_t)s.dirty_bytes >> 10);
	CHECK(s.dirty_bytes < MIB);
	CHECK_EQ(hak_check(), 0);
}

static void zeroes_are_zero(void)
{
	static const size_t sizes[] = {1500, 5000, 30000, 100000, 700000};

	allocate(40 * MIB, 1000, 1000);
	for (size_t all = 0, k = 0; all < 40 * MIB; k++) {
		size_t bytes = sizes[k % 5], i = 0;
		char *p = HIDE(calloc(1, bytes));

		while (i < bytes && !p[i])
			i++;
		CHECK_EQ(i, bytes);
		memset(p, 7, bytes);
		if (k % 3)
			free(p);
		else
			all += bytes;
	}
}

static void where_it_is_refused(void)
{
	refuse_advice(MADV_FILL, MADV_HUGEPAGE);
	allocate(ALL, 1000, 1000);
	CHECK_EQ(huge(), 0);
	CHECK_EQ(hak_check(), 0);
}

/* Then nothing is said of huge pages: where the system makes some by itself it goes on to. */
static void where_nothing_can_be_filled(void)
{
	size_t plain = 0;
	char line[400];
	FILE *f;

	refuse_advice(MADV_FILL, MADV_FILL);
	allocate(ALL, 1000, 1000);
	f = fopen("/proc/self/smaps", "r");
	while (f && fgets(line, sizeof(line), f))
		plain += !strncmp(line, "VmFlags:", 8) &&
			 (strstr(line, " nh") || strstr(line, " hg"));
	if (CHECK(f))
		fclose(f);
	CHECK_EQ(plain, 0);
}

static uint32_t stop;

static void *grow(void *arg)
{
	char *last = NULL;

	for (size_t n = 0; n < 64 * MIB && !__atomic_load_n(&stop, __ATOMIC_RELAXED); n += 1000) {
		char **p = HIDE(malloc(1000));

		memset(p, 1, 1000);
		*p = last;
		last = (char *)p;
	}
	while (last) {
		char *p = last;

		last = *(char **)p;
		free(p);
	}
	return arg;
}

/* Halves are being filled while the process forks: the child has all slices, and goes on. */
static void over_a_fork(void)
{
	pthread_t t[3];

	for (int i = 0; i < 3; i++)
		CHECK(!pthread_create(&t[i], NULL, grow, NULL));
	for (int i = 0; i < 30; i++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0) {
			allocate(2 * MIB, 1000, 1000);
			release_all();
			_exit(hak_check() != 0);
		}
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK_EQ(status, 0);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	CHECK_EQ(hak_check(), 0);
}

/* A block of up to 64 MiB that becomes longer and longer. */
static void grow_one(bool write)
{
	size_t bytes = 4 * MIB, old = 0;
	char *p = NULL;

	for (; bytes < 64 * MIB; bytes += bytes / 4) {
		p = HIDE(realloc(p, bytes));
		if (!CHECK(p))
			return;
		memset(p + old, 1, write ? bytes - old : 1);
		old = bytes;
	}
	for (size_t i = 0; write && i < old; i += 1000)
		CHECK_EQ(p[i], 1);
	if (!write)
		CHECK_EQ(huge(), 0);
	else if (system_has_huge_pages())
		CHECK(huge() > 32 * MIB);
	free(p);
}

static void one_that_grows_and_is_written_to(void)
{
	grow_one(true);
}

static void one_that_grows_and_is_not(void)
{
	grow_one(false);
}

/* A block of so many MiB; of each 64 KiB so many bytes are written to. */
static char *span_of(size_t mib, size_t written)
{
	char *p = HIDE(malloc(mib * MIB));

	for (size_t at = 0; CHECK(p) && at < mib * MIB; at += 65536)
		memset(p + at, 1, written);
	return p;
}

static void span_is_huge(size_t mib, bool expected)
{
	size_t had = huge(), rss = test_rss();

	span_of(mib, expected ? 65536 : 8);
	if (!expected)
		CHECK(test_rss() - rss < mib * MIB / 8);
	if (!expected)
		CHECK(huge() <= had);
	else if (system_has_huge_pages())
		CHECK(huge() - had > mib * MIB / 8 * 7);
}

static void not_the_first_span_of_a_small_heap(void)
{
	span_is_huge(8, false);
}

static void a_span_as_the_heap_is(void)
{
	allocate(ALL, 1000, 1000);
	span_is_huge(20, true);
	span_is_huge(100, false); /* much longer than any before */
	span_is_huge(20, true);	  /* as the one of its length */
	CHECK_EQ(hak_check(), 0);
}

static void a_span_as_the_one_before(void)
{
	free(span_of(16, 65536));
	span_is_huge(40, true);
	free(span_of(50, 8));
	span_is_huge(60, false);
	CHECK_EQ(hak_check(), 0);
}

static void not_a_span_of_zeroes(void)
{
	char *p;
	size_t rss;

	free(span_of(16, 65536));
	rss = test_rss();
	p = HIDE(calloc(40, MIB));
	for (size_t at = 0; CHECK(p) && at < 40 * MIB; at += 65536)
		p[at] = 1;
	CHECK(test_rss() - rss < 5 * MIB);
}

static void what_a_span_lost_is_split(void)
{
	char *p;
	size_t split;

	free(span_of(16, 65536));
	p = span_of(40, 65536);
	split = splits();
	p = HIDE(realloc(p, 17 * MIB + 65536));
	if (CHECK(p) && system_has_huge_pages())
		CHECK(splits() > split);
	CHECK_EQ(p[17 * MIB], 1);
}

/* Two cut out of one that was freed, and what is left of it, which goes back whole. */
static void what_a_piece_lost_is_split(void)
{
	char *p, *q;
	size_t split;

	hak_options.keep_bytes = 1024 * MIB;
	free(span_of(16, 65536));
	free(span_of(40, 65536));
	q = HIDE(malloc(17 * MIB));
	p = HIDE(malloc(22 * MIB + 65536));
	split = splits();
	hak_trim();
	if (system_has_huge_pages())
		CHECK(splits() > split);
	split = splits();
	p = HIDE(realloc(p, 10 * MIB + 65536));
	if (system_has_huge_pages())
		CHECK(splits() > split);
	CHECK_EQ(p[9 * MIB] + q[MIB], 2);
}

static void what_realloc_makes_much_longer_is_not(void)
{
	size_t rss;
	char *p;

	free(span_of(16, 65536));
	p = HIDE(realloc(span_of(20, 65536), 1024 * MIB));
	rss = test_rss();
	for (size_t at = 20 * MIB; CHECK(p) && at < 1024 * MIB; at += HALF)
		p[at] = 1;
	CHECK(test_rss() - rss < 64 * MIB);
	CHECK_EQ(p[19 * MIB], 1);
}

/* Dense ones beside sparse ones: each kind is as the last of its length. */
static void each_length_for_itself(void)
{
	size_t rss = test_rss(), written = 0;

	for (int i = 0; i < 10; i++) {
		span_of(20, 65536);
		span_of(60, 1);
		written += 20 * MIB + 60 * MIB / 16;
	}
	CHECK(test_rss() - rss < written + 70 * MIB);
	if (system_has_huge_pages())
		CHECK(huge() > 100 * MIB);
}

int main(void)
{
	RUN_APART(what_grows_and_is_written_to);
	RUN_APART(larger_blocks_that_are_written_to);
	RUN_APART(not_blocks_that_are_begun_only);
	RUN_APART(not_any_more_when_blocks_are_begun_only);
	RUN_APART(not_where_the_option_says_so);
	RUN_APART(what_was_given_back_is_none);
	RUN_APART(again_after_all_was_given_back);
	RUN_APART(the_rest_goes_back_by_decay);
	RUN_APART(zeroes_are_zero);
	RUN_APART(where_it_is_refused);
	RUN_APART(where_nothing_can_be_filled);
	RUN_APART(over_a_fork);
	RUN_APART(one_that_grows_and_is_written_to);
	RUN_APART(one_that_grows_and_is_not);
	RUN_APART(not_the_first_span_of_a_small_heap);
	RUN_APART(a_span_as_the_heap_is);
	RUN_APART(a_span_as_the_one_before);
	RUN_APART(not_a_span_of_zeroes);
	RUN_APART(what_a_span_lost_is_split);
	RUN_APART(what_a_piece_lost_is_split);
	RUN_APART(what_realloc_makes_much_longer_is_not);
	RUN_APART(each_length_for_itself);
	return test_done();
}
