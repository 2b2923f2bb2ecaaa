/*
 * Corners of a life: threads with the smallest stack there is, memory that is locked, a sandbox
 * that knows only the system calls we name, forks by threads that are ending, exec in the middle.
 */
#include "life.h"

#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define ROUNDS 6

/* ---- the smallest stack ---- */

/* In every layer, and with caches full enough to be flushed. */
static void *on_a_small_stack(void *arg)
{
	static __thread void *p[600];
	struct bag *b = calloc(1, sizeof(*b));

	b->state = (uintptr_t)arg;
	bag_steps(b, 300);
	bag_empty(b);
	free(b);
	for (size_t n = 16; n < 3000000; n *= 5) {
		for (unsigned i = 0; i < 600 && i * n < 2000000; i++)
			CHECK((p[i] = malloc(n)) != NULL);
		for (unsigned i = 0; i < 600 && i * n < 2000000; i++)
			free(p[i]);
	}
	if (hak_trim)
		hak_trim();
	return NULL;
}

static void smallest_stacks(void)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	/* thread-local data is taken from it, too */
	CHECK_EQ(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN + 600 * sizeof(void *)), 0);
	for (uintptr_t i = 0; i < ROUNDS; i++) {
		pthread_t t[2];

		for (uintptr_t k = 0; k < 2; k++)
			CHECK_EQ(pthread_create(&t[k], &attr, on_a_small_stack, (void *)(i + k)),
				 0);
		for (int k = 0; k < 2; k++)
			pthread_join(t[k], NULL);
	}
	pthread_attr_destroy(&attr);
	heap_is_whole();
}

/* ---- children ---- */

static void in_child(void (*fn)(void))
{
	pid_t pid = fork();

	if (pid == 0) {
		alarm(CHILD_SECONDS);
		test_bad = 0;
		fn();
		_exit(test_bad != 0);
	}
	CHECK(succeeded(pid));
}

static void *bag_in_thread(void *arg)
{
	struct bag b = {.state = (uintptr_t)arg};

	bag_steps(&b, 300);
	bag_empty(&b);
	return NULL;
}

static bool is_zero(const char *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

static void dirty_then_calloc(void)
{
	for (size_t n = 5000; n < 6000000; n *= 4) {
		char *p = malloc(n);

		memset(p, 0xAB, n);
		free(p);
		if (hak_trim)
			hak_trim();
		p = calloc(1, n);
		CHECK(p && is_zero(p, n));
		free(p);
	}
}

/* Locked memory cannot be purged: madvise says EINVAL. What calloc gives must be zero anyhow. */
static void with_all_memory_locked(void)
{
	struct bag b = {.state = 11};
	pthread_t t;

	bag_steps(&b, 300);
	if (!CHECK(mlockall(MCL_CURRENT | MCL_FUTURE) == 0))
		return;
	bag_steps(&b, 500);
	CHECK_EQ(pthread_create(&t, NULL, bag_in_thread, (void *)12), 0);
	pthread_join(t, NULL);
	dirty_then_calloc();
	bag_empty(&b);
	heap_is_whole();
}

static void locked_memory(void)
{
	struct rlimit r;

	getrlimit(RLIMIT_MEMLOCK, &r);
	if (geteuid() == 0 || r.rlim_cur == RLIM_INFINITY) /* else we may not */
		in_child(with_all_memory_locked);
}

/* More than may be locked is refused as EAGAIN by the system, as ENOMEM by us. */
static void up_to_the_limit(void)
{
	static void *p[4000];
	unsigned n = 0;

	if (!CHECK(setuid(65534) == 0 && mlockall(MCL_FUTURE) == 0))
		return;
	errno = 0;
	while (n < 4000 && (p[n] = malloc(60000 + n)) != NULL)
		memset(p[n++], 1, 60000);
	CHECK(n > 10 && n < 4000 && errno == ENOMEM);
	while (n > 0)
		free(p[--n]);
	dirty_then_calloc();
	heap_is_whole();
}

static void limit_locked_memory(void)
{
	struct rlimit r;

	getrlimit(RLIMIT_MEMLOCK, &r);
	if (r.rlim_max > (rlim_t)64 << 20)
		r.rlim_max = (rlim_t)64 << 20;
	r.rlim_cur = r.rlim_max;
	CHECK_EQ(setrlimit(RLIMIT_MEMLOCK, &r), 0);
	up_to_the_limit();
}

static void locked_memory_has_a_limit(void)
{
	if (geteuid() == 0)
		in_child(limit_locked_memory);
}

/* ---- a sandbox ---- */

#define ALLOW(name)                                                      \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)SYS_##name, 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* Whatever else is called ends the process. */
static bool allow_only_these(void)
{
	static struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		/* ours, in a process that has begun */
		ALLOW(mmap),
		ALLOW(munmap),
		ALLOW(mremap),
		ALLOW(mprotect),
		ALLOW(madvise),
		ALLOW(futex),
		ALLOW(gettid),
		/* the program's: threads, its report, its end */
		ALLOW(clone),
		ALLOW(clone3),
		ALLOW(rseq),
		ALLOW(set_robust_list),
		ALLOW(rt_sigprocmask),
		ALLOW(write),
		ALLOW(exit),
		ALLOW(exit_group),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(*code), .filter = code};

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void sandboxed(void)
{
	struct bag b = {.state = 21};
	char *p = malloc(3U << 20);
	pthread_t t[3];

	CHECK(allow_only_these());
	for (uintptr_t i = 0; i < 3; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, bag_in_thread, (void *)(i + 22)), 0);
	bag_steps(&b, 1000);
	for (size_t n = 4U << 20; n < 60U << 20; n *= 2) {
		p = realloc(p, n);
		if (CHECK(p != NULL))
			p[n - 1] = 1;
	}
	free(realloc(p, 1000));
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	if (hak_trim)
		hak_trim();
	dirty_then_calloc();
	bag_empty(&b);
	heap_is_whole();
}

