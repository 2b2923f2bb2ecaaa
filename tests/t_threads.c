/* sanitize: yes */
/* Threads hand blocks to each other: contents stay, the heap stays valid, memory stays bounded. */
#include "hakmem.h"
#include "internal.h"
#include "test.h"

#include <pthread.h>

#define THREADS 4
#define SLOTS 512
#define ROUNDS 8
#define OPS (TEST_SANITIZED ? 5000 : 60000)
#define BLOCKS (TEST_SANITIZED ? 50000 : 1000000)
#define RING 1024

static pthread_barrier_t gate;

/* What a test block begins with; the rest is filled by `seed`. */
struct tag {
	uint32_t seed;
	uint32_t bytes;
};

static struct tag *tagged(uint64_t *state)
{
	uint32_t r = test_random(state);
	size_t n = sizeof(struct tag) + (r % 16 ? r % 700 : r % 100000);
	struct tag *t = r & 1 << 20 ? hak_aligned_alloc(64, n) : hak_malloc(n);

	if (!CHECK(t != NULL))
		return NULL;
	t->seed = r;
	t->bytes = (uint32_t)n;
	test_fill(t + 1, n - sizeof(*t), r);
	return t;
}

static void check_and_free(struct tag *t)
{
	if (!t)
		return;
	CHECK(test_verify(t + 1, t->bytes - sizeof(*t), t->seed));
	hak_free(t);
}

static struct tag *slot[SLOTS];

static void *exchanger(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < OPS; i++) {
			struct tag **s = &slot[test_random(&state) % SLOTS];

			check_and_free(__atomic_exchange_n(s, tagged(&state), __ATOMIC_ACQ_REL));
		}
		CHECK_EQ(hak_check(), 0); /* while the others go on */
		pthread_barrier_wait(&gate);
		CHECK_EQ(hak_check(), 0); /* and while nobody allocates */
		pthread_barrier_wait(&gate);
	}
	return NULL;
}

static void blocks_change_hands(void)
{
	static struct hak_snapshot a, b;
	pthread_t t[THREADS];

	hak_snapshot(&a);
	pthread_barrier_init(&gate, NULL, THREADS);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, exchanger, (void *)(i + 1));
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	pthread_barrier_destroy(&gate);
	for (int i = 0; i < SLOTS; i++)
		check_and_free(slot[i]);
	hak_snapshot(&b);
	CHECK(b.remote_blocks > a.remote_blocks);
	CHECK_EQ(hak_check(), 0);
}

/* A bounded ring between one producer and one consumer; the consumer allocates nothing. */
static struct tag *ring[RING];
static size_t peak_rss;

static void *consumer(void *arg)
{
	(void)arg;
	hak_free(hak_malloc(1));
	pthread_barrier_wait(&gate);
	for (int i = 0; i < BLOCKS; i++) {
		struct tag *t;

		while (!(t = __atomic_exchange_n(&ring[i % RING], NULL, __ATOMIC_ACQUIRE)))
			sched_yield();
		check_and_free(t);
	}
	return NULL;
}

static void produce(void)
{
	uint64_t state = 7;

	for (int i = 0; i < BLOCKS; i++) {
		size_t n = sizeof(struct tag) + test_random(&state) % 1000;
		struct tag *t = hak_malloc(n);

		t->seed = (uint32_t)i;
		t->bytes = (uint32_t)n;
		test_fill(t + 1, n - sizeof(*t), t->seed);
		while (__atomic_load_n(&ring[i % RING], __ATOMIC_RELAXED))
			sched_yield();
		__atomic_store_n(&ring[i % RING], t, __ATOMIC_RELEASE);
		if (i % 10000 == 0 && test_rss() > peak_rss)
			peak_rss = test_rss();
	}
}

/* The producer outlives the consumer: pages of a thread that ended would change hands. */

static void all_frees_remote(void)
{
	static struct hak_snapshot a, b;
	size_t rss = test_rss();
	pthread_t t;

	hak_trim(); /* no block left in a cache whose page the consumer may come to own */
	pthread_barrier_init(&gate, NULL, 2);
	pthread_create(&t, NULL, consumer, NULL);
	pthread_barrier_wait(&gate);
	hak_snapshot(&a);
	produce();
	pthread_join(t, NULL);
	pthread_barrier_destroy(&gate);
	hak_snapshot(&b);
	test_say("# %ju of %d remote\n", (uintmax_t)(b.remote_blocks - a.remote_blocks), BLOCKS);
	CHECK(b.remote_blocks - a.remote_blocks >= (uint64_t)BLOCKS);
	CHECK_EQ(b.live_bytes > a.live_bytes ? (b.live_bytes - a.live_bytes) >> 16 : 0, 0);
	/* 1 MB is alive at most; what caches and queues may add is far below this */
	if (!TEST_SANITIZED)
		CHECK(peak_rss < rss + (32U << 20));
	CHECK_EQ(hak_check(), 0);
}

