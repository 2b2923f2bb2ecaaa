/* Out of memory: NULL and ENOMEM, the heap stays whole, and works again once there is room. */
#include "hakmem.h"
#include "shared.h"
#include "test.h"

#include <pthread.h>
#include <sys/resource.h>

#define ROOM ((size_t)96 << 20)
#define KEEP 1000000

extern struct hak_root hakmem_root;

static void *kept[KEEP];
static size_t n_kept;

static size_t address_space(void)
{
	char text[64];
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n > 0 ? n : 0] = 0;
	return strtoul(text, NULL, 10) * 4096;
}

static void limit(size_t room)
{
	struct rlimit r;

	getrlimit(RLIMIT_AS, &r);
	r.rlim_cur = room ? address_space() + room : r.rlim_max;
	CHECK_EQ(setrlimit(RLIMIT_AS, &r), 0);
}

/* Allocates until refused; true if it ended by ENOMEM. */
static bool exhaust(size_t bytes)
{
	while (n_kept < KEEP) {
		char *p;

		errno = 0;
		p = malloc(bytes);
		if (!p)
			return errno == ENOMEM;
		test_fill(p, bytes < 64 ? bytes : 64, (uint32_t)n_kept);
		kept[n_kept++] = p;
	}
	return false;
}

static void free_kept(size_t bytes)
{
	while (n_kept) {
		n_kept--;
		CHECK(test_verify(kept[n_kept], bytes < 64 ? bytes : 64, (uint32_t)n_kept));
		free(kept[n_kept]);
	}
}

static void each_size_recovers(void)
{
	static const size_t sizes[] = {1000, 4000, 40000, 65536, 100000, 1 << 20, 5 << 20};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t ooms = hakmem_root.os.ooms;
		void *p;

		limit(ROOM);
		CHECK(exhaust(sizes[i]));
		CHECK(hakmem_root.os.ooms > ooms);
		CHECK_EQ(hak_check(), 0);
		CHECK(n_kept >= ROOM / 4 / sizes[i]); /* most of the room was usable */
		free_kept(sizes[i]);
		p = malloc(sizes[i]); /* still under the limit */
		CHECK(p != NULL);
		free(p);
		CHECK_EQ(hak_check(), 0);
		limit(0);
		hak_trim();
	}
}

