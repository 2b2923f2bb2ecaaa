/*
 * The system refuses: a seccomp filter answers a system call with an error, a limit is low. Every
 * case is a child of its own, which goes on working with what it has, or gets NULL and ENOMEM.
 *
 *   refused seccomp     every call in turn, EPERM and ENOSYS
 *   refused start       one line: "works", or "NULL" if there is not even memory to begin with
 *   refused commit N    blocks of N bytes are refused, and smaller ones are not
 *   refused phases N    N bytes alive at most, of one size after the other, all of them touched
 *   refused eat N       N bytes, all of them touched and none given back
 */
#include "life.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static bool refuse(int number, uint32_t action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = 4, .filter = code};

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static bool refuse_with(int number, int error)
{
	return refuse(number, SECCOMP_RET_ERRNO | (uint32_t)error);
}

#define BIG ((size_t)24 << 20)
#define STRIDE 4096U

/* A byte of every OS page: enough to see one lost or shared. */
static void mark(char *p, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i += STRIDE)
		p[i] = (char)(seed + i / STRIDE);
}

static bool is_marked(const char *p, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i += STRIDE)
		if (p[i] != (char)(seed + i / STRIDE))
			return false;
	return true;
}

/* A block that grows by moving and shrinks again; refused, it is as it was. */
static void grow_and_shrink(bool must)
{
	size_t n = 3U << 20;
	char *p = malloc(n);

	if (!p) {
		CHECK(!must && errno == ENOMEM);
		return;
	}
	mark(p, n, 3);
	for (size_t next = 2 * n; next <= BIG; next *= 2) {
		char *q;

		errno = 0;
		q = realloc(p, next);
		CHECK(is_marked(q ? q : p, n, 3));
		if (!q) {
			CHECK(!must && errno == ENOMEM);
			break;
		}
		p = q;
		n = next;
		mark(p, n, 3);
	}
	p = realloc(p, 100000);
	if (CHECK(p != NULL))
		CHECK(is_marked(p, 100000, 3));
	free(p);
}

/* What a free gives is clean where calloc says so, whatever became of the purge. */
static void calloc_is_zero(bool must)
{
	static const size_t sizes[] = {5000, 60000, 300000, 1U << 20, 5U << 20};

	for (size_t i = 0; i < 5; i++) {
		char *p = malloc(sizes[i]);

		if (p)
			memset(p, 0xAB, sizes[i]);
		free(p);
		if (hak_trim)
			hak_trim();
		p = calloc(1, sizes[i]);
		CHECK(p || !must);
		for (size_t k = 0; p && k < sizes[i]; k++)
			if (p[k] && CHECK(p[k] == 0))
				break;
		free(p);
	}
}

static void *other_thread(void *bag)
{
	for (int i = 0; i < 300; i++)
		bag_step(bag);
	bag_empty(bag);
	return NULL;
}

static void live_with_it(int number, int error, bool must)
{
	struct bag b = {.state = 1}, other = {.state = 2};
	pthread_t t;

	bag_steps(&b, 500);
	free(malloc(3000000));
	CHECK(refuse_with(number, error));
	errno = 77;
	free(malloc(100)); /* a cache's: nobody is asked */
	CHECK_EQ(errno, 77);
	for (int i = 0; i < 2000; i++)
		CHECK(bag_step(&b) || (!must && errno == ENOMEM));
	grow_and_shrink(must);
	calloc_is_zero(must);
	bag_verify(&b);
	if (pthread_create(&t, NULL, other_thread, &other) == 0) /* its stack may be refused */
		pthread_join(t, NULL);
	if (hak_trim)
		hak_trim();
	bag_steps(&b, 0);
	bag_empty(&b);
	heap_is_whole();
}

static void in_child(int number, int error, bool must)
{
	pid_t pid = fork();

	if (pid == 0) {
		alarm(CHILD_SECONDS);
		test_bad = 0;
		live_with_it(number, error, must);
		_exit(test_bad != 0);
	}
	CHECK(succeeded(pid));
}

