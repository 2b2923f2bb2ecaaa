/*
 * Patterns of allocation whose live bytes are known at every moment, and how much memory the
 * process had meanwhile: watched from outside, by the parent process.
 *
 * usage: bounded PATTERN [MiB=128] [rounds] [threads=4]
 *   threads  lives of threads (rounds, in thousands), some at a time, over one set of blocks
 *   pipe     half of the threads allocate, the others free; sizes drift, consumers pause
 *   wave     one thread grows to MiB and shrinks to a tenth, again and again
 *   mixes    the same, with another mix of sizes each time, while a tenth of the old stays
 *   shift    fills MiB with blocks of one size, frees them, goes on with the next size
 *   pin      the same, but of each 64 KiB one block stays
 *   robson   a program that forces much on any allocator that does not move blocks
 *
 * Lines "progress rss_kib live_kib" (progress: 0 to 10000, then 2 seconds with little to do, to
 * 12000), and at last one of totals. All memory is in use: every OS page of a block is written to.
 */
#include <sched.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define OS_PAGE 4096u
#define SAMPLE_US 3000
#define WORK 10000u /* progress when the pattern has ended */
#define SETTLED 12000u
#define SETTLE_S 2
#define STEP ((size_t)65536) /* pin: a block of each of these stays */

/* What the worker says about itself; the only memory the two processes share. */
struct board {
	int64_t live, peak; /* bytes asked for */
	uint64_t progress;
	int ready;
};

struct slot {
	void *p;
	size_t bytes;
};

static struct board *board;
static struct slot *slots; /* in memory of our own, so that it does not count */
static size_t capacity, used;
static size_t goal; /* bytes */
static uint64_t rounds;
static unsigned threads;

