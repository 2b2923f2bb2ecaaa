/* sanitize: yes */
/*
 * Everything at once, in rounds of a second: threads that come and go allocate by every function,
 * hand blocks and bundles of blocks to each other, resize them, sleep, fork, trim, and look at the
 * heap. Contents are verified all the way. After each round, with no thread left, the heap is
 * checked, everything is freed, and the counts must be where they were.
 *   t_stress [SECONDS [SEED [THREADS]]]
 */
#include "hakmem.h"
#include "test.h"

#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

#define SPAWNERS_MAX 64
#define SHARED 256
#define OWN 64
#define BUNDLE 300
#define CHILD_SECONDS 300 /* until a child is taken to hang */

struct item {
	unsigned char *p;
	size_t bytes;
	struct item *next; /* of a bundle */
	unsigned char mark;
};

static struct item *shared[SHARED];
static int seconds = 5, spawners = 3;
static uintptr_t seed = 1;
static bool quit, is_child;
static pthread_key_t key;
static struct {
	uint64_t rounds, operations, blocks, threads, forks;
} done;

#if TEST_SANITIZED
/* A child of a program with threads goes on, with one thread. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "die_after_fork=0";
}
#endif

static void count(uint64_t *n, uint64_t by)
{
	__atomic_fetch_add(n, by, __ATOMIC_RELAXED);
}

static size_t some_size(uint64_t *state)
{
	static const size_t below[] = {300, 300, 300, 5000, 5000, 70000, 600000, 3 << 20};
	uint32_t r = test_random(state);

	return test_random(state) % (r % 64 ? below[r / 64 % 7] : below[7] * (1 + r / 64 % 3));
}

/* All of a small block, a sample of a larger one. */
static size_t stride(size_t bytes)
{
	return bytes <= 4096 ? 1 : 509;
}

static void fill(const struct item *it)
{
	for (size_t i = 0; i < it->bytes; i += stride(it->bytes))
		it->p[i] = it->mark;
	if (it->bytes)
		it->p[it->bytes - 1] = it->mark;
}

/* Up to `bytes`, as written for a block of it->bytes. */
static bool holds(const struct item *it, size_t bytes)
{
	for (size_t i = 0; i < bytes && i < it->bytes; i += stride(it->bytes))
		if (it->p[i] != it->mark)
			return false;
	return true;
}

static bool is_zero(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

static struct item *make(uint64_t *state, size_t n)
{
	struct item *it = hak_malloc(sizeof(*it));
	size_t alignment = 16;

	switch (test_random(state) % 8) {
	case 0:
	case 1:
		it->p = hak_calloc(1, n);
		CHECK(it->p && is_zero(it->p, n));
		break;
	case 2:
		alignment = (size_t)1 << test_random(state) % 20;
		it->p = hak_aligned_alloc(alignment, n);
		break;
	case 3:
		it->p = hak_realloc(NULL, n);
		break;
	default:
		it->p = hak_malloc(n);
	}
	CHECK(it->p && (uintptr_t)it->p % alignment == 0 && (uintptr_t)it->p % 16 == 0);
	CHECK(hak_usable_size(it->p) >= n);
	it->bytes = test_random(state) % 3 ? n : hak_usable_size(it->p);
	it->mark = (unsigned char)(test_random(state) | 1);
	it->next = NULL;
	fill(it);
	return it;
}

/* Many blocks of one size: enough for refills, flushes, and batches on a queue. */
static struct item *make_bundle(uint64_t *state)
{
	size_t n = test_random(state) % (test_random(state) % 8 ? 300 : 5000);
	struct item *first = NULL;

	for (uint32_t left = 1 + test_random(state) % BUNDLE; left; left--) {
		struct item *it = make(state, n);

		it->next = first;
		first = it;
	}
	return first;
}

static void end(struct item *it)
{
	uint64_t n = 0;

	while (it) {
		struct item *next = it->next;

		CHECK(holds(it, it->bytes));
		hak_free(it->p);
		hak_free(it);
		it = next;
		n++;
	}
	count(&done.blocks, n);
}

static void resize(struct item *it, uint64_t *state)
{
	size_t n = some_size(state) + 1;

	CHECK(holds(it, it->bytes));
	it->p = hak_realloc(it->p, n);
	CHECK(it->p && hak_usable_size(it->p) >= n && holds(it, n));
	it->bytes = n;
	fill(it);
}

static struct item *swap(uint64_t *state, struct item *it)
{
	return __atomic_exchange_n(&shared[test_random(state) % SHARED], it, __ATOMIC_ACQ_REL);
}

static void fork_one(uint64_t *state);

/* What is done now and then. */
static void seldom(uint64_t *state)
{
	switch (test_random(state) % 8) {
	case 0:
	case 1:
		CHECK_EQ(hak_check(), 0);
		break;
	case 2:
	case 3:
		hak_trim();
		break;
	case 4:
		if (!__atomic_load_n(&is_child, __ATOMIC_RELAXED))
			fork_one(state);
		break;
	default:
		usleep(test_random(state) % 3000); /* others send blocks meanwhile */
	}
}

static void step(struct item **own, uint64_t *state)
{
	struct item **at = &own[test_random(state) % OWN];
	uint32_t what = test_random(state) % 64;

	if (what < 32) {
		end(*at);
		*at = what ? make(state, some_size(state)) : make_bundle(state);
	} else if (what < 40) {
		if (*at)
			resize(*at, state);
	} else if (what < 60) {
		*at = swap(state, *at);
	} else {
		end(*at);
		*at = NULL;
	}
	if (test_random(state) % 1500 == 0)
		seldom(state);
}

/* A destructor of the program's own allocates while the thread goes. */
static void last_words(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	hak_free(hak_malloc(some_size(&state)));
	end(swap(&state, make(&state, some_size(&state))));
}

static void live(uint64_t *state)
{
	struct item *own[OWN] = {0};
	unsigned steps = 200 + test_random(state) % 3000;

	for (unsigned i = 0; i < steps; i++)
		step(own, state);
	for (int i = 0; i < OWN; i++)
		end(i & 1 ? own[i] : swap(state, own[i]));
	count(&done.operations, steps);
}

static void *life(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	pthread_setspecific(key, arg);
	live(&state);
	count(&done.threads, 1);
	return NULL;
}

static void *spawner(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	while (!__atomic_load_n(&quit, __ATOMIC_RELAXED)) {
		uintptr_t its = test_random(&state) | 1U;
		pthread_t t;

		if (CHECK(!pthread_create(&t, NULL, life, (void *)its)))
			pthread_join(t, NULL);
	}
	return NULL;
}

static bool succeeded(pid_t pid)
{
	int status;

	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* Threads of the child's own, and a child of it. Sanitizers' runtimes have none of both. */
static void more_in_child(uint64_t *state, int depth);

/* Returns the exit status. */
static int in_child(uint64_t *state, int depth)
{
	alarm(CHILD_SECONDS);
	__atomic_store_n(&is_child, true, __ATOMIC_RELAXED);
	test_bad = 0;
	CHECK_EQ(hak_check(), 0);
	for (int i = 0; i < SHARED; i += 3)
		end(__atomic_exchange_n(&shared[i], NULL, __ATOMIC_ACQ_REL));
	live(state);
	if (!TEST_SANITIZED)
		more_in_child(state, depth);
	CHECK_EQ(hak_check(), 0);
	return test_bad != 0;
}

static void more_in_child(uint64_t *state, int depth)
{
	pthread_t t[2];

	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, life, (void *)(test_random(state) | i));
	if (depth < 2) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(in_child(state, depth + 1));
		CHECK(succeeded(pid));
	}
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

static void fork_one(uint64_t *state)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(in_child(state, 0));
	CHECK(succeeded(pid));
	count(&done.forks, 1);
}

