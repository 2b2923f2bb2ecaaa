/*
 * known SCENARIO OUT [now]: makes allocations whose number it knows and writes them to OUT, one
 * line per size class: "BLOCK_BYTES ALLOCS FREES LIVE" (block bytes 0: above the largest class),
 * and lines "remote BLOCKS BYTES" and "fallback REQUESTS BYTES" where it knows those.
 *
 * It waits for a byte on stdin before, so that the watcher takes its first look, and for another
 * one (or the end of stdin) after. Between the two nothing else in the process allocates: threads
 * exist and have used the allocator before, output goes by write. With "now" it does not wait
 * before, and counts from its start.
 *
 *   pairs      1,000,000 pairs of 100 bytes, never refilling
 *   threads    3 threads, mixed sizes
 *   remote     a producer and a consumer, every free remote; the consumer ends
 *   ends       a thread that ends, and leaves blocks
 *   large      10 of 33 KiB, 10 of 300 MiB, half of them freed
 *   forks      forks; the child's many calls are not the parent's
 *   child      the same as pairs, in a forked child, whose pid OUT.pid tells
 */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZES 32
#define THREADS 3
#define REMOTE 100000
#define RING 256

struct count {
	bool used;
	size_t bytes; /* usable size, 0 for large */
	uint64_t allocs, frees, live;
};

struct thread {
	struct count of[SIZES];
	uint64_t random;
};

static struct thread me[THREADS + 1]; /* the last one is the main thread's */
static pthread_barrier_t gate;
static uint64_t remote_blocks, remote_bytes, fallbacks, fallback_bytes;

static struct count *count_of(struct thread *t, void *p)
{
	size_t bytes = malloc_usable_size(p);

	if (bytes > 524288)
		bytes = 0;
	for (struct count *c = t->of; c < t->of + SIZES; c++)
		if (!c->used || c->bytes == bytes) {
			c->used = true;
			c->bytes = bytes;
			return c;
		}
	abort();
}

static void *make(struct thread *t, size_t bytes)
{
	char *p = malloc(bytes);
	struct count *c = count_of(t, p);

	p[0] = 1;
	c->allocs++;
	c->live++;
	return p;
}

static void drop(struct thread *t, void *p)
{
	struct count *c = count_of(t, p);

	free(p);
	c->frees++;
	c->live--; /* of this thread; only the sum means anything */
}

static uint32_t next_random(struct thread *t)
{
	t->random = t->random * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(t->random >> 33);
}

static void pairs(struct thread *t, long n, size_t bytes)
{
	for (long i = 0; i < n; i++)
		drop(t, make(t, bytes));
}

static void mixed(struct thread *t)
{
	static const size_t sizes[] = {24, 100, 700, 3000, 20000, 33 * 1024, 200000, 700000};
	void *held[128] = {0};

	for (int i = 0; i < 100000; i++) {
		uint32_t r = next_random(t);
		void **h = &held[r / 64 % 128];

		if (*h)
			drop(t, *h);
		/* few of the large ones: their pages are what takes time */
		*h = make(t, sizes[r % 64 ? r % 4 : r / 8192 % 8]);
	}
	for (int i = 0; i < 128; i += 2)
		if (held[i])
			drop(t, held[i]);
}

static void *mixed_thread(void *arg)
{
	pairs(arg, 1, 1); /* has a heap from here on */
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	mixed(arg);
	pthread_barrier_wait(&gate);
	pause();
	return NULL;
}

static void *ring[RING];

static void *consumer(void *arg)
{
	pairs(arg, 1, 1);
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	for (int i = 0; i < REMOTE; i++) {
		void *p;

		while (!(p = __atomic_exchange_n(&ring[i % RING], NULL, __ATOMIC_ACQUIRE)))
			sched_yield();
		remote_bytes += malloc_usable_size(p);
		remote_blocks++;
		drop(arg, p);
	}
	return NULL; /* its cache goes home, too */
}

static void produce(struct thread *t)
{
	for (int i = 0; i < REMOTE; i++) {
		void *p = make(t, 50 + next_random(t) % 200);

		while (__atomic_load_n(&ring[i % RING], __ATOMIC_ACQUIRE))
			sched_yield();
		__atomic_store_n(&ring[i % RING], p, __ATOMIC_RELEASE);
	}
}

static void *ending(void *arg)
{
	void *p[1000];

	pairs(arg, 1, 1);
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	for (int i = 0; i < 1000; i++)
		p[i] = make(arg, 200);
	for (int i = 0; i < 600; i++)
		drop(arg, p[i]);
	pairs(arg, 5000, 5000);
	return NULL;
}

