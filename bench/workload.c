/*
 * A server without a network: threads put and get values of 16 B to 64 KiB in one shared table, so
 * that a value is mostly freed by another thread than the one that made it, and build each request
 * and reply in short-lived buffers of their own. The load of `make demo` where redis is missing.
 *
 * usage: workload [threads=4] [seconds=0] [keys=20000] [rate=0] [seed=1]
 * seconds 0: until SIGTERM or SIGINT. rate: requests per second and thread, 0: as many as it can.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "bench.h"

#define STRIPES 64
#define BATCH 64 /* requests between two looks at the clock */
#define MAX_THREADS 256

struct worker {
	_Alignas(128) pthread_t id; /* no cache line is shared by two workers */
	uint32_t state;
	uint64_t requests, foreign; /* foreign: values freed that another thread made */
} BENCH_APART;

struct value { /* followed by the value's bytes, marked with the key */
	const struct worker *maker;
	unsigned char bytes[];
};

static struct value **table;
static uint32_t keys;
static unsigned long rate;
static pthread_mutex_t stripe[STRIPES];
static atomic_bool stop;

/* Small ones are the most frequent: each power of two up to 64 KiB is equally likely. */
static uint32_t random_size(uint32_t *state)
{
	uint32_t r = bench_next(state), low = 16u << (r % 12);

	return low + (r >> 8) % low;
}

static struct value *make_value(struct worker *w, uint32_t key)
{
	uint32_t bytes = random_size(&w->state);
	struct value *v = bench_need(malloc(sizeof(*v) + bytes), bytes);

	v->maker = w;
	bench_mark(v->bytes, key, bytes);
	return v;
}

static void set(struct worker *w, uint32_t key)
{
	struct value *fresh = make_value(w, key), *old;

	pthread_mutex_lock(&stripe[key % STRIPES]);
	old = table[key];
	table[key] = fresh;
	pthread_mutex_unlock(&stripe[key % STRIPES]);
	if (!old)
		return;
	bench_check(old->bytes, key);
	w->foreign += old->maker != w;
	free(old);
}

/* The reply is a copy, as in a server that writes it to a socket after the lock is gone. */
static void get(uint32_t key)
{
	unsigned char *reply = NULL;

	pthread_mutex_lock(&stripe[key % STRIPES]);
	if (table[key]) {
		uint32_t bytes = bench_check(table[key]->bytes, key);

		reply = bench_need(malloc(bytes), bytes);
		memcpy(reply, table[key]->bytes, bytes);
	}
	pthread_mutex_unlock(&stripe[key % STRIPES]);
	if (reply)
		bench_check(reply, key);
	free(reply);
}

static void one_request(struct worker *w)
{
	uint32_t r = bench_next(&w->state), key = (r >> 4) % keys;
	char *line = bench_need(malloc(64), 64);

	snprintf(line, 64, "%s key:%u", r % 4 ? "GET" : "SET", key);
	line = bench_need(realloc(line, 64 + r % 192), 256);
	if (line[0] == 'S')
		set(w, key);
	else
		get(key);
	free(line);
	w->requests++;
}

/* Sleeps as long as requests are ahead of the rate. */
static void pace(const struct worker *w, double start)
{
	double ahead = (double)w->requests / (double)rate - (bench_now() - start);

	if (ahead > 0)
		usleep((useconds_t)(ahead * 1e6));
}

static void *work(void *arg)
{
	struct worker *w = arg;
	double start = bench_now();

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		for (unsigned i = 0; i < BATCH; i++)
			one_request(w);
		if (rate)
			pace(w, start);
	}
	return NULL;
}

static void start_workers(struct worker *w, unsigned threads, uint32_t seed)
{
	for (unsigned i = 0; i < STRIPES; i++)
		pthread_mutex_init(&stripe[i], NULL);
	for (unsigned i = 0; i < threads; i++) {
		w[i].state = bench_seed(seed, i);
		if (pthread_create(&w[i].id, NULL, work, &w[i])) {
			fprintf(stderr, "workload: cannot start thread %u\n", i);
			exit(1);
		}
	}
}

/* Signals were blocked before the first thread, so they arrive here and nowhere else. */
static void wait_for_end(const sigset_t *signals, unsigned seconds)
{
	struct timespec limit = {.tv_sec = seconds};
	int sig;

	if (seconds)
		sigtimedwait(signals, NULL, &limit);
	else
		sigwait(signals, &sig);
	atomic_store(&stop, true);
}

static void empty_table(void)
{
	for (uint32_t k = 0; k < keys; k++) {
		if (table[k])
			bench_check(table[k]->bytes, k);
		free(table[k]);
	}
	free(table);
}

int main(int argc, char **argv)
{
	unsigned threads = (unsigned)bench_arg(argc, argv, 1, 4, 1, MAX_THREADS);
	unsigned seconds = (unsigned)bench_arg(argc, argv, 2, 0, 0, 1u << 30);
	uint32_t seed = (uint32_t)bench_arg(argc, argv, 5, 1, 0, UINT32_MAX);
	static struct worker w[MAX_THREADS];
	uint64_t requests = 0, foreign = 0;
	sigset_t signals;
	double start;

	keys = (uint32_t)bench_arg(argc, argv, 3, 20000, 1, 1u << 28);
	rate = bench_arg(argc, argv, 4, 0, 0, 1000000000);
	table = bench_need(calloc(keys, sizeof(struct value *)), keys);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	start = bench_now();
	start_workers(w, threads, seed);
	wait_for_end(&signals, seconds);
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(w[i].id, NULL);
		requests += w[i].requests;
		foreign += w[i].foreign;
	}
	printf("workload threads=%u keys=%u foreign_frees=%llu", threads, keys,
	       (unsigned long long)foreign);
	bench_report(requests, bench_now() - start);
	empty_table();
	return 0;
}
