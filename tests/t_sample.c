/* sanitize: yes   timeout: 240 */
/*
 * Heap samples, from inside: the semaphores are raised here instead of by the system, and the
 * linker puts our functions where the probes are. Random numbers begin with the same seed in every
 * run, and so every run takes the same samples where one thread is at work. The library is built
 * from the same objects; tests/t_sample.sh has the system raise the semaphores.
 */
#include "hakmem.h"
#include "internal.h"
#include "test.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

void __real_hak_probe_otel_memory_alloc(uint64_t ptr, uint64_t size, uint64_t weight);
void __real_hak_probe_otel_memory_free(uint64_t ptr);
void __wrap_hak_probe_otel_memory_alloc(uint64_t ptr, uint64_t size, uint64_t weight);
void __wrap_hak_probe_otel_memory_free(uint64_t ptr);
extern unsigned short hakmem_sample_bit0_semaphore, hakmem_sample_bit1_semaphore,
	hakmem_sample_bit2_semaphore, hakmem_sample_bit3_semaphore, hakmem_sample_bit4_semaphore,
	hakmem_watch_sites_semaphore, otel_memory_alloc_semaphore;

#define LESS (TEST_SANITIZED ? 10U : 1U) /* of everything */

/* --- what was sampled --- */

#define SLOTS (1U << 16)
static struct sample {
	uint64_t ptr; /* 0: none, 1: was one */
	uint64_t size, weight;
} live[SLOTS];
static unsigned nlive, slots_used;
static uint64_t allocs, frees, strange, last_weight;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static struct sample *find(uint64_t ptr)
{
	uint32_t i = (uint32_t)(ptr >> 4) * 2654435761U % SLOTS;

	for (; live[i].ptr; i = (i + 1) % SLOTS)
		if (live[i].ptr == ptr)
			return &live[i];
	return &live[i];
}

/* The table without its graves. */
static void tidy(void)
{
	static struct sample kept[SLOTS / 2];
	unsigned n = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		if (live[i].ptr > 1 && CHECK(n < SLOTS / 2))
			kept[n++] = live[i];
	memset(live, 0, sizeof(live));
	for (unsigned i = 0; i < n; i++)
		*find(kept[i].ptr) = kept[i];
	slots_used = n;
}

void __wrap_hak_probe_otel_memory_alloc(uint64_t ptr, uint64_t size, uint64_t weight)
{
	struct sample *s;

	pthread_mutex_lock(&mutex);
	if (slots_used > SLOTS * 3 / 4)
		tidy();
	s = find(ptr);
	strange += s->ptr != 0 || ptr % 16 || weight < size;
	slots_used += s->ptr == 0;
	*s = (struct sample){ptr, size, weight};
	nlive++;
	allocs++;
	last_weight = weight;
	pthread_mutex_unlock(&mutex);
	__real_hak_probe_otel_memory_alloc(ptr, size, weight);
}

void __wrap_hak_probe_otel_memory_free(uint64_t ptr)
{
	struct sample *s;

	pthread_mutex_lock(&mutex);
	s = find(ptr);
	strange += s->ptr != ptr;
	s->ptr = 1;
	nlive--;
	frees++;
	pthread_mutex_unlock(&mutex);
	__real_hak_probe_otel_memory_free(ptr);
}

static bool is_sampled(const void *p)
{
	bool found;

	pthread_mutex_lock(&mutex);
	found = p && find((uintptr_t)p)->ptr == (uintptr_t)p;
	pthread_mutex_unlock(&mutex);
	return found;
}

static unsigned sampled_among(void **p, unsigned n)
{
	unsigned found = 0;

	for (unsigned i = 0; i < n; i++)
		found += is_sampled(p[i]);
	return found;
}

/* --- the switch --- */

static void set(unsigned short *semaphore, unsigned v)
{
	__atomic_store_n(semaphore, (unsigned short)v, __ATOMIC_RELAXED);
}

