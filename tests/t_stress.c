/* sanitize: yes */
/*
 * Everything at once: threads that come and go allocate by every function, hand blocks to each
 * other, resize them, fork, trim, and look at the heap. Contents are verified all the way.
 *   t_stress [SECONDS [SEED]]
 */
#include "hakmem.h"
#include "test.h"

#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

#define SPAWNERS 3
#define SHARED 256
#define OWN 64

struct item {
	unsigned char *p;
	size_t bytes;
	unsigned char mark;
};

static struct item *shared[SHARED];
static int seconds = TEST_SANITIZED ? 4 : 3;
static bool quit;
static pthread_key_t key;

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

static struct item *make(uint64_t *state)
{
	struct item *it = hak_malloc(sizeof(*it));
	size_t n = some_size(state), alignment = 16;

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
	fill(it);
	return it;
}

static void end(struct item *it)
{
	if (!it)
		return;
	CHECK(holds(it, it->bytes));
	hak_free(it->p);
	hak_free(it);
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

static void step(struct item **own, uint64_t *state)
{
	struct item **at = &own[test_random(state) % OWN];
	uint32_t what = test_random(state) % 16;

	if (what < 8) {
		end(*at);
		*at = make(state);
	} else if (what < 10) {
		if (*at)
			resize(*at, state);
	} else if (what < 15) {
		*at = swap(state, *at);
	} else {
		end(*at);
		*at = NULL;
	}
	if (test_random(state) % 3000 == 0)
		CHECK_EQ(hak_check(), 0);
	if (test_random(state) % 3000 == 0)
		hak_trim();
}

/* A destructor of the program's own allocates while the thread goes. */
static void last_words(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	hak_free(hak_malloc(some_size(&state)));
	end(swap(&state, make(&state)));
}

static void *life(void *arg)
{
	uint64_t state = (uintptr_t)arg;
	struct item *own[OWN] = {0};
	int steps = 200 + (int)(test_random(&state) % 3000);

	pthread_setspecific(key, arg);
	while (steps--)
		step(own, &state);
	for (int i = 0; i < OWN; i++)
		end(i & 1 ? own[i] : swap(&state, own[i]));
	return NULL;
}

static void *spawner(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	while (!__atomic_load_n(&quit, __ATOMIC_RELAXED)) {
		uintptr_t seed = test_random(&state) | 1U;
		pthread_t t;

		if (CHECK(!pthread_create(&t, NULL, life, (void *)seed)))
			pthread_join(t, NULL);
	}
	return NULL;
}

static bool succeeded(pid_t pid)
{
	int status;

	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* Returns the exit status. */
static int in_child(uint64_t *state, int depth)
{
	pthread_t t[2];

	alarm(60);
	test_bad = 0;
	CHECK_EQ(hak_check(), 0);
	for (int i = 0; i < SHARED; i += 3)
		end(__atomic_exchange_n(&shared[i], NULL, __ATOMIC_ACQ_REL));
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
	CHECK_EQ(hak_check(), 0);
	return test_bad != 0;
}

static void *forker(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	while (!__atomic_load_n(&quit, __ATOMIC_RELAXED)) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(in_child(&state, 0));
		CHECK(succeeded(pid));
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

static uintptr_t seed = 1;

static void everything_at_once(void)
{
	pthread_t t[SPAWNERS + 2];
	unsigned n = 0;
	uint64_t live;

	free(malloc(1));
	live = live_blocks();
	quit = false;
	for (uintptr_t i = 0; i < SPAWNERS; i++)
		pthread_create(&t[n++], NULL, spawner, (void *)(seed * 1000 + i));
	pthread_create(&t[n++], NULL, trimmer, (void *)seed);
	if (!TEST_SANITIZED) /* their runtimes do not fork with threads */
		pthread_create(&t[n++], NULL, forker, (void *)seed);
	sleep((unsigned)seconds);
	__atomic_store_n(&quit, true, __ATOMIC_RELAXED);
	while (n)
		pthread_join(t[--n], NULL);
	CHECK_EQ(hak_check(), 0);
	for (int i = 0; i < SHARED; i++) {
		end(shared[i]);
		shared[i] = NULL;
	}
	CHECK_EQ(hak_check(), 0);
	/* what threads, TLS and forks of the C library leave behind is a handful */
	CHECK(live_blocks() - live < 64);
}

static void and_again(void)
{
	everything_at_once();
}

int main(int argc, char **argv)
{
	if (argc > 1)
		seconds = atoi(argv[1]);
	if (argc > 2)
		seed = (uintptr_t)atoi(argv[2]);
	pthread_key_create(&key, last_words);
	RUN(everything_at_once);
	RUN(and_again);
	return test_done();
}
