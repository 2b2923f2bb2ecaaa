/* Processes that begin others while their threads allocate: fork, vfork, posix_spawn, daemon. */
#include "life.h"

#include <spawn.h>

#define FORKERS 3
#define FORKS 12
#define GENERATIONS 2

extern char **environ;

static void *allocates(void *arg)
{
	struct bag b = {.state = (uintptr_t)arg};

	bag_steps(&b, 200);
	bag_empty(&b);
	return NULL;
}

/* What both sides of a fork do: go on with the same blocks, and threads of their own. */
static void goes_on(struct bag *b)
{
	pthread_t t;

	bag_verify(b);
	bag_steps(b, 100);
	CHECK_EQ(pthread_create(&t, NULL, allocates, (void *)7), 0);
	bag_steps(b, 100);
	pthread_join(t, NULL);
}

static void fork_generations(struct bag *b, int left)
{
	pid_t pid = fork();

	if (pid == 0) {
		alarm(CHILD_SECONDS);
		test_bad = 0;
		heap_is_whole();
		goes_on(b);
		if (left > 1)
			fork_generations(b, left - 1);
		bag_empty(b);
		heap_is_whole();
		_exit(test_bad != 0);
	}
	bag_steps(b, 100);
	CHECK(succeeded(pid));
	bag_verify(b);
}

static void *forker(void *arg)
{
	struct bag b = {.state = (uintptr_t)arg};

	for (int i = 0; i < FORKS; i++) {
		bag_steps(&b, 30);
		fork_generations(&b, GENERATIONS);
	}
	bag_empty(&b);
	return NULL;
}

static void every_thread_forks_and_children_fork_again(void)
{
	pthread_t t[FORKERS];

	load_begin();
	for (uintptr_t i = 0; i < FORKERS; i++)
		pthread_create(&t[i], NULL, forker, (void *)(i + 10));
	for (int i = 0; i < FORKERS; i++)
		pthread_join(t[i], NULL);
	load_end();
}

/* The child of a vfork is the parent in all but its number: what it allocates is the parent's. */
static void vfork_child_allocates(void)
{
	static void *volatile from_child;
	struct bag b = {.state = 3};

	load_begin();
	for (int i = 0; i < 50; i++) {
		pid_t pid;

		bag_steps(&b, 20);
		pid = vfork();
		if (pid == 0) {
			from_child = malloc(5000);
			if (from_child)
				test_fill(from_child, 5000, 9);
			free(malloc(300000));
			_exit(0);
		}
		CHECK(succeeded(pid));
		CHECK(from_child && test_verify(from_child, 5000, 9));
		free(from_child);
		bag_verify(&b);
	}
	bag_empty(&b);
	load_end();
}

static void vfork_then_exec(void)
{
	struct bag b = {.state = 4};

	load_begin();
	for (int i = 0; i < 10; i++) {
		pid_t pid;

		bag_steps(&b, 20);
		pid = vfork();
		if (pid == 0) {
			execl("/proc/self/exe", "process", "child", NULL);
			_exit(1);
		}
		bag_steps(&b, 20);
		CHECK(succeeded(pid));
	}
	bag_empty(&b);
	load_end();
}

static void *spawner(void *arg)
{
	static char *args[] = {"process", "child", NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	struct bag b = {.state = (uintptr_t)arg};

	posix_spawn_file_actions_init(&actions);
	for (int i = 0; i < 40; i++) /* more than fit into it at first: it grows by realloc */
		posix_spawn_file_actions_addopen(&actions, 100 + i, "/dev/null", O_RDONLY, 0);
	posix_spawnattr_init(&attr);
	for (int i = 0; i < 5; i++) {
		pid_t pid = -1;

		bag_steps(&b, 20);
		CHECK_EQ(posix_spawn(&pid, "/proc/self/exe", &actions, &attr, args, environ), 0);
		bag_steps(&b, 20);
		CHECK(succeeded(pid));
	}
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	bag_empty(&b);
	return NULL;
}

static void posix_spawn_by_several_threads(void)
{
	pthread_t t[2];

	load_begin();
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, spawner, (void *)(i + 20));
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	load_end();
}

/* Two processes later the same blocks are there, and everything goes on. */
static void becomes_a_daemon(int out)
{
	struct bag b = {.state = 5};
	char result;

	alarm(CHILD_SECONDS);
	test_bad = 0;
	load_begin();
	bag_steps(&b, 300);
	if (daemon(1, 1) != 0)
		_exit(1);
	alarm(CHILD_SECONDS);
	heap_is_whole();
	goes_on(&b);
	fork_generations(&b, 1);
	bag_empty(&b);
	heap_is_whole();
	result = test_bad ? 'x' : 'd';
	_exit(write(out, &result, 1) != 1);
}

static void daemon_goes_on(void)
{
	for (int i = 0; i < 5; i++) {
		char result = 0;
		int ends[2];
		pid_t pid;

		CHECK_EQ(pipe(ends), 0);
		pid = fork();
		if (pid == 0)
			becomes_a_daemon(ends[1]);
		close(ends[1]);
		CHECK(succeeded(pid));
		CHECK_EQ(read(ends[0], &result, 1), 1);
		CHECK_EQ(result, 'd');
		close(ends[0]);
	}
}

/* exit while others allocate, from a thread that is not the first, with handlers that allocate. */
static struct bag at_exit_bag = {.state = 6};

static void at_exit(void)
{
	bag_steps(&at_exit_bag, 100);
	bag_empty(&at_exit_bag);
	heap_is_whole();
	if (test_bad)
		_exit(1);
}

static void *exits(void *arg)
{
	atexit(at_exit);
	bag_steps(&at_exit_bag, 100);
	exit(arg != NULL);
}

static void exit_by_any_thread(void)
{
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			pthread_t t;

			alarm(CHILD_SECONDS);
			test_bad = 0;
			load_begin();
			pthread_create(&t, NULL, exits, NULL);
			for (;;)
				pause();
		}
		CHECK(succeeded(pid));
	}
}

static int child(void)
{
	struct bag b = {.state = 8};

	bag_steps(&b, 100);
	bag_empty(&b);
	heap_is_whole();
	return test_bad != 0;
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc == 2)
		return child();
	RUN(every_thread_forks_and_children_fork_again);
	RUN(vfork_child_allocates);
	RUN(vfork_then_exec);
	RUN(posix_spawn_by_several_threads);
	RUN(daemon_goes_on);
	RUN(exit_by_any_thread);
	return test_done();
}
