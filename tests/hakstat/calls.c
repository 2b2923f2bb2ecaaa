/*
 * calls SCENARIO OUT [now]: makes system calls whose number it knows and writes them to OUT, one
 * line per call and caller: "allocator|application NAME CALLS ERRORS", the allocator's by its own
 * counters. It waits for a byte on stdin before and for another (or the end of stdin) after; with
 * "now" it does not wait.
 *
 *   plain      four threads: reads, writes, getpid, and calls that fail
 *   mapping    blocks of many sizes, some by their own mapping; after each, in the same place on
 *              the stack, a mapping of the program's own
 *   later      like plain, by threads that start after the byte
 *   convoy     threads that wait for the allocator's arena lock, which main holds; then for
 *              main's own mutex. Lines "wait LOCK WAITS LEAST_NS MOST_NS"
 *   stuck      two threads that wait for a mutex until the end, one for a word in memory shared
 *              with others, one in read(2)
 *   exec       the same calls as plain, then another program: plain, with half of them. What the
 *              linker does before is not known: two lines only
 */
#define _GNU_SOURCE
#include "shared.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4
#define READS 5000
#define WRITES 3000
#define GETPIDS 2000
#define CLOSES 700  /* of no file */
#define NO_CALL 500 /* no system call has this number yet */
#define NO_CALLS 10
#define ROUNDS 300

extern struct hak_root hakmem_root __attribute__((weak));
static volatile struct hak_root *root;
static pthread_barrier_t gate;
static unsigned long part = 1; /* of each number */
static bool now, stay;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* No stdio on the way: what it allocates would be counted. */
static char text[4000];
static size_t used;

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	used += (size_t)vsnprintf(text + used, sizeof(text) - used, format, args);
	va_end(args);
}

static void save(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text, used) != (ssize_t)used || close(fd))
		abort();
	used = 0;
}

static void wait_byte(void)
{
	char c;

	if (now && !stay)
		return;
	while (read(STDIN_FILENO, &c, 1) < 0 && errno == EINTR)
		;
}

static void call_a_lot(void)
{
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	char buf[64];

	for (unsigned long i = 0; i < READS / part; i++)
		if (read(zero, buf, sizeof(buf)) != sizeof(buf))
			abort();
	for (unsigned long i = 0; i < WRITES / part; i++)
		if (write(null, buf, sizeof(buf)) != sizeof(buf))
			abort();
	for (unsigned long i = 0; i < GETPIDS / part; i++)
		syscall(SYS_getpid);
	for (unsigned long i = 0; i < CLOSES / part; i++)
		if (close(-1) != -1 || errno != EBADF)
			abort();
	for (unsigned long i = 0; i < NO_CALLS; i++)
		syscall(NO_CALL);
	close(zero);
	close(null);
}

static void *plain_thread(void *arg)
{
	free(malloc(100));
	if (arg) {
		pthread_barrier_wait(&gate);
		pthread_barrier_wait(&gate);
	}
	call_a_lot();
	if (arg) {
		pthread_barrier_wait(&gate);
		pause(); /* the end of a thread makes calls too */
	}
	return arg;
}

/* With what `save` makes, and the read of the byte that began it. */
static void tell_plain(unsigned long threads)
{
	tell("application getpid %lu 0\n", threads * (GETPIDS / part) + now); /* its own, in main */
	tell("application %d %d %d\n", NO_CALL, (int)threads * NO_CALLS, (int)threads * NO_CALLS);
	if (now)
		return;
	tell("application read %lu 0\n", threads * (READS / part) + 1);
	tell("application write %lu 0\n", threads * (WRITES / part) + 1);
	tell("application close %lu %lu\n", threads * (CLOSES / part + 2) + 1,
	     threads * (CLOSES / part));
	tell("application openat %lu 0\n", threads * 2 + 1);
}

static void plain(const char *path, bool waits)
{
	pthread_t t[THREADS];

	pthread_barrier_init(&gate, NULL, THREADS + 1);
	for (unsigned long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, plain_thread, &gate);
	pthread_barrier_wait(&gate);
	if (waits)
		wait_byte();
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	tell_plain(THREADS);
	save(path);
	wait_byte();
	_exit(0);
}

