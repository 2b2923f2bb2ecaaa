/*
 * A fuzz target for libFuzzer: operations on the heap against a model of it. The model knows of
 * every block its address, the bytes asked for, its usable size and its contents; whatever
 * differs ends the process with a line that says what.
 *
 * An input is a byte of flags and operations of 2 to 6 bytes each: what, which slot, sizes.
 *   flags & 3   0 one thread; 1 two that take turns, each operation says which: the same input
 *               does the same thing again; 2 and 3 two at once, each with half of the input and
 *               slots of its own, which hand blocks to each other
 *   flags & 4   the heap is trimmed first
 *   flags & 8   the operations are done twice
 *
 * Under AddressSanitizer the bytes of live blocks are poisoned while the program does not look at
 * them: a library that touches what is not its own stops at the instruction that does.
 *
 * With -DPLANT the environment's PLANT names a bug that is planted between the library and the
 * model (see plant()), to see that the fuzzer finds it.
 */
#include "hakmem.h"
#include "class.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#endif
#endif
#ifndef POISON
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif

/* The model's own loops: their comparisons would be most of what the fuzzer is told of. */
#define UNWATCHED __attribute__((no_sanitize("coverage")))

#define SLOTS 256
#define HANDS 16
#define LIVE_BYTES ((size_t)64 << 20) /* of a side; a larger request is made a small one */
#define WHOLE ((size_t)8192)	      /* a block up to this is filled, of others a part */
#define ERRNO 12345		      /* no operation that succeeds changes it */

enum { ONE, TURNS, BOTH };
enum what {
	MALLOC,
	CALLOC,
	REALLOC,
	FREE,
	ALIGNED,
	AT,
	MALLOCS,
	FREES,
	VERIFY,
	HAND,
	THREAD,
	TRIM,
	CHECK,
	COUNT,
	NOTHING,
	MALLOC_AGAIN
};

struct block {
	unsigned char *p;
	size_t bytes, usable, filled;
	uint8_t mark;
};

struct side {
	const uint8_t *at, *end;
	struct block slot[SLOTS];
	size_t live_bytes;
	uint64_t live, usable;
	bool alone; /* nobody else allocates meanwhile: the library's counts are known */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct side sides[2];
static struct {
	pthread_mutex_t lock;
	struct block block;
} hand[HANDS];
static struct hak_snapshot before;
static bool secure;

_Noreturn static void fail(const char *what, const struct block *b)
{
	fprintf(stderr, "fuzz: %s", what);
	if (b)
		fprintf(stderr, ": %zu bytes at %p, usable %zu", b->bytes, (void *)b->p, b->usable);
	fprintf(stderr, "\n");
	abort();
}

UNWATCHED static void must(bool true_, const char *what, const struct block *b)
{
	if (!true_)
		fail(what, b);
}

static uint8_t next(struct side *s)
{
	return s->at < s->end ? *s->at++ : 0;
}

static size_t special(uint32_t i)
{
	static const size_t sizes[] = {0,
				       SIZE_MAX,
				       SIZE_MAX - 15,
				       SIZE_MAX / 2,
				       SIZE_MAX / 2 + 1,
				       SIZE_MAX / 4,
				       (size_t)1 << 47,
				       (size_t)1 << 46,
				       65535,
				       65536,
				       65537,
				       524287,
				       524288,
				       524289,
				       2097151,
				       2097152,
				       2097153,
				       4194303,
				       4194304,
				       4194305,
				       65528,
				       65529,
				       8388608,
				       1048576};

	return sizes[i % (sizeof(sizes) / sizeof(sizes[0]))];
}

static size_t size_by(struct side *s)
{
	uint32_t kind = next(s), n = kind >> 3 | (uint32_t)next(s) << 5;

	switch (kind & 7) {
	case 0:
	case 1:
		return n % 1025;
	case 2:
		return n;
	case 3:
		return n * (size_t)8;
	case 4:
		return hak_class_bytes[1 + n % (HAK_CLASSES - 1)] + n / HAK_CLASSES % 3 - 1;
	case 5:
		return n * (size_t)64;
	case 6:
		return n * (size_t)1024;
	default:
		return special(n);
	}
}

/* What there is room for; what nobody can have is asked for all the same. */
static size_t within(const struct side *s, size_t n)
{
	return n > LIVE_BYTES || s->live_bytes + n <= LIVE_BYTES ? n : n % 4096;
}

/* Bytes of a block are looked at in pieces: all of a small one, the ends and a bit of others. */
UNWATCHED static size_t piece_at(size_t i, size_t n)
{
	return n <= WHOLE || i < WHOLE / 2 || i >= n - WHOLE / 2 ? i
	       : i + 65536 < n - WHOLE / 2			 ? (i + 65535) & ~(size_t)65535
								 : n - WHOLE / 2;
}

UNWATCHED static unsigned char pattern(const struct block *b, size_t i)
{
	return (unsigned char)(b->mark + i * 7 + (i >> 8));
}

UNWATCHED static void fill(struct block *b, size_t n)
{
	b->filled = n;
	for (size_t i = 0; i < n; i = piece_at(i + 1, n))
		b->p[i] = pattern(b, i);
	POISON(b->p, b->usable);
}

/* The first n bytes are as they were filled; the block may be looked at from here on. */
UNWATCHED static void verify(const struct block *b, size_t n, const char *what)
{
	UNPOISON(b->p, b->usable);
	for (size_t i = 0; i < n; i = piece_at(i + 1, b->filled))
		must(b->p[i] == pattern(b, i), what, b);
}

UNWATCHED static void verify_all(struct side *s)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		struct block *b = &s->slot[i];

