/*
 * What goes back when unused memory exceeds its limit: whole halves of segments (2 MiB) first and
 * by one call each; parts of halves in use where less than half of the peak is in use, or as far as
 * all together is more than the peak. Nothing here is old enough for decay.
 */
#include "apart.h"
#include "hakmem.h"
#include "internal.h"

#define MIB ((size_t)1 << 20)
#define BLOCK (4 * HAK_SLICE) /* 256 KiB: a run of four slices, eight a half */
#define BLOCKS 800U	      /* 200 MiB: the limit is 16 and a quarter of what is in use */

static char *block[BLOCKS];

static void take_all(void)
{
	hak_options.decay_ms = 1000000;
	for (unsigned i = 0; i < BLOCKS; i++) {
		block[i] = HIDE(malloc(BLOCK));
		if (!CHECK(block[i]))
			return;
		memset(block[i], 1, BLOCK);
	}
}

/* Of every so many blocks those whose bit is set. */
static void release(unsigned of, uint64_t which)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		if (!(which >> i % of & 1) || !block[i])
			continue;
		free(block[i]);
		block[i] = NULL;
	}
}

static uint64_t calls(void)
{
	return hakmem_root.os.purges;
}

static uint64_t given(void)
{
	return hakmem_root.os.purge_bytes;
}

static void whole_halves_by_one_call_each(void)
{
	take_all();
	release(64, ~(uint64_t)0 << 32); /* 8 MiB of every 16 */
	test_say("# %zu MiB by %zu calls\n", (size_t)given() / MIB, (size_t)calls());
	/* 100 MiB are unused, 41 may be; purged down to three quarters of that */
	CHECK(given() >= 55 * MIB && given() <= 75 * MIB);
	CHECK(given() >= calls() * HAK_HALF);
	CHECK_EQ(hak_check(), 0);
}

static void no_parts_of_halves_in_use(void)
{
	take_all();
	release(5, 0xa);	    /* 80 MiB are unused, 120 in use */
	CHECK(given() <= 12 * MIB); /* runs are taken to be touched but for half a slice */
	CHECK_EQ(hak_check(), 0);
}

static void parts_where_less_than_half_of_the_peak_is_in_use(void)
{
	take_all();
	release(4, 0xe); /* 150 MiB are unused, 28 may be */
	test_say("# %zu MiB by %zu calls\n", (size_t)given() / MIB, (size_t)calls());
	CHECK(given() >= 120 * MIB && given() <= 135 * MIB);
	CHECK_EQ(hak_check(), 0);
}

/* Longer blocks, which do not fit where the others were. */
static void parts_for_fresh_memory(void)
{
	size_t peak;

	take_all();
	peak = test_rss();
	release(5, 0xa);
	for (unsigned i = 0; i < 40; i++)
		memset(HIDE(malloc(2 * BLOCK)), 1, 2 * BLOCK);
	test_say("# %zu MiB, %zu before, %zu given\n", test_rss() / MIB, peak / MIB,
		 (size_t)given() / MIB);
	CHECK(test_rss() <= peak + 10 * MIB); /* 20 without */
	CHECK(given() >= 10 * MIB && given() <= 30 * MIB);
	CHECK_EQ(hak_check(), 0);
}

/* The same for a block that realloc makes longer. */
static void parts_for_a_block_that_grows(void)
{
	char *p = HIDE(malloc(MIB));
	size_t more = 100 * MIB;

	take_all();
	release(5, 0xa);
	p = HIDE(realloc(p, more));
	memset(p, 1, more);
	free(HIDE(malloc(BLOCK)));
	test_say("# %zu MiB given\n", (size_t)given() / MIB);
	/* 220 MiB are in use, 71 may be unused, and when parts go, three quarters of that */
	CHECK(given() >= 20 * MIB);
	CHECK_EQ(hak_check(), 0);
}

/* Parts that were allowed beside a block that becomes short. */
static void parts_beside_a_block_that_shrinks(void)
{
	char *p = HIDE(malloc(400 * MIB));

	take_all();
	release(8, 0xfe); /* 175 MiB are unused, 25 and the 400 in use */
	CHECK(given() <= 80 * MIB);
	p = HIDE(realloc(p, 3 * MIB));
	free(HIDE(malloc(100 * MIB))); /* whoever comes next */
	test_say("# %zu MiB given\n", (size_t)given() / MIB);
	CHECK(p && given() >= 145 * MIB);
	CHECK_EQ(hak_check(), 0);
}

static void all_that_was_freed(void)
{
	size_t rss = test_rss();

	take_all();
	release(7, 0x55);
	release(1, 1);
	test_say("# %zu MiB stay\n", (test_rss() - rss) / MIB);
	CHECK(test_rss() <= rss + 24 * MIB); /* 16, and what the caches hold */
	CHECK_EQ(hak_check(), 0);
}

int main(void)
{
	RUN_APART(whole_halves_by_one_call_each);
	RUN_APART(no_parts_of_halves_in_use);
	RUN_APART(parts_where_less_than_half_of_the_peak_is_in_use);
	RUN_APART(parts_for_fresh_memory);
	RUN_APART(parts_for_a_block_that_grows);
	RUN_APART(parts_beside_a_block_that_shrinks);
	RUN_APART(all_that_was_freed);
	return test_done();
}
