/*
 * Targets that are many, or do not stay what they are. Says "ready" once, on stdout.
 *   crowd threads N   N threads; for each line on stdin each of them makes 100 pairs of 3000 bytes
 *   crowd forks       forks children that allocate and exit, without an end
 *   crowd execs US    becomes itself again every US microseconds
 *   crowd copies LIB  opens another copy of libhakmem in a name space of its own, and uses it;
 *                     then, for each line, 1000 pairs of 3000 bytes from its own
 */
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static sem_t done;

static void said(const char *what)
{
	puts(what);
	fflush(stdout);
}

static int next_line(void)
{
	char c;

	do
		if (read(STDIN_FILENO, &c, 1) != 1)
			return 0;
	while (c != '\n');
	return 1;
}

static void pairs(int n)
{
	for (int i = 0; i < n; i++) {
		void *p = malloc(3000);

		if (!p)
			abort();
		free(p);
	}
}

static void *thread(void *arg)
{
	pairs(1); /* it has a heap from here on */
	sem_post(&done);
	for (;;) {
		while (sem_wait((sem_t *)arg))
			;
		pairs(100);
		sem_post(&done);
	}
	return arg;
}

static void wait_all(int n)
{
	for (int i = 0; i < n; i++)
		while (sem_wait(&done))
			;
}

static int threads(int n)
{
	sem_t *go = calloc((size_t)n, sizeof(*go)); /* each thread its own */
	pthread_attr_t small;
	pthread_t t;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	for (int i = 0; i < n; i++)
		if (!go || sem_init(&go[i], 0, 0) || pthread_create(&t, &small, thread, &go[i]))
			return 1;
	wait_all(n);
	said("ready");
	while (next_line()) {
		for (int i = 0; i < n; i++)
			sem_post(&go[i]);
		wait_all(n);
		said("done");
	}
	return 0;
}

static int forks(void)
{
	pairs(1);
	said("ready");
	for (;;) {
		pid_t child = fork();

		if (child < 0)
			return 1;
		if (!child) {
			pairs(1000);
			_exit(0);
		}
		waitpid(child, NULL, 0);
	}
}

static int execs(char **argv)
{
	char *again[] = {argv[0], argv[1], argv[2], "again", NULL};

	if (!argv[3])
		said("ready");
	pairs(1000);
	usleep((useconds_t)atoi(argv[2]));
	execv(argv[0], again);
	return 1;
}

static int copies(const char *library)
{
	void *other = dlmopen(LM_ID_NEWLM, library, RTLD_NOW);
	void *(*its_malloc)(size_t) = NULL;

	if (other)
		*(void **)&its_malloc = dlsym(other, "malloc");
	if (!its_malloc) {
		puts(dlerror());
		return 1;
	}
	for (int i = 0; i < 100; i++)
		if (!its_malloc(3000))
			return 1;
	said("ready");
	while (next_line()) {
		pairs(1000);
		said("done");
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	sem_init(&done, 0, 0);
	if (!strcmp(mode, "threads") && argc > 2)
		return threads(atoi(argv[2]));
	if (!strcmp(mode, "forks"))
		return forks();
	if (!strcmp(mode, "execs") && argc > 2)
		return execs(argv);
	if (!strcmp(mode, "copies") && argc > 2)
		return copies(argv[2]);
	return 2;
}
