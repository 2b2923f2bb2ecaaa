/* sanitize: yes */
/* Every size has exactly one owner, gets what it asked for, and wastes little. */
#include "hakmem.h"
#include "class.h"
#include "test.h"

#define EVERY_SIZE_TO 600000U
#define EVERY_BYTE_TO 70000U

static struct hak_snapshot before, after;

/* The one class whose counter moved by `by` between the snapshots; -1 if not exactly one. */
static int moved(bool frees)
{
	int owner = -1;

	for (unsigned c = 0; c < after.classes; c++) {
		uint64_t d = frees ? after.class_[c].frees - before.class_[c].frees
				   : after.class_[c].allocs - before.class_[c].allocs;

		if (d == 0)
			continue;
		if (d != 1 || owner >= 0)
			return -1;
		owner = (int)c;
	}
	return owner;
}

/* Allocates n bytes, tells the class that counted it, checks that the same one counts the free. */
static int owner_of(size_t n, size_t *usable)
{
	int owner;
	char *p;

	hak_snapshot(&before);
	p = hak_malloc(n);
	hak_snapshot(&after);
	if (!CHECK(p != NULL))
		return -1;
	owner = moved(false);
	*usable = hak_usable_size(p);
	CHECK(((uintptr_t)p & 15) == 0);
	hak_snapshot(&before);
	hak_free(p);
	hak_snapshot(&after);
	CHECK_EQ(moved(true), owner);
	return owner;
}

static void every_size_has_one_owner(void)
{
	uint64_t fallbacks;
	int last = 1;

	hak_snapshot(&before);
	fallbacks = before.mmap_fallbacks;
	for (size_t n = 0; n <= EVERY_SIZE_TO && test_bad < 20; n += n < EVERY_BYTE_TO ? 1 : 64) {
		size_t usable = 0;
		int c = owner_of(n, &usable);

		CHECK(usable >= n);
		if (n > HAK_SMALL_MAX) {
			CHECK_EQ(c, 0);
			continue;
		}
		CHECK_EQ(c, class_of(n));
		CHECK_EQ(usable, hak_class_bytes[c]);
		CHECK(c == last || c == last + 1); /* no class without a size */
		last = c;
	}
	CHECK_EQ(last, HAK_CLASSES - 1);
	hak_snapshot(&after);
	CHECK_EQ(after.mmap_fallbacks, fallbacks); /* nothing became its own mapping */
}

static void lookup_tables_agree(void)
{
	for (size_t n = 0; n <= HAK_SMALL_MAX; n++) {
		unsigned c = class_of(n);

		CHECK(c >= 1 && c < HAK_CLASSES);
		CHECK(hak_class_bytes[c] >= n);
		CHECK(c == 1 || hak_class_bytes[c - 1] < n);
		if (n <= HAK_TINY_MAX)
			CHECK_EQ(class_of_tiny(n), c);
	}
}

static void waste_is_bounded(void)
{
	for (size_t n = 1; n <= HAK_SMALL_MAX; n++) {
		size_t bytes = hak_class_bytes[class_of(n)];

		CHECK(bytes - n < 16 || (bytes - n) * 5 <= bytes ||
		      (n > HAK_SLICE && bytes - n < HAK_SLICE));
	}
	for (unsigned c = 1; c < HAK_CLASSES; c++) {
		size_t page = class_page_slices(c) * HAK_SLICE;

		CHECK(page / hak_class_bytes[c] >= (class_is_run(c) ? 1 : 8));
		CHECK((page % hak_class_bytes[c]) * 16 <= page);
	}
}

/* Around every power of two and every layer's edge: a block that fits, or NULL and ENOMEM. */
static void edges_of_layers(void)
{
	for (unsigned shift = 16; shift < 63; shift++) {
		for (int d = -1; d <= 1; d++) {
			size_t n = ((size_t)1 << shift) + (size_t)d, usable;
			void *p;

			errno = 0;
			hak_snapshot(&before);
			p = hak_malloc(n);
			hak_snapshot(&after);
			if (!p) {
				CHECK_EQ(errno, ENOMEM);
				CHECK(n > (size_t)1 << 30); /* less must be there */
				CHECK_EQ(after.live_bytes, before.live_bytes);
				continue;
			}
			usable = hak_usable_size(p);
			CHECK(usable >= n && (n <= HAK_SMALL_MAX || usable - n < HAK_OS_PAGE));
			CHECK_EQ(moved(false), n > HAK_SMALL_MAX ? 0 : (int)class_of(n));
			((char *)p)[0] = ((char *)p)[n - 1] = 1;
			hak_free(p);
		}
	}
}

static void too_large_is_refused(void)
{
	static const size_t sizes[] = {
		PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX - 4096, SIZE_MAX - 1, SIZE_MAX,
	};
	char *old = hak_malloc(100);

	test_fill(old, 100, 3);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t n = HIDE(sizes[i]);

		errno = 0;
		CHECK(hak_malloc(n) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(hak_calloc(n, 1) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(hak_calloc(1, n) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(hak_realloc(old, n) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(hak_aligned_alloc(64, n) == NULL && errno == ENOMEM);
	}
	CHECK(test_verify(old, 100, 3)); /* a refused realloc leaves the block */
	hak_free(old);
	CHECK_EQ(hak_check(), 0);
}

int main(void)
{
	RUN(lookup_tables_agree);
	RUN(waste_is_bounded);
	RUN(every_size_has_one_owner);
	RUN(edges_of_layers);
	RUN(too_large_is_refused);
	return test_done();
}