/* mean: its binary logarithm; 0: off */
static void turn(unsigned mean)
{
	set(&hakmem_sample_bit0_semaphore, mean & 1);
	set(&hakmem_sample_bit1_semaphore, mean >> 1 & 1);
	set(&hakmem_sample_bit2_semaphore, mean >> 2 & 1);
	set(&hakmem_sample_bit3_semaphore, mean >> 3 & 1);
	set(&hakmem_sample_bit4_semaphore, mean >> 4 & 1);
	set(&otel_memory_alloc_semaphore, mean != 0);
	/* a slow operation, which finds it turned on, and one by the way that it is then */
	hak_free(hak_malloc(3U << 20));
	hak_free(hak_malloc(100));
	pthread_mutex_lock(&mutex);
	allocs = frees = 0;
	pthread_mutex_unlock(&mutex);
	if (mean) {
		hak_thread.heap->sample_luck = 12345 + mean;
		sample_draw(hak_thread.heap);
	}
}

static bool is_off_here(void)
{
	static const uint16_t tiny[] = HAK_BIN_TINY;

	return !memcmp(tiny, hak_thread.bin_tiny, sizeof(tiny)) &&
	       !memcmp(hak_xbin_mid, hak_class_mid, sizeof(hak_xbin_mid));
}

/* --- call sites, each with its own way to allocate --- */

#define WAYS(X)                                                \
	X(tiny, 16, hak_malloc(16))                            \
	X(small, 100, hak_malloc(100))                         \
	X(mid, 3000, hak_calloc(30, 100))                      \
	X(aligned, 1000, hak_aligned_alloc(64, 1000))          \
	X(aligned_mid, 20000, hak_aligned_alloc(4096, 20000))  \
	X(grown, 700, hak_realloc(hak_malloc(50), 700))        \
	X(big, 50000, hak_malloc(50000))                       \
	X(run, 200000, hak_malloc(200000))                     \
	X(aligned_run, 100000, hak_aligned_alloc(256, 100000)) \
	X(large, 1500000, hak_malloc(1500000))                 \
	X(huge, 5000000, hak_malloc(5000000))                  \
	X(named, 333, hak_alloc_at(333, "named"))

struct way {
	const char *name;
	size_t bytes;
	void *(*alloc)(void);
};
#define FN_(id, n, call)                                      \
	__attribute__((noinline)) static void *way_##id(void) \
	{                                                     \
		return call;                                  \
	}
WAYS(FN_)
#define ROW_(id, n, call) {#id, n, way_##id},
static const struct way ways[] = {WAYS(ROW_)};
#define NWAYS (sizeof(ways) / sizeof(ways[0]))

#define BLOCKS 100000U
static void *block[BLOCKS];

/* The variance of what one allocation contributes: size^2 * (1 - p) / p. */
static double variance(size_t bytes, unsigned mean)
{
	double p = 1 - exp(-(double)bytes / (double)((uint64_t)1 << mean));

	return (double)bytes * (double)bytes * (1 - p) / p;
}

static double live_weight(size_t bytes)
{
	double sum = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		if (live[i].ptr > 1 && live[i].size == bytes)
			sum += (double)live[i].weight;
	return sum;
}

/*
 * What lives of one way, estimated, against what does: blocks are allocated, every second is freed,
 * and so on until enough samples can be expected.
 */
#define SAMPLES 50

static void one_way(const struct way *w, unsigned mean)
{
	double mean_bytes = (double)((uint64_t)1 << mean), truth = 0, estimate = 0, sigma;
	unsigned n = 16U << 20 > w->bytes ? (unsigned)((32U << 20) / w->bytes) : 4, left = 0;
	uint64_t before = allocs;

	n = n > BLOCKS ? BLOCKS : n;
	while (truth < SAMPLES * mean_bytes) {
		for (unsigned i = 0; i < n; i++)
			CHECK(block[i] = w->alloc());
		for (unsigned i = 0; i < n; i += 2)
			hak_free(block[i]);
		truth += (double)(n / 2) * (double)w->bytes;
		left += n / 2;
		estimate += live_weight(w->bytes);
		for (unsigned i = 1; i < n; i += 2)
			hak_free(block[i]);
	}
	sigma = sqrt(left * variance(w->bytes, mean));
	if (!CHECK(fabs(estimate - truth) <= 5 * sigma + 1e-6 * truth))
		test_say("#   %s: %.0f live, %.0f estimated, sigma %.0f\n", w->name, truth,
			 estimate, sigma);
	CHECK(allocs > before);
}

