/* Addresses that share entries of the class table: memory of ours is never taken for another's. */
#include "internal.h"
#include "pagemap.h"
#include "test.h"

#include <sys/mman.h>
#include <sys/resource.h>

#define BYTES ((size_t)8 << 20)

static uintptr_t entry(const void *p)
{
	return (uintptr_t)p >> HAK_SLICE_SHIFT & hak_class_mask;
}

static uintptr_t reach(void) /* bytes after which addresses share entries */
{
	return (hak_class_mask + 1) << HAK_SLICE_SHIFT;
}

/* Some address where nothing is, as far from p as shares its entry. */
static char *twin(const void *p)
{
	for (uintptr_t a = (uintptr_t)p % reach(); a >> 47 == 0; a += reach()) {
		/* the allocator's own system call: a mapping it may exchange */
		char *q = a < (uintptr_t)1 << 32 ? NULL : os_map_at((char *)a, BYTES, HAK_OS_LARGE);

		if (q)
			return q;
	}
	return NULL;
}

static bool is_mapped(void *p)
{
	return msync(p, 4096, MS_ASYNC) == 0;
}

/* What is found in p's neighbourhood is not accepted for our memory. */
static void refused(const void *p, bool ours)
{
	char *at = twin((const void *)((uintptr_t)p & ~(BYTES - 1))), *q;

	if (!CHECK(at != NULL))
		return;
	q = pagemap_claim(at, BYTES, BYTES, HAK_OS_LARGE);
	CHECK(q != NULL && q != at);
	CHECK(!is_mapped(at));
	CHECK(is_mapped(q) && is_mapped(q + BYTES - 4096));
	CHECK_EQ((uintptr_t)q % BYTES, 0);
	CHECK(((entry(p) - entry(q)) & hak_class_mask) >= BYTES >> HAK_SLICE_SHIFT);
	/* beside a block of ours it may well be, of the program's 4 GiB no part is ours */
	CHECK(ours || entry(q) >> 16 != entry(p) >> 16);
	os_unmap(q, BYTES, HAK_OS_LARGE);
}

static int global;

static void the_program_is_kept_apart(void)
{
	char local;

	free(malloc(1));
	refused(NULL, false);
	refused(&local, false);
	refused(&global, false);
	refused((const void *)(uintptr_t)test_done, false);
	refused(sbrk(0), false);
}

static void our_own_ranges_too(void)
{
	void *p = malloc(100);
	char *first, *second;

	refused(p, true);
	/* two that nobody else shares entries with */
	first = twin((void *)((uintptr_t)5 << 37));
	if (!CHECK(first != NULL))
		return;
	CHECK(pagemap_claim(first, BYTES, BYTES, HAK_OS_LARGE) == first);
	second = twin(first);
	CHECK(second != NULL && second != first);
	CHECK(pagemap_claim(second, BYTES, BYTES, HAK_OS_LARGE) != second);
	free(p);
}

/* Ranges that have to move go beside each other: tables are few, and so are the tries. */
static void moved_ranges_stay_together(void)
{
	char *q[40];
	uint64_t maps;
	unsigned roots = 1;

	maps = hakmem_root.os.maps;
	for (int i = 0; i < 40; i++) {
		char *at = twin(NULL);

		q[i] = at ? pagemap_claim(at, BYTES, BYTES, HAK_OS_LARGE) : NULL;
		if (!CHECK(q[i] != NULL && q[i] != at))
			return;
		roots += i && (uintptr_t)q[i] >> 32 != (uintptr_t)q[i - 1] >> 32;
	}
	CHECK(roots <= 2);
	CHECK(hakmem_root.os.maps - maps < 1000);
	for (int i = 0; i < 40; i++)
		os_unmap(q[i], BYTES, HAK_OS_LARGE);
}

/* A block cannot lie where the entry of NULL is, whatever is freed how often. */
static void null_has_no_class(void)
{
	CHECK_EQ(pagemap_class(NULL), 0);
	CHECK(pagemap_page(NULL) == NULL);
}

static void more_than_a_range_can_tell_apart(void)
{
	char *p = mmap(NULL, reach() + BYTES, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return;
	CHECK(pagemap_claim(p, reach() + BYTES, HAK_SLICE, HAK_OS_LARGE) == NULL);
	CHECK(!is_mapped(p));
}

/* What the library reserves is little: a process may limit its own address space. */
static void address_space_is_small(void)
{
	struct rlimit old, r;
	void *p;

	getrlimit(RLIMIT_AS, &old);
	r = old;
	r.rlim_cur = reach() / HAK_SLICE + ((size_t)256 << 20);
	CHECK_EQ(setrlimit(RLIMIT_AS, &r), 0);
	p = malloc((size_t)100 << 20);
	CHECK(p != NULL);
	free(p);
	CHECK_EQ(setrlimit(RLIMIT_AS, &old), 0);
	CHECK(hak_class_mask + 1 <= os_ram_bytes() / HAK_SLICE * 32 || hak_class_mask >> 24 == 0);
}

int main(void)
{
	RUN(the_program_is_kept_apart);
	RUN(our_own_ranges_too);
	RUN(moved_ranges_stay_together);
	RUN(null_has_no_class);
	RUN(more_than_a_range_can_tell_apart);
	RUN(address_space_is_small);
	return test_done();
}
