/*
 * Threads that end where nobody planned it: cancelled, in the middle of a free, in destructors.
 * "misuse": the same while the library reports; then HAKMEM_ABORT=0 is set.
 */
#include "life.h"

#include <limits.h>
#include <signal.h>
#include <ucontext.h>

#define ROUNDS 60

static int ready;

static void wait_until_ready(int n)
{
	while (__atomic_load_n(&ready, __ATOMIC_ACQUIRE) < n)
		sched_yield();
}

static void clean_up(void *bag)
{
	bag_steps(bag, 50);
	bag_empty(bag);
}

/* Cancelled at the next of its own cancellation points, with blocks in its hands. */
static void *until_cancelled(void *arg)
{
	struct bag b = {.state = (uintptr_t)arg};

	pthread_cleanup_push(clean_up, &b);
	__atomic_add_fetch(&ready, 1, __ATOMIC_RELEASE);
	for (;;) {
		bag_steps(&b, 10);
		pthread_testcancel();
	}
	pthread_cleanup_pop(1);
	return NULL;
}

static int closing;

/*
 * At any instruction, but for those of the allocator, which nobody may interrupt so. Once it lets
 * itself be cancelled it stays that way: glibc 2.36 decides in pthread_cancel and acts in a signal
 * handler, which does not ask again whether cancellation was disabled in between.
 */
static void *until_cut_off(void *arg)
{
	struct bag b = {.state = (uintptr_t)arg};
	int old;

	pthread_cleanup_push(clean_up, &b);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
	__atomic_add_fetch(&ready, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&closing, __ATOMIC_ACQUIRE))
		bag_steps(&b, 10);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
	__atomic_add_fetch(&ready, 1, __ATOMIC_RELEASE);
	for (;;)
		bag_verify(&b);
	pthread_cleanup_pop(1);
	return NULL;
}

/* says: how often a thread makes itself known before it can be cancelled */
static void cancel_all(void *(*run)(void *), int says)
{
	for (uintptr_t i = 0; i < ROUNDS; i++) {
		pthread_t t[2];
		void *result;

		ready = closing = 0;
		for (uintptr_t k = 0; k < 2; k++)
			CHECK_EQ(pthread_create(&t[k], NULL, run, (void *)(2 * i + k + 1)), 0);
		wait_until_ready(2);
		__atomic_store_n(&closing, 1, __ATOMIC_RELEASE);
		wait_until_ready(2 * says);
		for (int k = 0; k < 2; k++)
			pthread_cancel(t[k]);
		for (int k = 0; k < 2; k++) {
			pthread_join(t[k], &result);
			CHECK(result == PTHREAD_CANCELED);
		}
	}
	heap_is_whole();
}

static void deferred_cancellation(void)
{
	cancel_all(until_cancelled, 1);
}

static void asynchronous_cancellation(void)
{
	cancel_all(until_cut_off, 2);
}

/* No function of the family is a cancellation point: blocks in the middle of it would be lost. */
static void *cancelled_already(void *misuse)
{
	struct bag b = {.state = 1};

	pthread_cancel(pthread_self());
	bag_steps(&b, 2000);
	bag_empty(&b);
	free(realloc(malloc(100), 4U << 20));
	if (misuse)
		for (size_t i = 0; i < 100; i++)
			free((void *)(16 * i + 16));
	__atomic_add_fetch(&ready, 1, __ATOMIC_RELEASE);
	pthread_testcancel();
	return NULL;
}

static void no_cancellation_point(void *misuse)
{
	pthread_t t;
	void *result;

	ready = 0;
	pthread_create(&t, NULL, cancelled_already, misuse);
	pthread_join(t, &result);
	CHECK(result == PTHREAD_CANCELED);
	CHECK_EQ(ready, 1);
	heap_is_whole();
}

static void malloc_and_free_are_no_cancellation_points(void)
{
	no_cancellation_point(NULL);
}

static void a_message_is_no_cancellation_point(void)
{
	static char misuse;

	no_cancellation_point(&misuse);
}

/* A handler ends the thread after each single instruction of a free that is a hit. */
#define STEPS 40

static int steps_left;

static void trapped(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
	if (--steps_left == 0)
		pthread_exit(NULL);
}