static void accuracy(unsigned mean)
{
	turn(mean);
	for (size_t i = 0; i < NWAYS; i++)
		one_way(&ways[i], mean);
	CHECK_EQ(allocs, frees);
	CHECK_EQ(strange, 0);
	turn(0);
	CHECK_EQ(hak_check(), 0);
}

static void accurate_at_64_KiB(void)
{
	accuracy(16);
}

static void accurate_at_512_KiB(void)
{
	accuracy(19);
}

static void accurate_at_2_MiB(void)
{
	accuracy(21);
}

/* --- */

static void off_nothing_happens(void)
{
	for (int i = 0; i < 1000000 / (int)LESS; i++)
		hak_free(HIDE(hak_malloc((size_t)i % 2000)));
	CHECK_EQ(allocs, 0);
	CHECK_EQ(hakmem_root.sampling.turns, 0);
	CHECK(is_off_here());
}

/* Sampled blocks are freed while samples are taken and after. */
static void freed_once(void)
{
	unsigned n = 20000, left = 0;

	turn(12);
	nlive = 0;
	for (unsigned i = 0; i < n; i++)
		block[i] = hak_malloc(1 + i % 3000);
	CHECK(allocs > 5000);
	CHECK_EQ(nlive, allocs);
	for (unsigned i = 0; i < n; i += 2)
		hak_free(block[i]);
	for (unsigned i = 1; i < n; i += 2)
		left += is_sampled(block[i]);
	CHECK_EQ(nlive, left);
	turn(0);
	CHECK(is_off_here());
	for (unsigned i = 1; i < n; i += 2)
		hak_free(block[i]);
	CHECK_EQ(frees, left);
	CHECK_EQ(nlive, 0);
	CHECK_EQ(strange, 0);
	hak_free(HIDE(hak_malloc(3000000)));
	CHECK_EQ(allocs, 0);
	CHECK_EQ(hak_check(), 0);
}

/* A block that is sampled, of so many bytes. */
static void *sampled(size_t bytes)
{
	for (;;) {
		void *p = hak_malloc(bytes);

		if (is_sampled(p))
			return p;
		hak_free(p);
	}
}

static void used_as_any_other(void)
{
	char *p, *q;

	turn(12);
	for (size_t n = 1; n < 700000; n = n * 3 + 1) {
		p = sampled(n);
		test_fill(p, n, 7);
		CHECK(hak_usable_size(p) >= n && hak_usable_size(p) < n + n / 4 + 65536);
		q = hak_realloc(p, n * 3);
		CHECK(q && test_verify(q, n, 7));
		q = hak_realloc(q, n / 2 + 1);
		CHECK(q && test_verify(q, n / 2 + 1, 7));
		hak_free(q);
	}
	p = hak_calloc(1, 3000);
	while (!is_sampled(p)) {
		hak_free(p);
		p = hak_calloc(1, 3000);
	}
	for (int i = 0; i < 3000; i++)
		CHECK(!p[i]);
	memset(p, 1, 3000);
	hak_free(p);
	CHECK_EQ(nlive, 0);
	CHECK_EQ(strange, 0);
	turn(0);
}

static void hits_until_a_sample(void)
{
	uint64_t was = allocs;

	while (allocs == was)
		hak_free(HIDE(hak_malloc(100)));
}

/* While nothing but hits goes on another mean is asked for: the sample due by then is of the old.
 */
static void another_mean_under_hits(void)
{
	turn(12);
	hits_until_a_sample();
	set(&hakmem_sample_bit4_semaphore, 1); /* 2^28 */
	if (!hak_options.secure) {	       /* where nothing is a hit */
		hits_until_a_sample();
		CHECK_EQ(last_weight, 4146); /* 100 / (1 - exp(-100 / 4096)) */
		CHECK_EQ(hak_thread.heap->sample_mean, 28);
	}
	set(&hakmem_sample_bit4_semaphore, 0);
	turn(0);
}

