/* fork in a program whose threads are allocating: both processes go on, over generations. */
#include "hakmem.h"
#include "internal.h"
#include "test.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <ucontext.h>

#define WORKERS 3
#define FORKS 240
#define FORKERS 3
#define FORKS_EACH 40
#define KEPT 400
#define CHILD_SECONDS 30 /* a child that hangs is ended and counted as failed */

static bool stop;
static void *kept[KEPT]; /* made before the forks, verified in every child */

static size_t kept_size(int i)
{
	return 1 + (size_t)i * 37 % 9000;
}

static void churn(uint64_t *state, int ops)
{
	void *p[32] = {0};

	for (int i = 0; i < ops; i++) {
		uint32_t r = test_random(state);
		size_t n = 1 + (r % 64 ? r % 3000 : r % 200000);
		void **s = &p[r / 64 % 32];

		free(*s);
		*s = malloc(n);
		if (CHECK(*s != NULL))
			((char *)*s)[n - 1] = 1;
	}
	for (int i = 0; i < 32; i++)
		free(p[i]);
}

static void *worker(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		churn(&state, 500);
	return NULL;
}

static void *child_thread(void *arg)
{
	churn(arg, 2000);
	return NULL;
}

static bool succeeded(pid_t pid)
{
	int status;

	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 0;
}

static void in_child(int generation)
{
	uint64_t state = (uint64_t)generation + 99;
	pthread_t t;

	alarm(CHILD_SECONDS);
	test_bad = 0;
	CHECK_EQ(hak_check(), 0);
	for (int i = 0; i < KEPT; i++)
		CHECK(test_verify(kept[i], kept_size(i), (uint32_t)i));
	for (int i = 0; i < KEPT; i += 2)
		free(kept[i]);
	churn(&state, 1000);
	CHECK_EQ(pthread_create(&t, NULL, child_thread, &state), 0);
	pthread_join(t, NULL);
	if (generation > 0) {
		pid_t pid = fork();

		if (pid == 0) {
			churn(&state, 500);
			_exit(hak_check() != 0);
		}
		CHECK(succeeded(pid));
	}
	CHECK_EQ(hak_check(), 0);
	_exit(test_bad != 0);
}

/* Handlers run on both sides of a fork; these allocate in each, as libraries do. */
static void *from_prepare;
static unsigned handled;

static void prepare(void)
{
	void *p = malloc(3000);

	free(__atomic_exchange_n(&from_prepare, p, __ATOMIC_ACQ_REL));
}

static void after(void)
{
	free(__atomic_exchange_n(&from_prepare, NULL, __ATOMIC_ACQ_REL));
	free(malloc(100000));
	__atomic_fetch_add(&handled, 1, __ATOMIC_RELAXED);
}

/*
 * The same from a library whose handlers came before the allocator's: these run while its locks
 * are held, in the child too. Sizes of every kind, enough of them to need pages and flushes.
 */
static bool nest; /* a signal arrives while a fork is under way */

static void early(void)
{
	static void *p[300];

	if (nest)
		raise(SIGUSR1);

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < 300; i++)
			p[i] = malloc(i * i * 3);
		for (size_t i = 0; i < 300; i++)
			free(p[i]);
	}
	free(malloc(3U << 20));
}

__attribute__((constructor(101))) static void register_early(void)
{
	pthread_atfork(early, early, early);
}

static void start(pthread_t *t)
{
	stop = false;
	for (uintptr_t i = 0; i < WORKERS; i++)
		pthread_create(&t[i], NULL, worker, (void *)(i + 1));
}

static void finish(pthread_t *t)
{
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(t[i], NULL);
	CHECK_EQ(hak_check(), 0);
}

static void under_load(void)
{
	pthread_t t[WORKERS];
	uint64_t state = 1;

	start(t);
	for (int i = 0; i < FORKS; i++) {
		pid_t pid = fork();

		if (pid == 0)
			in_child(i % 8 == 0);
		churn(&state, 50);
		CHECK(succeeded(pid));
	}
	finish(t);
	CHECK(handled >= FORKS);
}