static void *forker(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	while (!__atomic_load_n(&quit, __ATOMIC_RELAXED)) {
		fork_one(&state);
		usleep(test_random(&state) % 20000);
	}
	return NULL;
}

static void *trimmer(void *arg)
{
	static struct hak_snapshot s;
	uint64_t state = (uintptr_t)arg;

	while (!__atomic_load_n(&quit, __ATOMIC_RELAXED)) {
		hak_trim();
		hak_snapshot(&s);
		usleep(test_random(&state) % 3000);
	}
	return NULL;
}

static uint64_t live_blocks(void)
{
	static struct hak_snapshot s;
	uint64_t n = 0;

	hak_snapshot(&s);
	for (unsigned c = 0; c < s.classes; c++)
		n += s.class_[c].live_blocks;
	return n;
}

/* Blocks the C library keeps of threads that were: their stacks wait for the next ones. */
#define LEFT_BY_LIBC (TEST_SANITIZED ? 0 : 64 + 2 * spawners)

static void round_once(uint64_t number)
{
	pthread_t t[SPAWNERS_MAX + 2];
	uint64_t before = live_blocks(), state = seed + number;
	unsigned n = 0;

	__atomic_store_n(&quit, false, __ATOMIC_RELAXED);
	for (int i = 0; i < spawners; i++)
		pthread_create(&t[n++], NULL, spawner, (void *)(uintptr_t)test_random(&state));
	pthread_create(&t[n++], NULL, trimmer, (void *)(uintptr_t)test_random(&state));
	pthread_create(&t[n++], NULL, forker, (void *)(uintptr_t)test_random(&state));
	sleep(1);
	__atomic_store_n(&quit, true, __ATOMIC_RELAXED);
	while (n)
		pthread_join(t[--n], NULL);
	CHECK_EQ(hak_check(), 0);
	for (int i = 0; i < SHARED; i++) {
		end(shared[i]);
		shared[i] = NULL;
	}
	CHECK_EQ(hak_check(), 0);
	CHECK(llabs((long long)(live_blocks() - before)) <= LEFT_BY_LIBC);
	done.rounds++;
}

static void report(time_t start)
{
	test_say("# %ld s: %ju rounds, %ju operations, %ju blocks freed, %ju threads, %ju forks, "
		 "%u checks failed\n",
		 (long)(time(NULL) - start), (uintmax_t)done.rounds, (uintmax_t)done.operations,
		 (uintmax_t)done.blocks, (uintmax_t)done.threads, (uintmax_t)done.forks, test_bad);
}

static void everything_at_once(void)
{
	time_t start = time(NULL);

	hak_free(hak_malloc(1));
	do {
		round_once(done.rounds);
		if (done.rounds % 300 == 0)
			report(start);
	} while (time(NULL) - start < seconds && !test_bad);
	report(start);
	CHECK(done.operations && done.threads && done.forks);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		seconds = atoi(argv[1]);
	if (argc > 2)
		seed = (uintptr_t)atoi(argv[2]);
	if (argc > 3)
		spawners = atoi(argv[3]);
	if (spawners < 1 || spawners > SPAWNERS_MAX) {
		fprintf(stderr, "usage: t_stress [SECONDS [SEED [THREADS (1..%d)]]]\n",
			SPAWNERS_MAX);
		return 2;
	}
	pthread_key_create(&key, last_words);
	RUN(everything_at_once);
	return test_done();
}