/* A large block that grows in place or by moving is another one to who counts. */
static void large_realloc(void)
{
	size_t n = 3U << 20;
	char *p;

	turn(12);
	p = hak_malloc(n);
	for (unsigned i = 1; i <= 8; i++) {
		p = hak_realloc(p, n += 3U << 20);
		CHECK(is_sampled(p));
		CHECK_EQ(nlive, 1);
		CHECK_EQ(find((uintptr_t)p)->size, n);
	}
	CHECK_EQ(allocs, 9);
	CHECK_EQ(frees, 8);
	hak_free(p);
	CHECK_EQ(nlive, 0);
	CHECK_EQ(strange, 0);
	turn(0);
}

/* Counts by class are as exact as ever. */
static void counts_stay_exact(void)
{
	static struct hak_snapshot a, b;
	unsigned c = class_of(1000), r = class_of(100000);

	turn(12);
	hak_snapshot(&a);
	for (unsigned i = 0; i < 3000; i++)
		block[i] = hak_malloc(1000);
	for (unsigned i = 0; i < 2000; i++)
		hak_free(block[i]);
	for (unsigned i = 0; i < 10; i++)
		block[i] = hak_malloc(100000);
	hak_snapshot(&b);
	CHECK_EQ(b.class_[c].allocs - a.class_[c].allocs, 3000);
	CHECK_EQ(b.class_[c].frees - a.class_[c].frees, 2000);
	CHECK_EQ(b.class_[r].allocs - a.class_[r].allocs, 10);
	CHECK_EQ(b.class_[0].allocs, a.class_[0].allocs);
	for (unsigned i = 0; i < 10; i++)
		hak_free(block[i]);
	for (unsigned i = 2000; i < 3000; i++)
		hak_free(block[i]);
	hak_snapshot(&b);
	CHECK_EQ(b.live_bytes, a.live_bytes);
	turn(0);
	CHECK_EQ(hak_check(), 0);
}

/* --- threads --- */

static bool stop;
static unsigned pairs_done;

static void set_stop(bool v)
{
	__atomic_store_n(&stop, v, __ATOMIC_RELAXED);
}