static void *forker(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	for (int i = 0; i < FORKS_EACH; i++) {
		pid_t pid = fork();

		if (pid == 0)
			in_child(0);
		churn(&state, 100);
		CHECK(succeeded(pid));
	}
	return NULL;
}

static void from_several_threads(void)
{
	pthread_t t[WORKERS], f[FORKERS];

	start(t);
	for (uintptr_t i = 0; i < FORKERS; i++)
		pthread_create(&f[i], NULL, forker, (void *)(i + 50));
	for (int i = 0; i < FORKERS; i++)
		pthread_join(f[i], NULL);
	finish(t);
}

/* A child must have a heap of its own: what it writes does not show in the parent. */
static void chain_of_generations(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		uint64_t state = 3;
		int depth = 0;

		alarm(CHILD_SECONDS);
		while (depth < 20 && (pid = fork()) == 0) {
			depth++;
			churn(&state, 300);
		}
		if (depth < 20 && !succeeded(pid))
			_exit(1);
		_exit(hak_check() != 0);
	}
	CHECK(succeeded(pid));
}

/* No heap of a thread that is not there stays in use, or in the middle of something. */
static unsigned not_at_rest(void)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < hakmem_root.heaps; i++) {
		const struct heap *h = heap_at(i);

		n += h->view.seq.busy != 0 || h->inside != 0 || h->pages.xword != 0;
		n += h != hak_thread.heap && h->view.state != HAK_HEAP_IDLE;
	}
	return n;
}

static void *large_worker(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		void *volatile p = malloc((uintptr_t)arg * 65536);

		free(p);
	}
	return NULL;
}