		if (!b->p)
			continue;
		verify(b, b->filled, "contents of a block changed");
		must(hak_usable_size(b->p) == b->usable, "usable size changed", b);
		POISON(b->p, b->usable);
	}
}

#ifdef PLANT
static const char *planted;

/* Once sizes are in a certain range; PLANT=contents, overlap, zero, usable, lost, errno, align. */
static bool plant(const char *name, size_t bytes)
{
	return planted && !strcmp(planted, name) && bytes > 2000 && bytes % 2;
}

static void plant_late(struct side *s, struct block *b)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (plant("contents", b->bytes) && s->slot[i].p && s->slot[i].filled > 10) {
			UNPOISON(s->slot[i].p, 16);
			s->slot[i].p[9] ^= 1;
			POISON(s->slot[i].p, s->slot[i].usable);
			return;
		}
}
#else
#define plant(name, bytes) false
#define plant_late(s, b) ((void)0)
#endif

UNWATCHED static void must_not_overlap(const struct side *s, const struct block *b)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		const struct block *o = &s->slot[i];

		if (o != b && o->p && b->p < o->p + o->usable && o->p < b->p + b->usable)
			fail("two blocks overlap", b);
	}
}

/* The answer to a request that is not wrong in itself: false if there is no block. */
static bool answered(void *p, size_t bytes)
{
	if (p) {
		must(bytes <= PTRDIFF_MAX, "an impossible request was served", NULL);
		must(errno == ERRNO, "errno changed by success", NULL);
		if (bytes <= LIVE_BYTES)
			return true;
		hak_free(p); /* where the system promises more than it has */
		return false;
	}
	must(errno == ENOMEM, "errno is not ENOMEM", NULL);
	must(bytes > LIVE_BYTES, "out of memory", NULL);
	return false;
}

/* A new block enters the model, in an empty slot. */
static void enter(struct side *s, struct block *b, void *p, size_t bytes, size_t alignment)
{
	static const struct block none;
	size_t usable = hak_usable_size(p);

	*b = none;
	b->p = plant("align", bytes) ? (unsigned char *)p + 8 : p;
	b->bytes = bytes;
	b->usable = plant("usable", bytes) ? bytes - 1 : usable;
	must((uintptr_t)b->p % alignment == 0 && (uintptr_t)b->p % 16 == 0, "misaligned", b);
	must(b->usable >= bytes, "usable size below the size", b);
	/* a realloc leaves a block in place that is up to twice as long; slices are 64 KiB */
	must(alignment > 16 || b->usable <= 2 * bytes + 65536, "far too large", b);
	must_not_overlap(s, b);
	b->mark = next(s);
	s->live++;
	s->usable += b->usable;
	s->live_bytes += b->usable;
	fill(b, b->mark & 1 ? b->usable : bytes);
	plant_late(s, b);
}

static void leave(struct side *s, struct block *b)
{
	s->live--;
	s->usable -= b->usable;
	s->live_bytes -= b->usable;
	b->p = NULL;
}

static void give(struct side *s, struct block *b, bool at)
{
	void *p = b->p;

	if (!p)
		return;
	verify(b, b->filled, "contents of a block changed");
	must(hak_usable_size(p) == b->usable, "usable size changed", b);
	leave(s, b);
	if (plant("lost", b->bytes))
		return;
	errno = ERRNO;
	if (at)
		hak_free_at(p, "fuzz");
	else
		hak_free(p);
	if (plant("errno", b->bytes))
		errno = EINVAL;
	must(errno == ERRNO, "errno changed by free", NULL);
}

static void take(struct side *s, struct block *b, size_t n, bool at)
{
	void *p;

	give(s, b, false);
	n = within(s, n);
	errno = ERRNO;
	p = at ? hak_alloc_at(n, "fuzz") : hak_malloc(n);
	if (s->alone && plant("overlap", n)) /* two at once: a race with another message */
		for (unsigned i = 0; i < SLOTS; i++)
			if (s->slot[i].p && s->slot[i].usable >= n && s->slot[i].usable <= 2 * n)
				p = s->slot[i].p; /* longer: "far too large" would be said first */
	if (answered(p, n))
		enter(s, b, p, n, 16);
}

