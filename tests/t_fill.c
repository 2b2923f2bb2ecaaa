/*
 * A refill asks the system for the memory of its blocks by one call: those of small blocks, not of
 * large ones nor of zeroes, which a program may leave as they are, and not where the system cannot.
 */
#include "advice.h"
#include "apart.h"
#include "shared.h"

#include <sys/mman.h>

extern struct hak_root hakmem_root;

#define PAGE ((size_t)4096)
#define MIB ((size_t)1 << 20)

/* OS pages of a block that lie in it whole, and how many of them are in memory. */
static void look(const char *p, size_t bytes, size_t *pages, size_t *resident)
{
	uintptr_t from = ((uintptr_t)p + PAGE - 1) & ~(PAGE - 1);
	unsigned char there[64];

	for (; from + PAGE <= (uintptr_t)p + bytes; from += PAGE) {
		++*pages;
		if (CHECK(!mincore((void *)from, PAGE, there)))
			*resident += there[0] & 1;
	}
}

static size_t one_size;

static void small_blocks_come_with_memory(void)
{
	uint64_t bytes = hakmem_root.os.fill_bytes, calls = hakmem_root.os.fills;

	for (size_t all = 0; all < 4 * MIB; all += one_size)
		memset(HIDE(malloc(one_size)), 1, one_size);
	bytes = hakmem_root.os.fill_bytes - bytes;
	calls = hakmem_root.os.fills - calls;
	test_say("# blocks of %zu bytes: %zu KiB by %zu calls\n", one_size, (size_t)bytes >> 10,
		 (size_t)calls);
	CHECK(bytes > 3 * MIB && bytes < 5 * MIB);
	CHECK(calls < bytes / PAGE / 2);
}

static void what_is_filled_before_its_time_is_little(void)
{
	size_t before = test_rss(), all = 0;

	for (size_t size = 16; size <= 4096; size += size / 4 / 16 * 16 + 16)
		for (size_t n = 0; n < 256 << 10; n += size, all += size)
			memset(HIDE(malloc(size)), 1, size);
	CHECK(test_rss() - before < all + all / 4);
}

static void larger_blocks_are_left_to_the_program(void)
{
	size_t pages = 0, resident = 0;

	for (int i = 0; i < 500; i++)
		look(malloc(16000), 16000, &pages, &resident);
	CHECK_EQ(resident, 0);
	CHECK(pages > 500);
}

static void zeroes_are_left_as_they_are(void)
{
	size_t pages = 0, resident = 0;

	for (int i = 0; i < 4000; i++)
		look(calloc(1, 8000), 8000, &pages, &resident);
	test_say("# %zu of %zu OS pages of zeroes are in memory\n", resident, pages);
	CHECK(resident < pages / 20);
	CHECK(pages > 2000);
}

/* Linux before 5.14. */
static void a_system_that_cannot_is_asked_once(void)
{
	uint64_t fills = hakmem_root.os.fills, bytes = hakmem_root.os.fill_bytes;

	refuse_advice(MADV_FILL, MADV_FILL);
	for (int i = 0; i < 5000; i++)
		memset(HIDE(malloc(1000)), 1, 1000);
	CHECK_EQ(hakmem_root.os.fills - fills, 1);
	CHECK_EQ(hakmem_root.os.fill_bytes, bytes);
}

int main(void)
{
	static const size_t sizes[] = {64, 200, 1000, 3000, 8000};

	for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		one_size = sizes[s];
		RUN_APART(small_blocks_come_with_memory);
	}
	RUN_APART(what_is_filled_before_its_time_is_little);
	RUN_APART(larger_blocks_are_left_to_the_program);
	RUN_APART(zeroes_are_left_as_they_are);
	RUN_APART(a_system_that_cannot_is_asked_once);
	return test_done();
}