static void every_heap_is_at_rest(void)
{
	pthread_t t[WORKERS], l[WORKERS];

	start(t);
	for (uintptr_t i = 0; i < WORKERS; i++)
		pthread_create(&l[i], NULL, large_worker, (void *)(i * 16 + 2));
	for (int i = 0; i < FORKS; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(not_at_rest() != 0);
		CHECK(succeeded(pid));
		usleep(300);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(l[i], NULL);
	finish(t);
}

/* A thread is caught after each single instruction of a free that follows fresh callocs. */
#define STEPS 40
#define FRESH 2048

static int stage; /* 1 caught, 2 go on, 3 ended by itself */
static int steps_left;

static void wait_for(int a, int b)
{
	int now;

	while ((now = __atomic_load_n(&stage, __ATOMIC_ACQUIRE)) != a && now != b)
		sched_yield();
}

static void trapped(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	(void)sig;
	(void)info;
	if (--steps_left)
		return;
	u->uc_mcontext.gregs[REG_EFL] &= ~0x100; /* single steps end */
	__atomic_store_n(&stage, 1, __ATOMIC_RELEASE);
	wait_for(2, 2);
}

static void free_in_steps(void *p)
{
	__asm__ volatile("pushf; orq $0x100, (%%rsp); popf; call *%1\n\t"
			 "pushf; andq $~0x100, (%%rsp); popf"
			 : "+D"(p)
			 : "r"((void (*)(void *))free)
			 : "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
}

static void *caught_in_free(void *arg)
{
	void *p[15]; /* refills of 1, 2, 4, 8 or of 8 and 8: there is room for one more */

	for (int i = 0; i < 15; i++)
		p[i] = calloc(1, FRESH);
	memset(p[14], 0xAB, FRESH);
	free_in_steps(p[14]);
	for (int i = 0; i < 14; i++)
		free(p[i]);
	__atomic_store_n(&stage, 3, __ATOMIC_RELEASE);
	return arg;
}

static void *callocs_are_zero(void *arg)
{
	uintptr_t bad = 0;

	(void)arg;
	for (int k = 0; k < 8; k++) {
		unsigned char *p = calloc(1, FRESH);

		for (size_t i = 0; i < FRESH; i++)
			bad += p[i] != 0;
	}
	return (void *)bad;
}

static void caught_after(int steps)
{
	pthread_t t, q;
	void *bad;
	pid_t pid;

	stage = 0;
	steps_left = steps;
	pthread_create(&t, NULL, caught_in_free, NULL);
	wait_for(1, 3);
	pid = fork();
	if (pid == 0) {
		alarm(CHILD_SECONDS);
		pthread_create(&q, NULL, callocs_are_zero, NULL);
		pthread_join(q, &bad);
		_exit(bad != NULL);
	}
	if (!CHECK(succeeded(pid)))
		test_say("# caught after %d instructions\n", steps);
	__atomic_store_n(&stage, 2, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
}

static void calloc_after_a_free_cut_short(void)
{
	struct sigaction sa = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};

	sigaction(SIGTRAP, &sa, NULL);
	for (int i = 1; i <= STEPS; i++)
		caught_after(i);
	CHECK(steps_left > 0); /* the last steps were past the end */
}

/* With one thread fork may be called in a handler at any moment, in the middle of fork even. */
static void fork_in_handler(int sig)
{
	pid_t pid;

	(void)sig;
	nest = false;
	pid = fork();
	if (pid == 0)
		_exit(0);
	CHECK(succeeded(pid));
	nest = true;
}

static void fork_within_fork(void)
{
	signal(SIGUSR1, fork_in_handler);
	for (int i = 0; i < 3; i++) {
		pid_t pid;

		nest = true;
		pid = fork();
		nest = false;
		if (pid == 0) {
			uint64_t state = 5;

			alarm(CHILD_SECONDS);
			churn(&state, 500);
			_exit(hak_check() != 0);
		}
		CHECK(succeeded(pid));
	}
	CHECK_EQ(hak_check(), 0);
}

/* Memory that goes back to the system at that moment is the child's, too. */
#define PURGED 500
#define PURGE_FORKS 40

static void *purger(void *arg)
{
	static void *p[PURGED];

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		for (int i = 0; i < PURGED; i++)
			*(char *)(p[i] = malloc(60000)) = 1;
		for (int i = 0; i < PURGED; i++)
			free(p[i]);
		arena_purge(UINT64_MAX, HAK_OS_DECAY); /* as by a tick, only more often */
	}
	return arg;
}

/* Slices that are neither in a page nor free. */
static unsigned slices_lost(void)
{
	unsigned lost = 0;

	hak_check(); /* those on their way to the arena are there now */
	for (const struct segment *s = arena_segments; s; s = s->all_next) {
		uint64_t known = s->free;

		for (unsigned i = 0; i < HAK_SEGMENT_SLICES; i++)
			if (s->pages[i].kind != PAGE_UNUSED)
				known |= segment_mask(i, s->pages[i].slices);
		lost += (unsigned)__builtin_popcountll(~known);
	}
	return lost;
}

static void nothing_is_lost_in_a_purge(void)
{
	pthread_t t;

	stop = false;
	pthread_create(&t, NULL, purger, NULL);
	for (int i = 0; i < PURGE_FORKS; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			unsigned lost = slices_lost();

			_exit(lost < 100 ? (int)lost : 100);
		}
		CHECK(succeeded(pid));
		usleep(300);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	CHECK_EQ(slices_lost(), 0);
}

int main(void)
{
	alarm(110); /* what hangs is not to hang for ever */
	for (int i = 0; i < KEPT; i++) {
		kept[i] = malloc(kept_size(i));
		test_fill(kept[i], kept_size(i), (uint32_t)i);
	}
	pthread_atfork(prepare, after, after);
	RUN(fork_within_fork); /* before there are threads */
	RUN(under_load);
	RUN(from_several_threads);
	RUN(chain_of_generations);
	RUN(every_heap_is_at_rest);
	RUN(nothing_is_lost_in_a_purge);
	RUN(calloc_after_a_free_cut_short);
	return test_done();
}