UNWATCHED static void must_be_zero(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			fail("calloc's memory is not zero", NULL);
}

static void take_zeroed(struct side *s, struct block *b)
{
	size_t count = next(s), n = size_by(s), total;
	unsigned char *p;

	give(s, b, false);
	n = count && n / count < LIVE_BYTES ? within(s, n) / count : n;
	if (__builtin_mul_overflow(count, n, &total))
		total = SIZE_MAX;
	errno = ERRNO;
	p = hak_calloc(count, n);
	if (!answered(p, total))
		return;
	if (plant("zero", total))
		p[total - 1] = 1;
	must_be_zero(p, total);
	enter(s, b, p, total, 16);
}

static void take_aligned(struct side *s, struct block *b)
{
	uint8_t shift = next(s);
	size_t alignment = (size_t)1 << (shift & 32 ? shift & 63 : shift & 31) % 64, n = size_by(s);
	void *p;

	give(s, b, false);
	n = within(s, n);
	if (shift & 128)
		alignment += shift & 64 ? alignment / 2 : -alignment;
	errno = ERRNO;
	p = hak_aligned_alloc(alignment, n);
	if (!alignment || alignment & (alignment - 1)) {
		must(!p && errno == EINVAL, "no EINVAL for a bad alignment", NULL);
		return;
	}
	if (alignment > LIVE_BYTES && !p)
		must(errno == ENOMEM, "errno is not ENOMEM", NULL);
	else if (answered(p, n))
		enter(s, b, p, n, alignment);
}

/* A block changes its size; without memory it stays. */
static void resize(struct side *s, struct block *b, size_t n)
{
	struct block was = *b;
	void *p;

	n = within(s, n);
	if (was.p)
		verify(b, b->filled, "contents of a block changed");
	errno = ERRNO;
	p = hak_realloc(was.p, n);
	if (was.p && !n) {
		must(!p && errno == ERRNO, "realloc to nothing", NULL);
		leave(s, b);
		return;
	}
	if (!answered(p, n)) {
		must(!p || !was.p, "realloc to too much", NULL);
		if (was.p)
			POISON(was.p, was.usable);
		return;
	}
	if (was.p) {
		leave(s, b);
		was.p = p;
		was.usable = hak_usable_size(p);
		verify(&was, was.filled < n ? was.filled : n, "realloc lost contents");
	}
	enter(s, b, p, n, 16);
}

static void take_many(struct side *s, unsigned first)
{
	unsigned n = next(s);
	size_t bytes = size_by(s);

	for (unsigned i = 0; i < n; i++)
		take(s, &s->slot[(first + i) % SLOTS], bytes, false);
}

/* In some order: every slot of a range, those of every other first if asked to. */
static void give_many(struct side *s, unsigned first)
{
	unsigned n = next(s), order = next(s), stride = 2 * (order % 4) + 1;

	for (unsigned i = 0; i < n; i++) {
		unsigned k = order & 4 ? n - 1 - i : i * stride;

		give(s, &s->slot[(first + k) % SLOTS], false);
	}
}

static void count_blocks(const struct side *s)
{
	static struct hak_snapshot now;
	uint64_t live = 0;

	if (!s->alone)
		return;
	hak_snapshot(&now);
	for (unsigned c = 0; c < now.classes; c++)
		live += now.class_[c].live_blocks - before.class_[c].live_blocks;
	must(live == s->live, "the library counts other blocks than there are", NULL);
	/* secure: usable is what was asked for */
	must(secure || now.live_bytes - before.live_bytes == s->usable,
	     "the library counts other bytes than there are", NULL);
}

/* With two threads at once: a block for one that the other left, or for none. */
static void hand_over(struct side *s, struct block *b)
{
	unsigned i = next(s);
	struct block other;

	if (s->alone) {
		other = s->slot[i];
		s->slot[i] = *b;
		*b = other;
		return;
	}
	pthread_mutex_lock(&hand[i % HANDS].lock);
	other = hand[i % HANDS].block;
	hand[i % HANDS].block = *b;
	pthread_mutex_unlock(&hand[i % HANDS].lock);
	if (b->p)
		leave(s, b);
	*b = other;
	if (b->p) {
		s->live++;
		s->usable += b->usable;
		s->live_bytes += b->usable;
		must_not_overlap(s, b);
	}
}

static void end_other(void);

static void do_nothing(void)
{
	errno = ERRNO;
	hak_free(NULL);
	must(hak_usable_size(NULL) == 0, "NULL has a size", NULL);
	must(errno == ERRNO, "errno changed by free(NULL)", NULL);
}