/* Blocks go to a thread that has ended, whose heap others look at for reasons of their own. */
#define ORPHANS 4000

static void *orphan[ORPHANS];
static int looking; /* 1: look, 2: stop */

static void *looker(void *trim)
{
	hak_free(hak_malloc(10));
	while (!__atomic_load_n(&looking, __ATOMIC_ACQUIRE))
		sched_yield();
	while (__atomic_load_n(&looking, __ATOMIC_ACQUIRE) == 1) {
		if (trim)
			hak_trim();
		else
			CHECK_EQ(hak_check(), 0);
	}
	return NULL;
}

static void *leave_orphans(void *arg)
{
	for (int i = 0; i < ORPHANS; i++)
		orphan[i] = hak_malloc(200);
	return arg;
}

static unsigned left_alone(void)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < hakmem_root.heaps; i++)
		n += heap_at(i)->xqueue && heap_at(i)->view.state == HAK_HEAP_IDLE;
	return n;
}

static void no_block_is_left_on_a_queue(void)
{
	static int trim;
	pthread_t look, a;

	for (int round = 0; round < 20; round++) {
		__atomic_store_n(&looking, 0, __ATOMIC_RELEASE);
		pthread_create(&look, NULL, looker, round & 1 ? &trim : NULL);
		pthread_create(&a, NULL, leave_orphans, NULL);
		pthread_join(a, NULL);
		__atomic_store_n(&looking, 1, __ATOMIC_RELEASE);
		usleep(1000);
		for (int i = 0; i < ORPHANS; i++)
			hak_free(orphan[i]);
		__atomic_store_n(&looking, 2, __ATOMIC_RELEASE);
		pthread_join(look, NULL);
		CHECK_EQ(left_alone(), 0);
	}
}

/* Big blocks that other threads free are for whoever needs such next; nobody: they go home. */
#define BIG 100
#define BIG_BYTES 5000
#define BIG_ROUNDS 8

static void *big[BIG];

static void *free_big(void *arg)
{
	for (int i = 0; i < BIG; i++)
		hak_free(big[i]);
	return arg;
}

/* Adds how many blocks were taken on their way: those that came, but not by the queue. */
static void *take_big(void *taken)
{
	const struct hak_heap_view *v;
	uint64_t drains, came;
	void *p[BIG / 2];

	hak_free(hak_malloc(1));
	v = &hak_thread.heap->view;
	drains = v->drains;
	came = v->drain_blocks;
	for (int i = 0; i < BIG / 2; i++) {
		p[i] = hak_malloc(BIG_BYTES);
		test_fill(p[i], BIG_BYTES, (uint32_t)i);
	}
	if (v->drains == drains)
		*(uint64_t *)taken += v->drain_blocks - came;
	CHECK_EQ(hak_check(), 0);
	for (int i = 0; i < BIG / 2; i++) {
		CHECK(test_verify(p[i], BIG_BYTES, (uint32_t)i));
		hak_free(p[i]);
	}
	return NULL;
}

/* Blocks that are not free in their pages. */
static uint64_t blocks_out(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < hakmem_root.heaps; i++)
		n += heap_at(i)->out;
	return n;
}

/* Of so many that were on their way; *most is that of the best round. */
static void big_round(uint64_t *most)
{
	uint64_t taken = 0;
	pthread_t t;

	for (int i = 0; i < BIG; i++)
		big[i] = hak_malloc(BIG_BYTES);
	pthread_create(&t, NULL, free_big, NULL);
	pthread_join(t, NULL);
	CHECK_EQ(hak_check(), 0);
	pthread_create(&t, NULL, take_big, &taken);
	pthread_join(t, NULL);
	if (taken > *most)
		*most = taken;
}