static void both(int number, bool must)
{
	in_child(number, EPERM, must);
	in_child(number, ENOSYS, must);
}

static void madvise_refused(void)
{
	both(SYS_madvise, true);
}

static void mremap_refused(void)
{
	both(SYS_mremap, true);
}

static void munmap_refused(void)
{
	both(SYS_munmap, true);
}

static void getrandom_refused(void)
{
	both(SYS_getrandom, true);
}

/* What is there is used, the rest is refused in the C way. */
static void mmap_refused_later(void)
{
	both(SYS_mmap, false);
}

static void mprotect_refused_later(void)
{
	both(SYS_mprotect, false);
}

/* From the program's first instruction: it ends in peace if nothing is to be had. */
static void refused_from_the_start(void)
{
	static const int numbers[] = {SYS_madvise, SYS_mremap, SYS_getrandom, SYS_sysinfo,
				      SYS_gettid};

	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		pid_t pid = fork();

		if (pid == 0) {
			alarm(CHILD_SECONDS);
			if (!refuse_with(numbers[i], EPERM))
				_exit(2);
			execl("/proc/self/exe", "refused", "start", NULL);
			_exit(3);
		}
		CHECK(succeeded(pid));
	}
}

static int start(void)
{
	struct bag b = {.state = 4};
	bool works = true;

	for (int i = 0; i < 300; i++)
		works &= bag_step(&b);
	if (works)
		grow_and_shrink(false);
	bag_empty(&b);
	heap_is_whole();
	test_say("%s\n", works ? "works" : "NULL");
	return test_bad != 0;
}

/* The system counts what it has promised; a block that nobody touches counts too. */
static int commit(size_t n)
{
	struct bag b = {.state = 5};
	void *p;
	pid_t pid;

	bag_steps(&b, 2000);
	errno = 0;
	p = malloc(n);
	CHECK(p == NULL && errno == ENOMEM);
	free(p);
	bag_steps(&b, 500);
	grow_and_shrink(true);
	pid = fork();
	if (pid == 0) {
		bag_steps(&b, 500);
		bag_empty(&b);
		heap_is_whole();
		_exit(test_bad != 0);
	}
	CHECK(succeeded(pid));
	bag_empty(&b);
	heap_is_whole();
	return test_bad != 0;
}

static void *blocks[1 << 17];

static unsigned fill_with(size_t n, size_t bytes)
{
	unsigned k = 0;

	for (; k < bytes / n && k < sizeof(blocks) / sizeof(*blocks); k++) {
		blocks[k] = malloc(n);
		if (!CHECK(blocks[k] != NULL))
			break;
		mark(blocks[k], n, k);
	}
	return k;
}

/* What one phase frees the next one can use, or the system has it back. */
static int phases(size_t bytes)
{
	static const size_t sizes[] = {256,    1000,   3000,	12000,	 50000,
				       100000, 500000, 1500000, 3000000, 9000000};

	for (unsigned i = 0; i < 2 * sizeof(sizes) / sizeof(*sizes); i++) {
		size_t n = sizes[i * 7 % (sizeof(sizes) / sizeof(*sizes))];
		unsigned k = fill_with(n, bytes);

		CHECK(k > 0);
		while (k--) {
			CHECK(is_marked(blocks[k], n, k));
			free(blocks[k]);
		}
	}
	heap_is_whole();
	return test_bad != 0;
}

static int eat(size_t bytes)
{
	fill_with(100000, bytes);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "start"))
		return start();
	if (argc == 3) {
		size_t n = strtoul(argv[2], NULL, 10);

		return *argv[1] == 'c' ? commit(n) : *argv[1] == 'p' ? phases(n) : eat(n);
	}
	RUN(madvise_refused);
	RUN(mremap_refused);
	RUN(munmap_refused);
	RUN(getrandom_refused);
	RUN(mmap_refused_later);
	RUN(mprotect_refused_later);
	RUN(refused_from_the_start);
	return test_done();
}
