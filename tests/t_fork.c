/* fork in a program whose threads are allocating: both processes go on, over generations. */
#include "hakmem.h"
#include "test.h"

#include <pthread.h>
#include <sys/wait.h>

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

int main(void)
{
	for (int i = 0; i < KEPT; i++) {
		kept[i] = malloc(kept_size(i));
		test_fill(kept[i], kept_size(i), (uint32_t)i);
	}
	pthread_atfork(prepare, after, after);
	RUN(under_load);
	RUN(from_several_threads);
	RUN(chain_of_generations);
	return test_done();
}