static void later(const char *path)
{
	pthread_t t[THREADS];

	wait_byte();
	for (unsigned long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, plain_thread, NULL);
	for (unsigned long i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	tell_plain(THREADS);
	save(path);
	wait_byte();
}

/*
 * Both ways into the kernel from one frame, the same depth below it: a stale return address of the
 * allocator's lies where the next call's frame is.
 */
__attribute__((noinline)) static void both(size_t bytes, unsigned long *maps, unsigned long *fails)
{
	char *p = malloc(bytes), *q;

	if (!p)
		abort();
	p[0] = 1;
	q = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (q == MAP_FAILED)
		abort();
	madvise(q, 4096, MADV_DONTNEED);
	munmap(q, 8192);
	*fails += munmap(q + 1, 4096) != 0; /* not a page */
	++*maps;
	free(p);
	syscall(SYS_gettid);
}

struct os_counts {
	uint64_t maps, unmaps, purges, fills;
};

static struct os_counts os_counts(void)
{
	return (struct os_counts){root->os.maps, root->os.unmaps, root->os.purges, root->os.fills};
}

static void mapping(const char *path)
{
	unsigned long maps = 0, fails = 0;
	struct os_counts from = {0}, to;

	wait_byte();
	if (!now)
		from = os_counts();
	for (unsigned long i = 0; i < ROUNDS; i++)
		both((size_t)1 << (4 + i % 25), &maps, &fails);
	to = os_counts();
	tell("application mmap %lu 0\n", maps);
	tell("application munmap %lu %lu\n", maps + fails, fails);
	tell("application madvise %lu 0\n", maps);
	tell("application gettid %lu 0\n", maps);
	tell("allocator map %lu 0\n", to.maps - from.maps);
	tell("allocator munmap %lu 0\n", to.unmaps - from.unmaps);
	tell("allocator madvise %lu 0\n", to.purges - from.purges + to.fills - from.fills);
	save(path);
	wait_byte();
	_exit(0);
}

/* Convoys */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct waiter {
	int tid;
	uint64_t before, after;
} waiter[THREADS];

static void *wait_for_arena(void *arg)
{
	struct waiter *w = arg;
	void *p;

	free(malloc(100));
	__atomic_store_n(&w->tid, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
	pthread_barrier_wait(&gate);
	w->before = now_ns();
	p = malloc(300000); /* a run of slices, which no cache of this thread has */
	w->after = now_ns();
	pthread_barrier_wait(&gate);
	pause();
	return p;
}

static void *wait_for_mutex(void *arg)
{
	struct waiter *w = arg;

	free(malloc(100));
	__atomic_store_n(&w->tid, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
	pthread_barrier_wait(&gate);
	w->before = now_ns();
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
	w->after = now_ns();
	pthread_barrier_wait(&gate);
	pause();
	return NULL;
}

/* It sleeps in futex(2), for the word at this address. */
static bool sleeps(const struct waiter *w, volatile void *word)
{
	char path[64], line[256] = "";
	unsigned long long number, at;
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", w->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = read(fd, line, sizeof(line) - 1);
	close(fd);
	return n > 0 && sscanf(line, "%llu %llx", &number, &at) == 2 && number == SYS_futex &&
	       at == (uintptr_t)word;
}

static void convoy_of(const char *name, void *(*thread)(void *), volatile uint32_t *word)
{
	uint64_t asleep, least, most = 0;
	pthread_t t[THREADS];

	pthread_barrier_init(&gate, NULL, THREADS + 1);
	for (unsigned long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, thread, &waiter[i]);
	for (unsigned long i = 0; i < THREADS; i++)
		while (!__atomic_load_n(&waiter[i].tid, __ATOMIC_ACQUIRE))
			usleep(1000);
	if (word) { /* as the allocator's own lock.h does it */
		while (!__sync_bool_compare_and_swap(word, 0, 1))
			;
	} else {
		pthread_mutex_lock(&mutex);
	}
	pthread_barrier_wait(&gate);
	for (unsigned long i = 0; i < THREADS; i++)
		while (!sleeps(&waiter[i], word ? (volatile void *)word : (volatile void *)&mutex))
			usleep(1000);
	asleep = now_ns();
	usleep(200000);
	least = (now_ns() - asleep) * THREADS;
	if (word) {
		if (__atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST) == 2)
			syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	} else {
		pthread_mutex_unlock(&mutex);
	}
	pthread_barrier_wait(&gate);
	for (unsigned long i = 0; i < THREADS; i++) {
		most += waiter[i].after - waiter[i].before;
		waiter[i].tid = 0;
	}
	tell("wait %s %d %llu %llu %llx\n", name, THREADS, (unsigned long long)least,
	     (unsigned long long)most,
	     (unsigned long long)(word ? (uintptr_t)word : (uintptr_t)&mutex));
}

static void convoy(const char *path)
{
	wait_byte();
	convoy_of("arena", wait_for_arena,
		  (volatile uint32_t *)(uintptr_t)root->layout.lock[HAK_LOCK_ARENA]);
	convoy_of("mutex", wait_for_mutex, NULL);
	save(path);
	wait_byte();
	_exit(0);
}

static void *read_for_ever(void *arg)
{
	int ends[2];
	char c;

	waiter[2].tid = (int)syscall(SYS_gettid);
	if (pipe(ends) || read(ends[0], &c, 1) != 1)
		abort();
	return arg;
}

/* A word of memory that is shared with others, as postgres has its semaphores. */
static uint32_t *shared_word;

static void *wait_for_others(void *arg)
{
	waiter[3].tid = (int)syscall(SYS_gettid);
	while (1)
		syscall(SYS_futex, shared_word, FUTEX_WAIT, 0, NULL, NULL, 0);
	return arg;
}

static void stuck(const char *path)
{
	pthread_t t[4];

	shared_word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_barrier_init(&gate, NULL, 3);
	pthread_mutex_lock(&mutex);
	pthread_create(&t[0], NULL, wait_for_mutex, &waiter[0]);
	pthread_create(&t[1], NULL, wait_for_mutex, &waiter[1]);
	pthread_create(&t[2], NULL, read_for_ever, NULL);
	pthread_create(&t[3], NULL, wait_for_others, NULL);
	pthread_barrier_wait(&gate);
	for (unsigned long i = 0; i < 2; i++)
		while (!sleeps(&waiter[i], &mutex))
			usleep(1000);
	while (!sleeps(&waiter[3], shared_word))
		usleep(1000);
	tell("stuck %llx\n", (unsigned long long)(uintptr_t)&mutex);
	save(path);
	wait_byte();
	_exit(0);
}

static void exec(char **argv)
{
	char *const again[] = {argv[0], "half", argv[2], "stay", NULL};

	wait_byte();
	call_a_lot();
	execv("/proc/self/exe", again);
	abort();
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "", *path = argv[2];

	root = &hakmem_root ? &hakmem_root : dlsym(RTLD_DEFAULT, "hakmem_root");
	now = argc > 3; /* or "stay": until a byte comes at the end */
	tell("%d\n", (int)getpid());
	if (argc > 2) {
		char pid[4096];

		snprintf(pid, sizeof(pid), "%s.pid", path);
		save(pid);
	}
	if (!strcmp(what, "half")) {
		part = 2;
		stay = true;
		plain(path, false);
	} else if (!strcmp(what, "plain")) {
		plain(path, true);
	} else if (!strcmp(what, "later")) {
		later(path);
	} else if (!strcmp(what, "mapping")) {
		mapping(path);
	} else if (!strcmp(what, "convoy")) {
		convoy(path);
	} else if (!strcmp(what, "stuck")) {
		stuck(path);
	} else if (!strcmp(what, "exec")) {
		exec(argv);
	}
	return 2;
}