static void big_blocks_are_taken_on_their_way(void)
{
	static struct hak_snapshot a, b;
	void *ballast = hak_malloc(32U << 20); /* an eighth of what is in use may be on its way */
	uint64_t out, first = 0, most = 0, decay = hak_options.decay_ms;

	hak_options.decay_ms = 3600000; /* else what waits too long for a CPU goes home */
	hak_trim();
	hak_snapshot(&a);
	out = blocks_out();
	big_round(&first);
	for (int i = 0; i < BIG_ROUNDS; i++)
		big_round(&most);
	test_say("# %ju, later %ju of %d taken\n", (uintmax_t)first, (uintmax_t)most, BIG / 2);
	CHECK(first >= 4);
	CHECK(most > 8); /* room beyond the first few has to be earned */
	hak_trim();
	hak_snapshot(&b);
	CHECK(b.remote_blocks - a.remote_blocks >= BIG);
	CHECK_EQ(b.live_bytes, a.live_bytes);
	CHECK_EQ(blocks_out(), out);
	CHECK_EQ(hak_check(), 0);
	hak_free(ballast);
	hak_options.decay_ms = decay;
}

/* Sent to their owners and not arrived anywhere. */
static int64_t waiting(void)
{
	int64_t n = 0;

	for (uint32_t i = 0; i < hakmem_root.heaps; i++)
		n += (int64_t)(heap_at(i)->view.remote_blocks - heap_at(i)->view.drain_blocks);
	return n;
}

static void *free_one(void *p)
{
	hak_free(p);
	return NULL;
}

/* What is none, or was there before, is not counted among those on their way. */
static void nobody_waits_for_wrong_blocks(void)
{
	void *ballast = hak_malloc(32U << 20);
	uint64_t bad = hakmem_root.os.misuses;
	int64_t before;
	pthread_t t;

	hak_trim();
	before = waiting();
	hak_options.abort = 0;
	for (int i = 0; i < BIG; i++)
		big[i] = hak_malloc(5000);
	pthread_create(&t, NULL, free_big, NULL);
	pthread_join(t, NULL);
	pthread_create(&t, NULL, free_one, big[BIG / 2]);
	pthread_join(t, NULL);
	pthread_create(&t, NULL, free_one, (char *)big[1] + 16);
	pthread_join(t, NULL);
	hak_trim();
	hak_options.abort = 1;
	CHECK_EQ(hakmem_root.os.misuses - bad, 2);
	CHECK_EQ(waiting(), before);
	CHECK_EQ(hak_check(), 0);
	hak_free(ballast);
}

/* Blocks whose page got another owner while they were on a queue are home after a trim. */
static void let_go(struct lock *l)
{
	lock_drop(l);
}

static void hold(struct lock *l)
{
	lock_take(l);
}

static void *take_one(void *arg)
{
	*(void **)arg = hak_malloc(5000);
	return NULL;
}

static void a_trim_leaves_none_on_the_way(void)
{
	void *ballast = hak_malloc(32U << 20), *other[BIG] = {NULL};
	uint64_t out;
	pthread_t t;

	hak_trim();
	out = blocks_out();
	for (int i = 0; i < BIG; i++)
		big[i] = hak_malloc(5000);
	for (int i = 0; i < BIG; i++) /* pages that are nearly empty go to others */
		if (i % 10)
			hak_free(big[i]);
	hak_trim();
	for (int i = 0; i < BIG; i++)
		if (i % 10)
			big[i] = NULL;
	transfer_each_lock(hold); /* by the queue */
	pthread_create(&t, NULL, free_big, NULL);
	pthread_join(t, NULL);
	transfer_each_lock(let_go);
	for (int i = 0; i < BIG; i++) {
		pthread_create(&t, NULL, take_one, &other[i]);
		pthread_join(t, NULL);
	}
	hak_trim();
	CHECK_EQ(blocks_out() - out, BIG);
	for (int i = 0; i < BIG; i++)
		hak_free(other[i]);
	hak_trim();
	CHECK_EQ(blocks_out(), out);
	hak_free(ballast);
}

/* Who frees and finds the lock held leaves it to others to give the memory back. */
static void a_lock_held_makes_it_late(void)
{
	void *p = hak_malloc(256U << 20);

	lock_take(&large_lock);
	hak_free(p);
	lock_drop(&large_lock);
	CHECK(hakmem_root.now.cached_bytes >= 256U << 20);
	heap_leave(heap_enter());
	CHECK(hakmem_root.now.cached_bytes < 128U << 20);
}

int main(void)
{
	RUN(blocks_change_hands);
	RUN(all_frees_remote);
	RUN(big_blocks_are_taken_on_their_way);
	RUN(a_trim_leaves_none_on_the_way);
	RUN(nobody_waits_for_wrong_blocks);
	RUN(a_lock_held_makes_it_late);
	RUN(no_block_is_left_on_a_queue);
	return test_done();
}