static void sandbox_of_the_calls_we_name(void)
{
	in_child(sandboxed);
}

/* ---- forks and an exec at odd moments ---- */

extern int __cxa_thread_atexit_impl(void (*fn)(void *), void *arg, void *dso);
extern void *__dso_handle;

static pthread_key_t key;

static void child_of_an_ending_thread(void)
{
	pthread_t t;

	heap_is_whole();
	bag_in_thread((void *)31);
	CHECK_EQ(pthread_create(&t, NULL, bag_in_thread, (void *)32), 0);
	pthread_join(t, NULL);
	heap_is_whole();
}

static void forks(void *bag)
{
	struct bag *b = bag;

	bag_steps(b, 20);
	in_child(child_of_an_ending_thread);
	bag_verify(b);
	bag_steps(b, 20);
}

/* In the last round the thread's heap is gone already. */
static void on_key(void *bag)
{
	static __thread int rounds;

	forks(bag);
	if (++rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
		pthread_setspecific(key, bag);
		return;
	}
	bag_empty(bag);
	free(bag);
}

static void *ends(void *arg)
{
	struct bag *b = calloc(1, sizeof(*b));

	b->state = (uintptr_t)arg;
	__cxa_thread_atexit_impl(forks, b, &__dso_handle);
	pthread_setspecific(key, b);
	return NULL;
}

static void fork_by_threads_that_are_ending(void)
{
	CHECK_EQ(pthread_key_create(&key, on_key), 0);
	load_begin();
	for (uintptr_t i = 0; i < ROUNDS / 2; i++) {
		pthread_t t;

		CHECK_EQ(pthread_create(&t, NULL, ends, (void *)(i + 40)), 0);
		pthread_join(t, NULL);
	}
	load_end();
}

static void *executes(void *arg)
{
	bag_in_thread(arg);
	execl("/proc/self/exe", "corners", "child", NULL);
	_exit(1);
}

static void becomes_another(void)
{
	pthread_t t;

	load_begin();
	pthread_create(&t, NULL, executes, (void *)50);
	for (;;)
		pause();
}

static void exec_while_others_allocate(void)
{
	for (int i = 0; i < ROUNDS / 2; i++)
		in_child(becomes_another);
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc == 2) {
		bag_in_thread((void *)51);
		heap_is_whole();
		return test_bad != 0;
	}
	RUN(smallest_stacks);
	RUN(locked_memory);
	RUN(locked_memory_has_a_limit);
	RUN(sandbox_of_the_calls_we_name);
	RUN(fork_by_threads_that_are_ending);
	RUN(exec_while_others_allocate);
	return test_done();
}