/* With nothing left, every entry point says so, and the old block of a realloc stays. */
static void every_entry_point(void)
{
	size_t big = HIDE((size_t)64 << 20);
	char *old = malloc(5000);
	void *out = &out;
	int saved;

	test_fill(old, 5000, 9);
	limit(ROOM);
	CHECK(exhaust(1 << 20));
	errno = 0;
	CHECK(calloc(1, big) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(realloc(HIDE(old), big) == NULL && errno == ENOMEM);
	CHECK(test_verify(old, 5000, 9));
	errno = 0;
	CHECK(aligned_alloc(1 << 20, big) == NULL && errno == ENOMEM);
	errno = 77;
	saved = posix_memalign(&out, 4096, big);
	CHECK_EQ(saved, ENOMEM);
	CHECK_EQ(errno, ENOMEM);
	CHECK(out == &out);
	free_kept(1 << 20);
	limit(0);
	free(old);
	CHECK_EQ(hak_check(), 0);
}

/* Sizes up to 64 KiB come from what was freed, whatever its class was. */
static void freed_memory_serves_other_sizes(void)
{
	void *p[100];

	limit(ROOM);
	CHECK(exhaust(65536));
	free_kept(65536);
	for (int i = 0; i < 100; i++)
		CHECK((p[i] = malloc(300000)) != NULL);
	for (int i = 0; i < 100; i++)
		free(p[i]);
	CHECK(exhaust(2000));
	CHECK(n_kept >= ROOM / 4 / 2000);
	free_kept(2000);
	limit(0);
}

/* What one layer keeps unused is another's when the system has no more. */
static void nothing_is_kept_back(void)
{
	void *p[10];
	size_t n;

	limit(ROOM);
	CHECK(exhaust(60000));
	free_kept(60000);
	CHECK((p[0] = malloc(ROOM / 2)) != NULL); /* from segments without a page */
	free(p[0]);
	limit(0);
	hak_trim();

	limit(ROOM);
	CHECK(exhaust(60000));
	n = n_kept;
	free_kept(60000);
	for (int i = 0; i < 5; i++)
		memset(p[i] = malloc(3U << 20), 1, 3U << 20);
	for (int i = 0; i < 5; i++)
		free(p[i]);
	CHECK(exhaust(60000)); /* from cached spans */
	CHECK(n_kept + n / 8 >= n);
	free_kept(60000);
	hak_trim();

	for (int i = 0; i < 10; i++)
		CHECK((p[i] = malloc(6U << 20)) != NULL);
	for (int i = 0; i < 10; i += 2)
		free(p[i]);
	CHECK((p[0] = malloc(24U << 20)) != NULL); /* from spans too short */
	for (int i = 1; i < 10; i += 2)
		free(p[i]);
	free(p[0]);
	limit(0);
	CHECK_EQ(hak_check(), 0);
}

/* realloc to less than a block has needs no memory. n: size of the blocks all memory is in. */
static void shrink_without_memory(size_t n)
{
	static const size_t from[] = {6000, 1 << 20, 20 << 20};
	static const size_t to[] = {70000, 5000, 1000, 100, 16};
	uint64_t ooms;
	char *p[3];

	for (uint32_t i = 0; i < 3; i++)
		test_fill(p[i] = malloc(from[i]), from[i], i);
	limit(1);
	CHECK(exhaust(n));
	ooms = hakmem_root.os.ooms;
	errno = 77;
	for (uint32_t i = 0; i < 3; i++) {
		for (int k = i ? 0 : 1; k < 5; k++) {
			char *q = realloc(p[i], to[k]);

			p[i] = CHECK(q != NULL) ? q : p[i];
			CHECK(test_verify(p[i], to[k], i));
		}
	}
	CHECK_EQ(errno, 77);
	CHECK_EQ(hakmem_root.os.ooms, ooms); /* nobody was refused anything */
	limit(0);
	free_kept(n);
	for (int i = 0; i < 3; i++)
		free(p[i]);
}

static void shrinking_always_works(void)
{
	for (size_t n = 1 << 20; n >= 1024; n /= 2)
		shrink_without_memory(n);
	CHECK_EQ(hak_check(), 0);
}

static pthread_barrier_t limited;

static void *thread_under_limit(void *arg)
{
	uint64_t state = (uintptr_t)arg;
	void *p[64] = {0};
	unsigned refused = 0;

	free(malloc(1));
	pthread_barrier_wait(&limited);
	for (int i = 0; i < 20000; i++) {
		void **s = &p[test_random(&state) % 64];

		free(*s);
		*s = malloc(test_random(&state) % (3U << 20));
		refused += *s == NULL;
	}
	pthread_barrier_wait(&limited);
	for (int i = 0; i < 64; i++)
		free(p[i]);
	return (void *)(uintptr_t)refused;
}

static void several_threads_at_the_limit(void)
{
	pthread_t t[3];
	uintptr_t refused = 0;
	void *result;

	pthread_barrier_init(&limited, NULL, 4);
	for (uintptr_t i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, thread_under_limit, (void *)(i + 1));
	limit((size_t)64 << 20);
	pthread_barrier_wait(&limited);
	/* none gives its blocks back before all have had theirs: more than there is room for */
	pthread_barrier_wait(&limited);
	for (int i = 0; i < 3; i++) {
		pthread_join(t[i], &result);
		refused += (uintptr_t)result;
	}
	limit(0);
	CHECK(refused > 0);
	CHECK_EQ(hak_check(), 0);
}

static void too_large_counts(void)
{
	uint64_t ooms = hakmem_root.os.ooms;

	CHECK(malloc(HIDE((size_t)PTRDIFF_MAX + 1)) == NULL);
	CHECK_EQ(hakmem_root.os.ooms, ooms + 1);
}

int main(void)
{
	RUN(too_large_counts);
	RUN(each_size_recovers);
	RUN(every_entry_point);
	RUN(freed_memory_serves_other_sizes);
	RUN(nothing_is_kept_back);
	RUN(shrinking_always_works);
	RUN(several_threads_at_the_limit);
	return test_done();
}
