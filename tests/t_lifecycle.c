/*
 * Allocation at every moment of a process's and a thread's life: before constructors, in TLS
 * destructors, after exit handlers. The program runs itself as a child; each stage allocates,
 * frees what the stage before it made, and writes its letter.
 */
#include "hakmem.h"
#include "test.h"

#include <pthread.h>
#include <sys/wait.h>

#define STAGES "PCMaAFD" /* in the order they must appear */

extern int __cxa_thread_atexit_impl(void (*fn)(void *), void *arg, void *dso);
extern void *__dso_handle;

static bool as_child;
static void *last[3];

/* Frees the blocks of the stage before, makes some of its own. */
static void stage(char letter)
{
	static const size_t sizes[3] = {24, 5000, 200000};

	for (int i = 0; i < 3; i++) {
		if (last[i] && !test_verify(last[i], sizes[i], 5))
			letter = '!';
		free(last[i]);
		last[i] = malloc(sizes[i]);
		if (!last[i])
			letter = '!';
		else
			test_fill(last[i], sizes[i], 5);
	}
	if (hak_check())
		letter = '#';
	if (write(STDOUT_FILENO, &letter, 1) != 1)
		_exit(9);
}

static void before_constructors(int argc, char **argv, char **env)
{
	(void)argv;
	(void)env;
	as_child = argc == 2;
	if (as_child)
		stage('P');
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit[])(int, char **,
										char **) = {
	before_constructors,
};

__attribute__((constructor(101))) static void constructor(void)
{
	if (as_child)
		stage('C');
}

/* Runs after every atexit handler. */
__attribute__((destructor(101))) static void destructor(void)
{
	if (as_child)
		stage('D');
}

static void registered_first(void)
{
	stage('F');
}

static void registered_last(void)
{
	stage('A');
}

/* A handler may be registered by a handler. */
static void registers_another(void)
{
	stage('a');
	atexit(registered_last);
}

static int child(void)
{
	stage('M');
	atexit(registered_first);
	atexit(registers_another);
	exit(0);
}

static void stages_of_a_process(void)
{
	char text[64] = "";
	int pipes[2], status = -1;
	ssize_t n, have = 0;
	pid_t pid;

	CHECK_EQ(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		dup2(pipes[1], STDOUT_FILENO);
		close(pipes[0]);
		close(pipes[1]);
		execl("/proc/self/exe", "t_lifecycle", "child", NULL);
		_exit(8);
	}
	close(pipes[1]);
	while ((n = read(pipes[0], text + have, sizeof(text) - 1 - (size_t)have)) > 0)
		have += n;
	close(pipes[0]);
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	if (!CHECK(strcmp(text, STAGES) == 0))
		test_say("#   %s\n", text);
}

/* Destructors of thread-specific data: run over and over, each time allocating again. */
#define KEYS 8
static pthread_key_t keys[KEYS];
static unsigned destroyed;

static void on_key(void *p)
{
	unsigned n = __atomic_add_fetch(&destroyed, 1, __ATOMIC_RELAXED);
	char *q;

	CHECK(test_verify(p, 700, 8));
	free(p);
	free(malloc(n * 100));
	q = malloc(700);
	test_fill(q, 700, 8);
	if (n % 3)
		pthread_setspecific(keys[n % KEYS],
				    q); /* may come back in the next round, or leak */
	else
		free(q);
}

static void on_cxa(void *p)
{
	CHECK(test_verify(p, 3000, 6));
	free(p);
	free(malloc(40000));
	__atomic_add_fetch(&destroyed, 1, __ATOMIC_RELAXED);
}

static void *thread_with_destructors(void *arg)
{
	char *p = malloc(3000);

	(void)arg;
	test_fill(p, 3000, 6);
	__cxa_thread_atexit_impl(on_cxa, p, &__dso_handle);
	for (int i = 0; i < KEYS; i++) {
		p = malloc(700);
		test_fill(p, 700, 8);
		pthread_setspecific(keys[i], p);
	}
	return NULL;
}

/* The first use of the allocator in a thread is in its destructor. */
static void *thread_that_only_ends(void *arg)
{
	__cxa_thread_atexit_impl(on_cxa, arg, &__dso_handle);
	return NULL;
}

static void destructors_of_threads(void)
{
	static struct hak_snapshot s;
	pthread_t t;

	for (int i = 0; i < KEYS; i++)
		CHECK_EQ(pthread_key_create(&keys[i], on_key), 0);
	for (int i = 0; i < 500; i++) {
		void *p = malloc(3000);

		test_fill(p, 3000, 6);
		pthread_create(&t, NULL, thread_with_destructors, NULL);
		pthread_join(t, NULL);
		pthread_create(&t, NULL, thread_that_only_ends, p);
		pthread_join(t, NULL);
	}
	CHECK(destroyed >= 500 * (KEYS + 2));
	hak_snapshot(&s);
	CHECK(s.heaps < 8); /* a thread that is ending leaks no heap */
	CHECK_EQ(hak_check(), 0);
}

/* A detached thread still runs when main returns from its handlers: nothing to see but no crash. */
static void *runs_to_the_end(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	for (;;)
		free(malloc(test_random(&state) % 5000));
	return NULL;
}

static void exit_while_threads_run(void)
{
	for (int i = 0; i < 50; i++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0) {
			pthread_t t[2];

			for (uintptr_t k = 0; k < 2; k++)
				pthread_create(&t[k], NULL, runs_to_the_end, (void *)k);
			free(malloc(100));
			exit(0);
		}
		waitpid(pid, &status, 0);
		CHECK_EQ(status, 0);
	}
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc == 2)
		return child();
	RUN(stages_of_a_process);
	RUN(destructors_of_threads);
	RUN(exit_while_threads_run);
	return test_done();
}