static void *only_hits(void *arg)
{
	void *p = hak_malloc(100);

	(void)arg;
	hak_free(p);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		hak_free(HIDE(hak_malloc(100)));
		__atomic_fetch_add(&pairs_done, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static uint64_t samples_now(void)
{
	uint64_t n;

	pthread_mutex_lock(&mutex);
	n = allocs;
	pthread_mutex_unlock(&mutex);
	return n;
}

static void pairs_more(unsigned n)
{
	unsigned from = __atomic_load_n(&pairs_done, __ATOMIC_RELAXED);

	while (__atomic_load_n(&pairs_done, __ATOMIC_RELAXED) - from < n)
		sched_yield();
}

/* A thread in a loop of hits is reached by another's slow operation, there and back. */
static void reaches_a_thread_that_only_hits(void)
{
	pthread_t t;
	uint64_t was;

	set_stop(false);
	pthread_create(&t, NULL, only_hits, NULL);
	pairs_more(1000);
	turn(12);
	was = samples_now();
	pairs_more(100000 / LESS); /* 2400 samples are to be expected, with a sigma of 48 */
	CHECK(samples_now() > was + 1000 / LESS);
	turn(0);
	pairs_more(1000);
	was = samples_now();
	pairs_more(100000 / LESS);
	CHECK_EQ(samples_now(), was);
	set_stop(true);
	pthread_join(t, NULL);
	CHECK_EQ(strange, 0);
}

#define THREADS 4
#define SHARED 4000
static void *shared[SHARED];

static void *exchange(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	for (int i = 0; i < 60000 / (int)LESS; i++) {
		uint32_t r = test_random(&state);
		size_t n = r % 1000 ? r % 3000 : r % 3000000;

		hak_free(__atomic_exchange_n(&shared[r % SHARED], hak_malloc(n), __ATOMIC_ACQ_REL));
	}
	return NULL;
}

static unsigned working;

static void *exchange_and_tell(void *arg)
{
	exchange(arg);
	__atomic_fetch_sub(&working, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* turning: the switch is turned under their hands */
static void exchange_by_threads(bool turning)
{
	pthread_t t[THREADS];

	working = THREADS;
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, exchange_and_tell, (void *)(i + 1));
	while (turning && __atomic_load_n(&working, __ATOMIC_RELAXED)) {
		set(&otel_memory_alloc_semaphore, 0);
		sched_yield();
		set(&otel_memory_alloc_semaphore, 1);
		sched_yield();
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

/* Blocks go from thread to thread, and stay when theirs ends. (pthread_create allocates, too.) */
static void remote_frees(void)
{
	uint64_t before;

	turn(hak_options.secure ? 16 : 12); /* there each sample is a mapping */
	exchange_by_threads(true);
	before = allocs;
	exchange_by_threads(false);
	CHECK(allocs > before + 1000 / LESS);
	CHECK(sampled_among(shared, SHARED) > 20);
	turn(0);
	before = nlive - sampled_among(shared, SHARED);
	for (int i = 0; i < SHARED; i++) {
		hak_free(shared[i]);
		shared[i] = NULL;
	}
	CHECK_EQ(nlive, before);
	CHECK_EQ(strange, 0);
	CHECK_EQ(hak_check(), 0);
}

/* --- fork, misuse --- */

static bool succeeded(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status);
}

#define FORKS (TEST_SANITIZED ? 2 : 5)

static void child(void)
{
	alarm(60);
	nlive = sampled_among(block, 2000); /* what the other thread had is nobody's now */
	CHECK(nlive > 100);
	for (unsigned i = 0; i < 2000; i++)
		hak_free(block[i]);
	CHECK_EQ(nlive, 0);
	for (unsigned i = 0; i < 2000; i++)
		block[i] = hak_malloc(1 + i);
	CHECK(nlive > 100);
	turn(0);
	for (unsigned i = 0; i < 2000; i++)
		hak_free(block[i]);
	CHECK_EQ(nlive, 0);
	CHECK_EQ(strange, 0);
	CHECK(is_off_here());
	_exit(test_bad != 0 || hak_check() != 0);
}

static void forked(void)
{
	unsigned before;
	pthread_t t;

	set_stop(false);
	pthread_create(&t, NULL, only_hits, NULL);
	turn(12);
	for (unsigned i = 0; i < 2000; i++)
		block[i] = hak_malloc(1 + i);
	for (int i = 0; i < FORKS; i++) {
		pid_t pid;

		pthread_mutex_lock(&mutex); /* the child's table is whole */
		pid = fork();
		pthread_mutex_unlock(&mutex);
		if (pid == 0)
			child();
		CHECK(succeeded(pid));
	}
	set_stop(true);
	pthread_join(t, NULL);
	before = nlive - sampled_among(block, 2000);
	for (unsigned i = 0; i < 2000; i++)
		hak_free(block[i]);
	CHECK_EQ(nlive, before);
	turn(0);
}

static void ends_by_abort(void (*bad)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		close(STDERR_FILENO);
		turn(12);
		bad();
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void free_twice(void)
{
	void *p = sampled(100), *q = sampled(100);

	hak_free(p);
	hak_free(HIDE(p));
	hak_free(q);
}

static void free_inside(void)
{
	char *p = sampled(1000);

	hak_free(HIDE(p + 16));
}

static void misuse_is_found(void)
{
	ends_by_abort(free_twice);
	ends_by_abort(free_inside);
}

/* --- sites --- */

static struct hak_site *site(const char *name)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	struct hak_site *s = (struct hak_site *)(uintptr_t)hakmem_root.sampling.site;

	for (uint32_t i = 0; s && i < hakmem_root.sampling.sites; i++)
		if (s[i].name == (uintptr_t)name)
			return &s[i];
	return NULL;
}

static const char site_a[] = "a", site_b[] = "b";

static void *at_sites(void *arg)
{
	(void)arg;
	for (int i = 0; i < 1000; i++) {
		hak_free_at(hak_alloc_at(10, site_b), site_b);
		hak_free(hak_alloc_at(100000, site_b));
	}
	return NULL;
}

static void counted_by_site(void)
{
	void *before = hak_alloc_at(77, site_a), *p[4];
	pthread_t t[2];
	struct hak_site *s;

	CHECK(!site(site_a));
	set(&hakmem_watch_sites_semaphore, 1);
	p[0] = hak_alloc_at(100, site_a);
	p[1] = hak_alloc_at(100000, site_a);
	p[2] = hak_alloc_at(5000000, site_a);
	p[3] = hak_alloc_at(0, site_a);
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, at_sites, NULL);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	s = site(site_a);
	if (!CHECK(s))
		return;
	CHECK_EQ(s->allocs, 4);
	CHECK_EQ(s->alloc_bytes, 5100100);
	CHECK_EQ(s->frees, 0);
	s = site(site_b);
	if (!CHECK(s))
		return;
	CHECK_EQ(s->allocs, 4000);
	CHECK_EQ(s->frees, 4000);
	CHECK_EQ(s->alloc_bytes, 2000ULL * 100010);
	CHECK_EQ(s->free_bytes, 2000ULL * 100010);
	set(&hakmem_watch_sites_semaphore, 0);
	hak_free_at(hak_alloc_at(55, site_b), site_b); /* not watched any more */
	CHECK_EQ(s->allocs, 4000);
	s = site(site_a);
	hak_free(p[0]);
	hak_free(before);
	CHECK_EQ(s->free_bytes, 100);
	turn(12);
	p[2] = hak_realloc(p[2], 9000000); /* where it is not copied it stays of its site */
	CHECK(is_sampled(p[2]));
	if (!hak_options.secure) {
		bool copied = s->allocs == 4;

		/* a sanitizer's process has mappings the system now and then refuses to move */
		if (!TEST_SANITIZED)
			CHECK(!copied);
		CHECK_EQ(s->allocs, copied ? 4 : 5);
		CHECK_EQ(s->alloc_bytes, 5100100 + (copied ? 0 : 9000000));
		CHECK_EQ(s->free_bytes, 100 + 5000000);
	}
	turn(0);
	for (int i = 1; i < 4; i++)
		hak_free(p[i]);
	CHECK_EQ(s->frees, s->allocs);
	CHECK_EQ(s->free_bytes, s->alloc_bytes);
	CHECK_EQ(hak_check(), 0);
}

/* With the table full a request is of no site, and as likely a sample as any other. */
static void more_sites_than_the_table_has(void)
{
	static const char names[2000];
	struct hak_sampling *s = &hakmem_root.sampling;
	unsigned n = 40000;

	set(&hakmem_watch_sites_semaphore, 1);
	for (unsigned i = 0; i < sizeof(names); i++)
		hak_free(hak_alloc_at(1, &names[i]));
	CHECK(s->site_lost > sizeof(names) - s->sites);
	turn(12);
	for (unsigned i = 0; i < n; i++)
		hak_free(hak_alloc_at(100, "of no site"));
	CHECK(allocs > n / 41 - 160 && allocs < n / 41 + 160); /* five standard errors */
	turn(0);
	set(&hakmem_watch_sites_semaphore, 0);
}

/* --- HAKMEM_PROFILE=1 --- */

static struct hak_sample *record(uint32_t i)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	return (struct hak_sample *)(uintptr_t)(hakmem_root.sampling.record +
						(uint64_t)i * hakmem_root.sampling.record_bytes);
}

__attribute__((noinline)) static void *profiled(size_t n, uintptr_t *returns)
{
	void *p = hak_malloc(n);

	*returns = (uintptr_t)__builtin_return_address(0);
	__asm__ volatile("" ::: "memory"); /* no tail call */
	return p;
}

/* The record is of a block that lives, with what an unwinder needs. */
static void check_record(const struct hak_sample *r, uintptr_t returns)
{
#ifdef __x86_64__
	unsigned ip = 16, sp = 7;
#else
	unsigned ip = 32, sp = 31;
#endif
	const uint64_t *word = (const uint64_t *)(const void *)r->slice;
	bool found = false;

	CHECK(r->version % 2 == 0);
	CHECK_EQ(r->tid, gettid());
	CHECK(r->reg[sp] > 0 && r->reg[ip] > 0);
	CHECK(r->bytes >= 256);
	for (unsigned i = 0; i < r->bytes / 8; i++)
		found |= word[i] == returns;
	if (!TEST_SANITIZED) /* whose stacks are elsewhere */
		CHECK(found);
}

static void profile_is_a_table(void)
{
	struct hak_sampling *s = &hakmem_root.sampling;
	uintptr_t returns = 0;
	unsigned n = 0;

	CHECK(s->turns & 1);
	for (unsigned i = 0; i < 40000; i++)
		block[i] = profiled(1000 + i % 4000, &returns);
	CHECK(s->live > 100);
	CHECK_EQ(s->lost, 0);
	CHECK_EQ(s->live, nlive);
	for (uint32_t i = 0; i < s->used; i++) {
		const struct hak_sample *r = record(i);
		const struct sample *known = find(r->ptr);

		if (!r->ptr)
			continue;
		n++;
		CHECK(known->ptr == r->ptr && known->size == r->size && known->weight == r->weight);
		if (r->size >= 1000 && r->size < 5000)
			check_record(r, returns);
	}
	CHECK_EQ(n, s->live);
	for (unsigned i = 0; i < 40000; i++)
		hak_free(block[i]);
	CHECK_EQ(s->live, nlive);
	CHECK_EQ(strange, 0);
}

/* More live samples than the table has room for: counted, and nothing else changes. */
static void profile_overflows(void)
{
	struct hak_sampling *s = &hakmem_root.sampling;
	static void *p[20000];

	for (unsigned i = 0; i < 12000; i++)
		p[i] = hak_malloc(3U << 20); /* p = 0.998 */
	CHECK_EQ(s->live, s->records);
	CHECK(s->lost > 3000);
	CHECK_EQ(s->live + s->lost, nlive);
	for (unsigned i = 0; i < 12000; i++)
		hak_free(p[i]);
	CHECK_EQ(s->live, nlive);
	CHECK_EQ(hak_check(), 0);
}

static void run_all(void)
{
	RUN(freed_once);
	RUN(used_as_any_other);
	RUN(another_mean_under_hits);
	RUN(large_realloc);
	RUN(remote_frees);
	RUN(forked);
	RUN(misuse_is_found);
	RUN(counted_by_site);
	RUN(more_sites_than_the_table_has);
}

/* Once more, in a process of its own with this in its environment. */
static void once_more(const char *env, const char *value, char *self)
{
	pid_t pid = fork();

	if (pid == 0) {
		setenv(env, value, 1);
		execl(self, self, env, NULL);
		_exit(1);
	}
	test_say("%s - all of it with %s=%s\n", succeeded(pid) ? "ok" : "not ok", env, value);
}

int main(int argc, char **argv)
{
	alarm(230);
	if (argc > 1 && !strcmp(argv[1], "HAKMEM_PROFILE")) {
		RUN(profile_is_a_table);
		RUN(profile_overflows);
		return test_done();
	}
	if (argc == 1) {
		RUN(off_nothing_happens);
		if (!TEST_SANITIZED) {
			RUN(accurate_at_64_KiB);
			RUN(accurate_at_512_KiB);
			RUN(accurate_at_2_MiB);
		}
		RUN(counts_stay_exact);
		RUN(reaches_a_thread_that_only_hits);
	}
	run_all();
	if (argc == 1) {
		once_more("HAKMEM_SECURE", "1", argv[0]);
		once_more("HAKMEM_PROFILE", "1", argv[0]);
	}
	return test_done();
}