static void count(int64_t by)
{
	int64_t live = __atomic_add_fetch(&board->live, by, __ATOMIC_RELAXED);
	int64_t peak = __atomic_load_n(&board->peak, __ATOMIC_RELAXED);

	while (live > peak && !__atomic_compare_exchange_n(&board->peak, &peak, live, 1,
							   __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static void progress(uint64_t done, uint64_t all)
{
	__atomic_store_n(&board->progress, done * WORK / all, __ATOMIC_RELAXED);
}

/* bytes: at least 16; they stand in the block, for who frees it */
static void *make(size_t bytes)
{
	char *p = bench_need(malloc(bytes), bytes);

	for (size_t i = 0; i < bytes; i += OS_PAGE)
		p[i] = 1;
	p[bytes - 1] = 1;
	memcpy(p, &bytes, sizeof(bytes));
	count((int64_t)bytes);
	return p;
}

static void drop(void *p)
{
	size_t bytes;

	if (!p)
		return;
	memcpy(&bytes, p, sizeof(bytes));
	count(-(int64_t)bytes);
	free(p);
}

static void *own_memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		perror("bounded: mmap");
		exit(1);
	}
	return p;
}

/* Most are small, some are not: 16 bytes to 2^top, all lengths of the number as likely. */
static size_t any_size(uint32_t *state, unsigned top)
{
	unsigned bits = 4 + bench_next(state) % (top - 4);

	return ((size_t)1 << bits) + bench_next(state) % ((size_t)1 << bits);
}

/* The slot at random, after the one before has been taken to its place. */
static struct slot *pick(size_t last, uint32_t *state)
{
	size_t i = bench_next(state) % (last + 1);
	struct slot s = slots[i];

	slots[i] = slots[last];
	slots[last] = s;
	return &slots[last];
}

static void add(size_t bytes)
{
	if (used == capacity) {
		fprintf(stderr, "bounded: more than %zu blocks\n", capacity);
		exit(1);
	}
	slots[used++] = (struct slot){make(bytes), bytes};
}

static size_t live(void)
{
	return (size_t)__atomic_load_n(&board->live, __ATOMIC_RELAXED);
}

static void *one_life(void *arg)
{
	uint32_t *state = arg;

	for (int i = 0; i < 40; i++) {
		struct slot *s = &slots[bench_next(state) % used];

		drop(__atomic_exchange_n(&s->p, make(any_size(state, 14)), __ATOMIC_ACQ_REL));
	}
	return NULL;
}

struct line {
	uint32_t state;
} BENCH_APART;

/* Threads one after the other; several such lines side by side. */
static void *lives(void *arg)
{
	struct line *l = arg;
	uint64_t n = rounds * 1000 / threads;

	for (uint64_t i = 0; i < n; i++) {
		bench_threads(1, one_life, &l->state, sizeof(l->state));
		if (l->state % 16 == 0)
			progress(i, n);
	}
	return NULL;
}

static void in_threads(void *(*f)(void *))
{
	struct line line[256];

	for (unsigned i = 0; i < threads; i++)
		line[i].state = bench_seed(5, i);
	bench_threads(threads, f, line, sizeof(line[0]));
}

static void churn(void)
{
	uint32_t state = 3;

	used = goal / 2455; /* bytes of a block, on average */
	for (size_t i = 0; i < used; i++)
		slots[i].p = make(any_size(&state, 14));
	in_threads(lives);
}

/* One allocates, one frees, through a ring that is a part of the slots. */
struct pair {
	struct slot *ring;
	size_t depth;
	uint64_t put, got;
	uint32_t state;
} BENCH_APART;

static bool has_room(const struct pair *r, uint64_t n, size_t bytes)
{
	return n - __atomic_load_n(&r->got, __ATOMIC_ACQUIRE) < r->depth && live() + bytes <= goal;
}

static void *produce(void *arg)
{
	struct pair *r = arg;
	uint64_t n = rounds * 100000 / (threads / 2);

	for (uint64_t i = 0; i < n; i++) {
		unsigned top = 6 + (unsigned)(i * 40 / n) % 10; /* drifts, four times over */
		size_t bytes = any_size(&r->state, top);

		while (!has_room(r, i, bytes))
			sched_yield();
		r->ring[i % r->depth].p = make(bytes);
		__atomic_store_n(&r->put, i + 1, __ATOMIC_RELEASE);
		if (i % 256 == 0)
			progress(i, n);
	}
	return NULL;
}

static void *consume(void *arg)
{
	struct pair *r = arg;
	uint64_t i = 0, n = rounds * 100000 / (threads / 2);

	while (i < n) {
		if (i == __atomic_load_n(&r->put, __ATOMIC_ACQUIRE)) {
			sched_yield();
			continue;
		}
		drop(r->ring[i % r->depth].p);
		__atomic_store_n(&r->got, ++i, __ATOMIC_RELEASE);
		if (i % 50000 == 0)
			usleep(20000); /* the queue fills */
	}
	return NULL;
}

static void pipes(void)
{
	unsigned n = threads / 2;
	struct pair *pairs = own_memory(n * sizeof(struct pair));
	pthread_t t[256];

	for (unsigned i = 0; i < n; i++)
		pairs[i] = (struct pair){.ring = slots + i * (capacity / n),
					 .depth = capacity / n,
					 .state = bench_seed(7, i)};
	for (unsigned i = 0; i < 2 * n; i++)
		if (pthread_create(&t[i], NULL, i % 2 ? produce : consume, &pairs[i / 2]))
			exit(1);
	for (unsigned i = 0; i < 2 * n; i++)
		pthread_join(t[i], NULL);
}

static void grow_to(size_t most, unsigned top, uint32_t *state)
{
	size_t bytes;

	while (live() + (bytes = any_size(state, top)) <= most)
		add(bytes);
}

static void shrink_to(size_t most, uint32_t *state)
{
	while (used && live() > most) {
		drop(pick(used - 1, state)->p);
		used--;
	}
}

/* tops: of four mixes of sizes, in turn */
static void go_up_and_down(const unsigned tops[4])
{
	uint32_t state = 11;

	for (uint64_t i = 0; i < rounds; i++) {
		grow_to(goal, tops[i % 4], &state);
		progress(2 * i + 1, 2 * rounds);
		shrink_to(goal / 10, &state);
		progress(2 * i + 2, 2 * rounds);
	}
	shrink_to(0, &state);
}

static void wave(void)
{
	static const unsigned same[4] = {15, 15, 15, 15};

	go_up_and_down(same);
}

static void mixes(void)
{
	static const unsigned others[4] = {8, 12, 16, 20};

	go_up_and_down(others);
}

/* Every class of block, and beyond: four sizes to each doubling from 16 bytes to 16 MiB. */
#define SIZES 81u

/* Multiples of 16: what is between two of them costs the higher one with any allocator. */
static size_t nth_size(unsigned i)
{
	return (((size_t)16 << i / 4) + ((size_t)4 << i / 4) * (i % 4) + 15) / 16 * 16;
}

/* Ascending in one round, in no order in the next. */
static unsigned which(uint64_t round, unsigned i)
{
	return round % 2 ? i * 37 % SIZES : i;
}

static void fill(size_t bytes)
{
	while (live() + bytes <= goal)
		add(bytes);
}

static void shift(void)
{
	uint32_t state = 13;

	for (uint64_t i = 0; i < rounds * SIZES; i++) {
		fill(nth_size(which(i / SIZES, i % SIZES)));
		shrink_to(0, &state);
		progress(i + 1, rounds * SIZES);
	}
}

/* Of the blocks from the `first` on, those for which stays() is false are freed. */
static void keep_some(size_t first, bool (*stays)(const struct slot *, uintptr_t *), uintptr_t *arg)
{
	size_t n = first;

	for (size_t i = first; i < used; i++) {
		if (stays(&slots[i], arg))
			slots[n++] = slots[i];
		else
			drop(slots[i].p);
	}
	used = n;
}

/* One of each STEP of addresses; last: where the one before lay. */
static bool pins(const struct slot *s, uintptr_t *last)
{
	uintptr_t here = (uintptr_t)s->p / STEP;

	if (here == *last)
		return false;
	*last = here;
	return true;
}

#define PIN_SIZES 41u /* to 16 KiB */

static void pin(void)
{
	uint32_t state = 17;

	for (uint64_t i = 0; i < rounds * PIN_SIZES; i++) {
		uintptr_t last = 0;
		size_t first = used;

		fill(nth_size((unsigned)(i % PIN_SIZES)));
		keep_some(first, pins, &last);
		progress(i + 1, rounds * PIN_SIZES);
		if (i % PIN_SIZES == PIN_SIZES - 1 && i + 1 < rounds * PIN_SIZES)
			shrink_to(0, &state);
	}
}

#define WORD 16u
#define ROBSON_STEPS 11u /* 16 bytes to 32 KiB */

struct residue {
	uintptr_t word, every;
};

/* The block covers a word whose number leaves this rest. */
static bool covers(const struct slot *s, const struct residue *r)
{
	return ((r->word - (uintptr_t)s->p / WORD) & (r->every - 1)) < s->bytes / WORD;
}

static bool covers_one(const struct slot *s, uintptr_t *arg)
{
	return covers(s, (const struct residue *)(const void *)arg);
}

/* What cannot be used for blocks of so many words, if the blocks that cover r stay. */
static size_t spoiled(const struct residue *r)
{
	size_t words = 0;

	for (size_t i = 0; i < used; i++)
		if (covers(&slots[i], r))
			words += r->every - slots[i].bytes / WORD;
	return words;
}

/*
 * J. M. Robson, Bounds for some functions concerning dynamic storage allocation, 1974: blocks of
 * twice the size at each step; what stays spoils most of what was freed. Whatever the allocator
 * does, so long as it does not move blocks, with n steps it needs (n / 2 + 1) times the live bytes.
 */
static void robson(void)
{
	struct residue r = {0, 1};

	fill(WORD);
	for (unsigned i = 1; i <= ROBSON_STEPS; i++) {
		struct residue other;

		r.every = (uintptr_t)1 << i;
		other = (struct residue){r.word + r.every / 2, r.every};
		if (spoiled(&other) > spoiled(&r))
			r = other;
		keep_some(0, covers_one, (uintptr_t *)(void *)&r);
		fill((size_t)WORD << i);
		progress(i, ROBSON_STEPS);
	}
}

/* A program that has come to rest still does something now and then. */
static void settle(void)
{
	uint32_t state = 19;
	double start = bench_now(), spent;
	void *p[100];

	while ((spent = bench_now() - start) < SETTLE_S) {
		for (int i = 0; i < 100; i++)
			p[i] = make(any_size(&state, 14));
		for (int i = 0; i < 100; i++)
			drop(p[i]);
		usleep(5000);
		__atomic_store_n(&board->progress,
				 WORK + (uint64_t)(spent / SETTLE_S * (SETTLED - WORK)),
				 __ATOMIC_RELAXED);
	}
}

static const struct pattern {
	const char *name;
	void (*run)(void);
	unsigned long rounds; /* by default */
} patterns[] = {
	{"threads", churn, 30}, {"pipe", pipes, 100}, {"wave", wave, 12},    {"mixes", mixes, 12},
	{"shift", shift, 6},	{"pin", pin, 3},      {"robson", robson, 1},
};

static const struct pattern *find_pattern(const char *name)
{
	for (unsigned i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		if (!strcmp(patterns[i].name, name))
			return &patterns[i];
	fprintf(stderr,
		"bounded: no pattern '%s': threads, pipe, wave, mixes, shift, pin, robson\n", name);
	exit(2);
}

/* Private memory of a process that is resident, in KiB; 0 when it is gone. */
static size_t anon_kib(pid_t pid)
{
	unsigned long resident = 0, shared = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	f = fopen(path, "r");
	if (f && fscanf(f, "%*u %lu %lu", &resident, &shared) != 2)
		resident = shared = 0;
	if (f)
		fclose(f);
	return (resident - shared) * (OS_PAGE / 1024);
}

#define PARTS 4u /* of a third of the work */

/* KiB; the peaks of every part of the middle third, then of the last */
struct seen {
	size_t base, peak, part[2 * PARTS], settled;
};

static void note(struct seen *s, size_t kib, uint64_t at)
{
	if (kib > s->peak)
		s->peak = kib;
	if (at >= WORK / 3 && at < WORK) {
		size_t *part = &s->part[(at - WORK / 3) * 2 * PARTS / (WORK - WORK / 3)];

		if (kib > *part)
			*part = kib;
	}
	if (kib && at >= WORK + (SETTLED - WORK) * 3 / 4)
		s->settled = kib;
}

static int by_size(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;

	return x < y ? -1 : x > y;
}

/* The parts of a third, lowest peak first; the median of those that were seen at all. */
static size_t usual(size_t part[PARTS])
{
	size_t unseen = 0;

	qsort(part, PARTS, sizeof(part[0]), by_size);
	while (unseen < PARTS - 1 && !part[unseen])
		unseen++;
	return (part[(PARTS - 1 + unseen) / 2] + part[(PARTS + unseen) / 2]) / 2;
}

static size_t above(size_t kib, size_t base)
{
	return kib > base ? kib - base : 0;
}

/* Of the thirds the highest peak of a part, and the usual one. */
static void print_sums(struct seen *s)
{
	size_t *middle = s->part, *last = s->part + PARTS;
	size_t usual_middle = usual(middle), usual_last = usual(last); /* sorted now */

	printf("live_peak=%lld rss_peak=%zu middle=%zu last=%zu settled=%zu"
	       " usual_middle=%zu usual_last=%zu\n",
	       (long long)board->peak / 1024, above(s->peak, s->base),
	       above(middle[PARTS - 1], s->base), above(last[PARTS - 1], s->base),
	       above(s->settled, s->base), above(usual_middle, s->base),
	       above(usual_last, s->base));
}

static int watch(pid_t pid)
{
	struct seen s = {0};
	int status;

	while (!__atomic_load_n(&board->ready, __ATOMIC_ACQUIRE) && !waitpid(pid, &status, WNOHANG))
		usleep(SAMPLE_US);
	s.base = anon_kib(pid);
	__atomic_store_n(&board->ready, 2, __ATOMIC_RELEASE);
	while (!waitpid(pid, &status, WNOHANG)) {
		uint64_t at = __atomic_load_n(&board->progress, __ATOMIC_RELAXED);
		size_t kib = anon_kib(pid);

		if (kib) {
			note(&s, kib, at);
			printf("%llu %zu %zu\n", (unsigned long long)at, kib - s.base,
			       live() / 1024);
		}
		usleep(SAMPLE_US);
	}
	print_sums(&s);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void work(const struct pattern *p)
{
	__atomic_store_n(&board->ready, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&board->ready, __ATOMIC_ACQUIRE) == 1)
		usleep(SAMPLE_US);
	p->run();
	settle();
	_exit(0);
}

int main(int argc, char **argv)
{
	const struct pattern *p = find_pattern(argc > 1 ? argv[1] : "");
	pid_t pid;

	goal = bench_arg(argc, argv, 2, 128, 1, 65536) << 20;
	rounds = bench_arg(argc, argv, 3, p->rounds, 1, 1000000);
	threads = (unsigned)bench_arg(argc, argv, 4, 4, 2, 256);
	capacity = goal / WORD;
	slots = own_memory(capacity * sizeof(*slots));
	board = own_memory(OS_PAGE);
	pid = fork();
	if (pid < 0) {
		perror("bounded: fork");
		return 1;
	}
	if (!pid)
		work(p);
	return watch(pid);
}