static void free_in_steps(void *p)
{
	__asm__ volatile("pushf; orq $0x100, (%%rsp); popf; call *%1\n\t"
			 "pushf; andq $~0x100, (%%rsp); popf"
			 : "+D"(p)
			 : "r"((void (*)(void *))free)
			 : "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
}

/* By the thread that ends: as many as leave room in its cache, so that the next free is a hit. */
#define LEFT 14
#define LEFT_BYTES 2048

static void *left_behind[LEFT];

static void *ends_in_free(void *arg)
{
	void *p;

	for (unsigned i = 0; i < LEFT; i++)
		test_fill(left_behind[i] = malloc(LEFT_BYTES), LEFT_BYTES, i);
	p = malloc(LEFT_BYTES);
	free_in_steps(p);
	return arg;
}

static void *goes_on(void *arg)
{
	struct bag b = {.state = 2};

	for (unsigned i = 0; i < LEFT; i++) {
		CHECK(test_verify(left_behind[i], LEFT_BYTES, i));
		free(left_behind[i]);
	}
	bag_steps(&b, 200);
	bag_empty(&b);
	return arg;
}

static void thread_exit_inside_free(void)
{
	struct sigaction sa = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
	pthread_t t;

	sigaction(SIGTRAP, &sa, NULL);
	for (int i = 1; i <= STEPS; i++) {
		steps_left = i;
		pthread_create(&t, NULL, ends_in_free, NULL);
		pthread_join(t, NULL);
		pthread_create(&t, NULL, goes_on, NULL);
		pthread_join(t, NULL);
		heap_is_whole();
	}
	CHECK(steps_left > 0); /* the last steps were past the end */
}

/* Blocks of a thread that ends are freed by others at that very moment. */
#define HANDED 200

static void *handed[HANDED];

static void *hands_over(void *arg)
{
	for (unsigned i = 0; i < HANDED; i++) {
		void *p = malloc(i * 20 + 1);

		test_fill(p, i * 20 + 1, i);
		__atomic_store_n(&handed[i], p, __ATOMIC_RELEASE);
	}
	return arg;
}

static void blocks_freed_while_their_thread_ends(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		pthread_t t;

		pthread_create(&t, NULL, hands_over, NULL);
		for (unsigned i = 0; i < HANDED; i++) {
			void *p;

			while (!(p = __atomic_exchange_n(&handed[i], NULL, __ATOMIC_ACQUIRE)))
				sched_yield();
			CHECK(test_verify(p, i * 20 + 1, i));
			free(p);
		}
		pthread_join(t, NULL);
	}
	heap_is_whole();
}

/* Destructors of thread-local data allocate, those that run after the library's own too. */
extern int __cxa_thread_atexit_impl(void (*fn)(void *), void *arg, void *dso);
extern void *__dso_handle;

static pthread_key_t key;
static unsigned destroyed;

static void on_key(void *bag)
{
	static __thread int rounds;
	struct bag *b = bag;

	bag_steps(b, 50);
	if (++rounds < PTHREAD_DESTRUCTOR_ITERATIONS) { /* the last one comes after ours */
		pthread_setspecific(key, b);
		return;
	}
	bag_empty(b);
	free(b);
	__atomic_add_fetch(&destroyed, 1, __ATOMIC_RELAXED);
}

static void on_thread_local(void *bag)
{
	struct bag *b = bag;

	bag_steps(b, 50);
	bag_empty(b);
	free(b);
	__atomic_add_fetch(&destroyed, 1, __ATOMIC_RELAXED);
}

static struct bag *new_bag(uint64_t state)
{
	struct bag *b = calloc(1, sizeof(*b));

	b->state = state;
	return b;
}

static void *with_destructors(void *arg)
{
	pthread_setspecific(key, new_bag(1));
	__cxa_thread_atexit_impl(on_thread_local, new_bag(2), &__dso_handle);
	return arg;
}

static void thread_local_destructors_allocate(void)
{
	CHECK_EQ(pthread_key_create(&key, on_key), 0);
	for (int i = 0; i < ROUNDS; i++) {
		pthread_t t;

		pthread_create(&t, NULL, with_destructors, NULL);
		pthread_join(t, NULL);
	}
	CHECK_EQ(destroyed, 2 * ROUNDS);
	heap_is_whole();
}

int main(int argc, char **argv)
{
	const char *secure = getenv("HAKMEM_SECURE");

	(void)argv;
	if (argc == 2) {
		RUN(a_message_is_no_cancellation_point);
		return test_done();
	}
	RUN(deferred_cancellation);
	RUN(asynchronous_cancellation);
	RUN(malloc_and_free_are_no_cancellation_points);
	if (!secure || *secure != '1') /* there every free takes a lock */
		RUN(thread_exit_inside_free);
	RUN(blocks_freed_while_their_thread_ends);
	RUN(thread_local_destructors_allocate);
	return test_done();
}