static void step(struct side *s, enum what what)
{
	unsigned i = next(s);
	struct block *b = &s->slot[i];

	switch (what) {
	case MALLOC:
	case MALLOC_AGAIN:
		take(s, b, size_by(s), false);
		break;
	case AT:
		if (b->p)
			give(s, b, true);
		else
			take(s, b, size_by(s), true);
		break;
	case CALLOC:
		take_zeroed(s, b);
		break;
	case REALLOC:
		resize(s, b, size_by(s));
		break;
	case FREE:
		give(s, b, false);
		break;
	case ALIGNED:
		take_aligned(s, b);
		break;
	case MALLOCS:
		take_many(s, i);
		break;
	case FREES:
		give_many(s, i);
		break;
	case VERIFY:
		verify_all(s);
		break;
	case HAND:
		hand_over(s, b);
		break;
	case TRIM:
		hak_trim();
		break;
	case CHECK:
		must(hak_check() == 0, "hak_check", NULL);
		break;
	case COUNT:
		count_blocks(s);
		break;
	case THREAD: /* see run_turns */
	case NOTHING:
		do_nothing();
	}
}

/* The second of two threads that take turns. */
static struct {
	pthread_t thread;
	sem_t go, done;
	bool runs, quit;
	enum what what;
} other;

static void *other_main(void *arg)
{
	for (;;) {
		while (sem_wait(&other.go))
			;
		if (other.quit)
			return NULL;
		step(arg, other.what);
		sem_post(&other.done);
	}
}

static void step_other(struct side *s, enum what what)
{
	if (!other.runs) {
		other.quit = false;
		must(!pthread_create(&other.thread, NULL, other_main, s), "no thread", NULL);
		other.runs = true;
	}
	other.what = what;
	sem_post(&other.go);
	while (sem_wait(&other.done))
		;
}

static void end_other(void)
{
	if (!other.runs)
		return;
	other.quit = true;
	sem_post(&other.go);
	pthread_join(other.thread, NULL);
	other.runs = false;
}

static void give_all(struct side *s)
{
	for (unsigned i = 0; i < SLOTS; i++)
		give(s, &s->slot[i], false);
}

static void run_turns(struct side *s, bool turns)
{
	while (s->at < s->end) {
		uint8_t op = next(s);
		enum what what = op & 15;

		if (what == THREAD)
			end_other();
		if (turns && op & 16)
			step_other(s, what);
		else
			step(s, what);
	}
	end_other();
}

static uint32_t ready;

static void *run_one_of_two(void *arg)
{
	struct side *s = arg;

	__atomic_fetch_add(&ready, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&ready, __ATOMIC_ACQUIRE) < 2)
		sched_yield();
	while (s->at < s->end)
		step(s, next(s) & 15);
	give_all(s);
	return NULL;
}

static void run_both(const uint8_t *data, size_t size)
{
	pthread_t t;

	for (unsigned i = 0; i < 2; i++) {
		sides[i].alone = false;
		sides[i].at = data + size / 2 * i;
		sides[i].end = i ? data + size : data + size / 2;
	}
	ready = 0;
	must(!pthread_create(&t, NULL, run_one_of_two, &sides[1]), "no thread", NULL);
	run_one_of_two(&sides[0]);
	pthread_join(t, NULL);
	for (unsigned i = 0; i < HANDS; i++) {
		struct block *b = &hand[i].block;

		if (!b->p)
			continue;
		sides[0].slot[i] = *b;
		sides[0].live++;
		sides[0].usable += b->usable;
		sides[0].live_bytes += b->usable;
		b->p = NULL;
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *on = getenv("HAKMEM_SECURE");

	(void)argc;
	(void)argv;
	secure = on && *on == '1';
#ifdef PLANT
	planted = getenv("PLANT");
#endif
	sem_init(&other.go, 0, 0);
	sem_init(&other.done, 0, 0);
	for (unsigned i = 0; i < HANDS; i++)
		pthread_mutex_init(&hand[i].lock, NULL);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct side *s = &sides[0];
	uint8_t flags = size ? *data++ : 0, how = flags & 3;

	if (size)
		size--;
	if (flags & 4)
		hak_trim();
	hak_snapshot(&before);
	for (int again = 0; again < (flags & 8 ? 2 : 1); again++) {
		if (how >= BOTH) {
			run_both(data, size);
		} else {
			s->alone = true;
			s->at = data;
			s->end = data + size;
			run_turns(s, how == TURNS);
		}
	}
	s->alone = true;
	s->at = s->end;
	give_all(s);
	must(hak_check() == 0, "hak_check", NULL);
	count_blocks(s);
	return 0;
}