static void large(struct thread *t)
{
	void *p[10], *q[10];

	for (int i = 0; i < 10; i++) {
		p[i] = make(t, 33 * 1024);
		q[i] = make(t, (size_t)300 << 20);
		fallbacks++;
		fallback_bytes += (uint64_t)300 << 20;
	}
	for (int i = 0; i < 10; i += 2) {
		drop(t, p[i]);
		drop(t, q[i]);
	}
}

/* The child inherits the counters, but what it counts is its own. */
static void forks(struct thread *t)
{
	pid_t pid = fork();

	if (pid == 0) {
		void *p[2000];

		for (int i = 0; i < 2000; i++)
			p[i] = malloc(3000);
		for (int i = 0; i < 2000; i++)
			free(p[i]);
		_exit(0);
	}
	pairs(t, 7000, 200);
	waitpid(pid, NULL, 0);
	pairs(t, 7000, 900);
}

static void *(*const thread_fn[])(void *) = {mixed_thread, consumer, ending};

/* Threads a scenario needs: index into thread_fn and how many. */
static int threads_of(const char *scenario, int *fn)
{
	*fn = !strcmp(scenario, "remote") ? 1 : !strcmp(scenario, "ends") ? 2 : 0;
	return !strcmp(scenario, "threads") ? THREADS : *fn ? 1 : 0;
}

/* snprintf and write: dprintf would allocate its buffer, and be counted. */
static void say(int fd, const char *format, ...)
{
	char line[128];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (write(fd, line, strlen(line)) < 0)
		abort();
}

static void report(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	for (struct thread *t = me; t < me + THREADS + 1; t++)
		for (struct count *c = t->of; c < t->of + SIZES; c++)
			if (c->used)
				say(fd, "%zu %ju %ju %jd\n", c->bytes, (uintmax_t)c->allocs,
				    (uintmax_t)c->frees, (intmax_t)c->live);
	if (remote_blocks)
		say(fd, "remote %ju %ju\n", (uintmax_t)remote_blocks, (uintmax_t)remote_bytes);
	if (fallbacks)
		say(fd, "fallback %ju %ju\n", (uintmax_t)fallbacks, (uintmax_t)fallback_bytes);
	say(fd, "done\n");
	close(fd);
}

static void wait_for_byte(void)
{
	char c;

	while (read(STDIN_FILENO, &c, 1) < 0)
		;
}

/* What happens before the watcher looks: every heap and every page a scenario must not need. */
static void warm_up(const char *scenario, pthread_t *t)
{
	int fn, n = threads_of(scenario, &fn);

	pairs(&me[THREADS], 1, 100);
	pthread_barrier_init(&gate, NULL, (unsigned)n + 1);
	for (int i = 0; i < n; i++)
		pthread_create(&t[i], NULL, thread_fn[fn], &me[i]);
	pthread_barrier_wait(&gate);
}

static void run(const char *scenario, pthread_t *t)
{
	struct thread *main_thread = &me[THREADS];

	pthread_barrier_wait(&gate);
	if (!strcmp(scenario, "pairs") || !strcmp(scenario, "child"))
		pairs(main_thread, 1000000, 100);
	else if (!strcmp(scenario, "threads"))
		pthread_barrier_wait(&gate);
	else if (!strcmp(scenario, "remote"))
		produce(main_thread);
	else if (!strcmp(scenario, "large"))
		large(main_thread);
	else if (!strcmp(scenario, "forks"))
		forks(main_thread);
	if (!strcmp(scenario, "remote") || !strcmp(scenario, "ends"))
		pthread_join(t[0], NULL);
}

static void write_pid(const char *out)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s.pid", out);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	say(fd, "%d\n", (int)getpid());
	close(fd);
}

int main(int argc, char **argv)
{
	pthread_t t[THREADS];

	if (argc < 3)
		return 2;
	for (int i = 0; i <= THREADS; i++)
		me[i].random = (uint64_t)i + 1;
	if (!strcmp(argv[1], "child") && fork() != 0) {
		wait(NULL);
		return 0;
	}
	warm_up(argv[1], t);
	write_pid(argv[2]);
	if (argc < 4) {
		for (int i = 0; i <= THREADS; i++) /* all of them wait at the gate */
			memset(me[i].of, 0, sizeof(me[i].of));
		wait_for_byte();
	}
	run(argv[1], t);
	report(argv[2]);
	wait_for_byte();
	_exit(0);
}
