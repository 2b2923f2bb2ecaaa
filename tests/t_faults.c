/*
 * The system calls the allocator makes, refused one occurrence after the other.   timeout: 400
 *
 * The linker puts our wrappers around the library's calls. `t_faults` runs itself: once to count
 * the calls of a workload, then for each n with the n-th call of a kind refused (of more
 * than 150 every second, third ...; FAULTS_ALL=1: each), and with all calls from one on, of every
 * kind and of one; all of it with HAKMEM_SECURE=1 once more. The workload says what it found in one
 * line, empty if everything was right.
 */
#include "hakmem.h"
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

/* kinds of calls, and what the system says when it refuses one */
#define KINDS(X)               \
	X(MMAP, ENOMEM)        \
	X(MUNMAP, ENOMEM)      \
	X(MADVISE, EAGAIN)     \
	X(MPROTECT, ENOMEM)    \
	X(MREMAP, ENOMEM)      \
	X(GETRANDOM, EAGAIN)   \
	X(FUTEX, EINTR)        \
	X(GETTID, EPERM)       \
	X(CLOCK, EPERM)        \
	X(SYSINFO, EFAULT)     \
	X(GETRLIMIT, EINVAL)   \
	X(SETSPECIFIC, ENOMEM) \
	X(KEY_CREATE, EAGAIN)  \
	X(ATFORK, ENOMEM)

enum kind {
#define X(name, error) name,
	KINDS(X)
#undef X
		ALL
};
static const char *const kind_names[] = {
#define X(name, error) #name,
	KINDS(X)
#undef X
		"all"};
static const int kind_errors[] = {
#define X(name, error) error,
	KINDS(X)
#undef X
};

/* ---- the plan, read from the environment at the first call, which may be before main ---- */

static struct {
	bool ready, on;
	unsigned kind; /* ALL: any */
	unsigned long first, last;
	unsigned long seen[ALL + 1];
	unsigned long refused;
} plan;

static unsigned long number_of(const char *name, unsigned long otherwise)
{
	const char *s = getenv(name);

	return s ? strtoul(s, NULL, 10) : otherwise;
}

static void read_plan(void)
{
	plan.ready = true;
	plan.kind = (unsigned)number_of("FAULT_KIND", ALL);
	plan.first = number_of("FAULT_FIRST", 0);
	plan.last = number_of("FAULT_LAST", 0);
	plan.on = plan.first != 0;
}

static bool refuse(enum kind kind)
{
	unsigned long n, of_kind;

	if (!plan.ready)
		read_plan();
	/* the clock, asked hundreds of times and rarely by a system call, counts for itself only */
	n = kind == CLOCK ? 0 : __atomic_add_fetch(&plan.seen[ALL], 1, __ATOMIC_RELAXED);
	of_kind = __atomic_add_fetch(&plan.seen[kind], 1, __ATOMIC_RELAXED);
	if (plan.kind != ALL)
		n = plan.kind == kind ? of_kind : 0;
	if (!plan.on || n < plan.first || n > plan.last)
		return false;
	__atomic_add_fetch(&plan.refused, 1, __ATOMIC_RELAXED);
	return true;
}

#define WRAP(type, name, parameters, arguments, kind, failure) \
	type __real_##name parameters;                         \
	type __wrap_##name parameters;                         \
	type __wrap_##name parameters                          \
	{                                                      \
		if (refuse(kind))                              \
			return failure;                        \
		return __real_##name arguments;                \
	}

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's names */
WRAP(int, clock_gettime, (clockid_t clock, struct timespec *t), (clock, t), CLOCK, -1)
WRAP(int, pthread_setspecific, (pthread_key_t key, const void *p), (key, p), SETSPECIFIC, ENOMEM)
WRAP(int, pthread_key_create, (pthread_key_t * key, void (*end)(void *)), (key, end), KEY_CREATE,
     EAGAIN)

WRAP(int, pthread_atfork, (void (*a)(void), void (*b)(void), void (*c)(void)), (a, b, c), ATFORK,
     ENOMEM)

static enum kind kind_of(long number)
{
	switch (number) {
	case SYS_mmap:
		return MMAP;
	case SYS_munmap:
		return MUNMAP;
	case SYS_madvise:
		return MADVISE;
	case SYS_mprotect:
		return MPROTECT;
	case SYS_mremap:
		return MREMAP;
	case SYS_getrandom:
		return GETRANDOM;
	case SYS_futex:
		return FUTEX;
	case SYS_sysinfo:
		return SYSINFO;
	case SYS_prlimit64:
		return GETRLIMIT;
	case SYS_gettid:
		return GETTID;
	default:
		return ALL;
	}
}

long __real_os_call(long number, long a, long b, long c, long d, long e, long f);
long __wrap_os_call(long number, long a, long b, long c, long d, long e, long f);
long __wrap_os_call(long number, long a, long b, long c, long d, long e, long f)
{
	enum kind kind = kind_of(number);

	if (kind == ALL || !refuse(kind))
		return __real_os_call(number, a, b, c, d, e, f);
	/* a move with several mappings, or for want of memory, is refused after the target is gone
	 */
	if (kind == MREMAP)
		__real_os_call(SYS_munmap, e, c, 0, 0, 0, 0);
	return -kind_errors[kind];
}
/* NOLINTEND(bugprone-reserved-identifier) */

/* ---- the workload: what was wrong goes to `wrong`; NULL from an allocation is no fault ---- */

static char wrong[400];
static unsigned long nulls;

#define EXPECT(cond) ((cond) ? true : (complain(__LINE__, #cond), false))

static void complain(int line, const char *what)
{
	size_t n = strlen(wrong);

	if (n < sizeof(wrong) - 80)
		snprintf(wrong + n, sizeof(wrong) - n, "%d: not %s; ", line, what);
}

struct block {
	unsigned char *p;
	size_t bytes;
	uint32_t seed;
};

/* Large blocks: their ends and a byte in each slice. */
static size_t step_of(size_t bytes)
{
	return bytes > 8192 ? 65521 : 1;
}

static void fill(const struct block *b)
{
	for (size_t i = 0; i < b->bytes; i += step_of(b->bytes))
		b->p[i] = (unsigned char)(b->seed + i * 7);
	b->p[b->bytes - 1] = (unsigned char)b->seed;
}

static bool holds(const struct block *b, size_t bytes)
{
	for (size_t i = 0; i < bytes && i < b->bytes - 1; i += step_of(b->bytes))
		if (b->p[i] != (unsigned char)(b->seed + i * 7))
			return false;
	return bytes < b->bytes || b->p[b->bytes - 1] == (unsigned char)b->seed;
}

/* What an allocation gave: a block, or NULL with ENOMEM while faults are on. */
static bool got(struct block *b, void *p, size_t bytes, uint32_t seed)
{
	if (!p) {
		EXPECT(errno == ENOMEM);
		EXPECT(plan.on && plan.refused);
		__atomic_add_fetch(&nulls, 1, __ATOMIC_RELAXED);
		return false;
	}
	*b = (struct block){p, bytes, seed};
	fill(b);
	return true;
}

static void drop(struct block *b)
{
	if (!b->p)
		return;
	EXPECT(holds(b, b->bytes));
	errno = 77;
	free(b->p);
	EXPECT(errno == 77);
	b->p = NULL;
}

static bool is_zero(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i += step_of(n))
		if (p[i])
			return false;
	return true;
}

#define N_SIZES 16
static const size_t sizes[N_SIZES] = {1,       16,	100,	 1000,	 3000,	 9000,
				      30000,   65536,	66000,	 200000, 500000, 600000,
				      1500000, 2200000, 2500000, 3500000};

static void allocate(struct block *b, unsigned k)
{
	size_t n = sizes[k % N_SIZES], alignment = (size_t)16 << k % 18;
	void *p = NULL;

	errno = 0;
	switch (k / N_SIZES % 3) {
	case 0:
		got(b, malloc(n), n, k);
		break;
	case 1:
		p = calloc(1, n);
		EXPECT(!p || is_zero(p, n));
		got(b, p, n, k);
		break;
	default:
		p = aligned_alloc(alignment, n);
		EXPECT(((uintptr_t)p & (alignment - 1)) == 0);
		got(b, p, n, k);
	}
}

static void resize(struct block *b, size_t n)
{
	void *p;

	errno = 0;
	if (!b->p)
		return;
	p = realloc(b->p, n);
	if (!p) {
		EXPECT(errno == ENOMEM && plan.on && plan.refused);
		nulls++;
		EXPECT(holds(b, b->bytes));
		return;
	}
	b->p = p;
	EXPECT(holds(b, n < b->bytes ? n : b->bytes));
	b->bytes = n;
	fill(b);
}

#define N_BLOCKS 64
static struct block blocks[N_BLOCKS], others[N_BLOCKS];

static void whole(void)
{
	EXPECT(hak_check() == 0);
}

static void all_kinds(void)
{
	for (unsigned k = 0; k < N_BLOCKS; k++)
		allocate(&blocks[k], k);
	whole();
	for (unsigned k = 0; k < N_BLOCKS; k += 2)
		drop(&blocks[k]);
	for (unsigned k = 1; k < N_BLOCKS; k += 2)
		resize(&blocks[k], sizes[(k * 7 + 3) % N_SIZES] + 5);
	for (unsigned k = 0; k < N_BLOCKS; k += 2)
		allocate(&blocks[k], k + 1);
	whole();
}

/* One block through all sizes, up and down; and what was freed a moment ago again. */
static void growing(void)
{
	struct block b = {0};

	allocate(&b, 2);
	for (size_t n = 100; n < 3500000; n = n * 2)
		resize(&b, n);
	for (size_t n = 2500000; n > 10; n = n / 4)
		resize(&b, n);
	drop(&b);
	for (unsigned i = 0; i < 3; i++) {
		struct block large[3] = {{0}};

		for (unsigned k = 0; k < 3; k++)
			allocate(&large[k], 13 + (k + i) % 3);
		for (unsigned k = 0; k < 3; k++)
			drop(&large[k]);
	}
	whole();
}

static void *in_thread(void *arg)
{
	struct block *mine = arg == blocks ? others : blocks;

	for (unsigned k = 0; k < N_BLOCKS / 2; k++)
		drop((struct block *)arg + k); /* another's */
	for (unsigned k = 0; k < N_BLOCKS / 2; k++)
		if (!mine[k + N_BLOCKS / 2].p)
			allocate(&mine[k + N_BLOCKS / 2], k);
	whole();
	return NULL;
}

/* One thread after the other: what is counted is the same in each run. */
static void by_thread(struct block *arg)
{
	pthread_t t;

	if (!pthread_create(&t, NULL, in_thread, arg))
		pthread_join(t, NULL);
	else
		EXPECT(plan.refused);
}

static void handed_over(void)
{
	by_thread(others);
	by_thread(blocks);
	by_thread(others);
	whole();
}

static void in_child(void)
{
	pid_t child = fork();
	int status = 0;

	if (child < 0) {
		EXPECT(plan.refused);
		return;
	}
	if (child == 0) {
		for (unsigned k = 0; k < N_BLOCKS; k++)
			drop(&blocks[k]);
		all_kinds();
		_exit(wrong[0] ? 1 : 0);
	}
	EXPECT(waitpid(child, &status, 0) == child && status == 0);
}

static void many_small(void)
{
	static struct block small[3000];

	for (unsigned k = 0; k < 3000; k++) {
		errno = 0;
		got(&small[k], malloc(k % 500 * 4 + 1), k % 500 * 4 + 1, k);
	}
	whole();
	for (unsigned k = 0; k < 3000; k++)
		drop(&small[k * 7 % 3000]);
}

static void drop_all(void)
{
	for (unsigned k = 0; k < N_BLOCKS; k++) {
		drop(&blocks[k]);
		drop(&others[k]);
	}
	hak_trim();
	whole();
}

static void workload(void)
{
	all_kinds();
	growing();
	handed_over();
	in_child();
	many_small();
	hak_trim();
	drop_all();
}

/* The same work but for what copies most: refused calls are all in the first round. */
static void once_more(void)
{
	growing();
	handed_over();
	many_small();
	hak_trim();
	drop_all();
}

/* KiB of address space that the library does not account for, KiB of memory. */
static void measure(unsigned long *space, unsigned long *rss)
{
	struct hak_snapshot now;

	char text[64] = "";
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	char *end = text;

	if (read(fd, text, sizeof(text) - 1) > 0) {
		*space = strtoul(text, &end, 10) * 4;
		*rss = strtoul(end, NULL, 10) * 4;
	}
	close(fd);
	hak_snapshot(&now);
	*space -= now.mapped_bytes / 1024;
}

/* With faults, then without: everything works again, and as little is held as ever. */
static int run_workload(void)
{
	unsigned long space = 0, rss = 0, seen[ALL + 1];
	char line[600];
	int n;

	workload();
	memcpy(seen, plan.seen, sizeof(seen));
	plan.on = false;
	nulls += 1000000; /* from here on each is a fault of ours */
	once_more();
	hak_trim();
	EXPECT(nulls < 2000000 && nulls >= 1000000);
	measure(&space, &rss);
	n = snprintf(line, sizeof(line), "%lu %lu %lu %lu %lu|%s\n", seen[ALL], plan.refused,
		     nulls - 1000000, space, rss, wrong);
	for (unsigned k = 0; k < ALL; k++)
		n += snprintf(line + n, sizeof(line) - (size_t)n, "%lu ", seen[k]);
	line[n++] = '\n';
	return write(STDOUT_FILENO, line, (size_t)n) == n ? 0 : 1;
}

/* ---- the runs ---- */

struct outcome {
	int status;
	unsigned long calls, refused, nulls, space, rss;
	unsigned long of_kind[ALL];
	char wrong[450], said[500];
};

static char *const *environment(unsigned kind, unsigned long first, unsigned long last, int secure)
{
	static char text[6][64];
	static char *list[7];

	snprintf(text[0], 64, "FAULT_KIND=%u", kind);
	snprintf(text[1], 64, "FAULT_FIRST=%lu", first);
	snprintf(text[2], 64, "FAULT_LAST=%lu", last);
	snprintf(text[3], 64, "HAKMEM_SECURE=%d", secure);
	snprintf(text[4], 64, "HAKMEM_DECAY_MS=0");
	snprintf(text[5], 64, "FAULT_RUN=1");
	for (int i = 0; i < 6; i++)
		list[i] = text[i];
	return list;
}

static size_t slurp(int fd, char *out, size_t room)
{
	size_t n = 0;
	ssize_t got;

	while (n < room - 1 && (got = read(fd, out + n, room - 1 - n)) > 0)
		n += (size_t)got;
	out[n] = 0;
	return n;
}

static void parse(char *text, struct outcome *o)
{
	char *s = text, *bar = strchr(text, '|'), *end = bar ? strchr(bar, '\n') : NULL;

	if (!end)
		return;
	o->calls = strtoul(s, &s, 10);
	o->refused = strtoul(s, &s, 10);
	o->nulls = strtoul(s, &s, 10);
	o->space = strtoul(s, &s, 10);
	o->rss = strtoul(s, &s, 10);
	snprintf(o->wrong, sizeof(o->wrong), "%.*s", (int)(end - bar - 1), bar + 1);
	s = end;
	for (unsigned k = 0; k < ALL; k++)
		o->of_kind[k] = strtoul(s, &s, 10);
}

static struct outcome run(unsigned kind, unsigned long first, unsigned long last, int secure)
{
	char *const argv[] = {"t_faults", NULL};
	struct outcome o = {.status = -1};
	static char text[2000];
	int out[2], err[2];
	pid_t child;

	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		return o;
	child = fork();
	if (child == 0) {
		dup2(out[1], STDOUT_FILENO);
		dup2(err[1], STDERR_FILENO);
		alarm(20);
		execve("/proc/self/exe", argv, environment(kind, first, last, secure));
		_exit(127);
	}
	close(out[1]);
	close(err[1]);
	slurp(out[0], text, sizeof(text));
	slurp(err[0], o.said, sizeof(o.said));
	close(out[0]);
	close(err[0]);
	waitpid(child, &o.status, 0);
	parse(text, &o);
	return o;
}

static struct outcome quiet[2];
static unsigned part; /* of PARTS, each a process: every so manieth run is its own */
#define PARTS 2U

/*
 * KiB. Memory: what another way of growing may leave behind. Address space that nobody accounts
 * for: a table that was refused its first size, or less.
 */
#define SPARE_KB 4096UL
#define LOST_KB 256UL

static bool fine(const struct outcome *o, int secure, unsigned kind, unsigned long first,
		 unsigned long last)
{
	bool ok = o->status == 0 && !o->wrong[0] && !o->said[0] &&
		  o->space <= quiet[secure].space + LOST_KB &&
		  o->rss <= quiet[secure].rss + SPARE_KB;

	if (!ok && test_bad++ < 10)
		test_say("# FAULT_KIND=%u FAULT_FIRST=%lu FAULT_LAST=%lu HAKMEM_SECURE=%d: status "
			 "%x, "
			 "%lu refused, %lu KiB lost (%lu), %lu in memory (%lu) %s %s\n",
			 kind, first, last, secure, (unsigned)o->status, o->refused, o->space,
			 quiet[secure].space, o->rss, quiet[secure].rss, o->wrong, o->said);
	return ok;
}

static unsigned long one(unsigned kind, unsigned long first, unsigned long last, int secure)
{
	struct outcome o = run(kind, first, last, secure);

	fine(&o, secure, kind, first, last);
	return o.refused;
}

static void report(const char *what, const char *kind, int secure, unsigned long refused)
{
	CHECK(refused > 0);
	test_say("%s - %s %s%s, part %u: %lu refused\n", test_bad ? "not ok" : "ok", kind, what,
		 secure ? ", secure" : "", part + 1, refused);
	test_failed += test_bad != 0;
}

/* Calls made very often are made the same way over and over: about 150 of each kind. */
static unsigned long step_of_kind(unsigned long calls)
{
	return getenv("FAULTS_ALL") ? 1 : calls / 150 + 1;
}

/* Every call of the workload alone; the clock, asked thousands of times, is not among them. */
static void each_alone(int secure)
{
	unsigned long refused = 0, turn = 0;

	test_bad = 0;
	for (unsigned kind = 0; kind < ALL; kind++) {
		unsigned long calls = kind == CLOCK ? 0 : quiet[secure].of_kind[kind];

		for (unsigned long n = 1; n <= calls; n += step_of_kind(calls))
			if (turn++ % PARTS == part)
				refused += one(kind, n, n, secure);
	}
	report("call alone", "each", secure, refused);
}

/* All calls of a kind, or of every kind, from one on. */
static void from_then_on(unsigned kind, int secure)
{
	unsigned long calls = kind == ALL ? quiet[secure].calls : quiet[secure].of_kind[kind];
	unsigned long step = calls / (kind == ALL ? 30 : 10) + 1, refused = 0;

	if (calls < 1 + part * step)
		return;
	test_bad = 0;
	for (unsigned long n = 1 + part * step; n <= calls; n += step * PARTS)
		refused += one(kind, n, n + 1000000, secure);
	report("from then on", kind_names[kind], secure, refused);
}

static void without_a_fault(int secure)
{
	quiet[secure] = run(ALL, 0, 0, secure);
	fine(&quiet[secure], secure, ALL, 0, 0);
	CHECK(quiet[secure].calls > 50 && quiet[secure].nulls == 0);
}

static void plain(void)
{
	without_a_fault(0);
}

static void secure(void)
{
	without_a_fault(1);
}

static void with_faults(void)
{
	for (int is_secure = 0; is_secure < 2; is_secure++) {
		each_alone(is_secure);
		for (unsigned kind = 0; kind <= ALL; kind++)
			from_then_on(kind, is_secure);
	}
}

int main(void)
{
	pid_t child;
	int status = 0;

	if (getenv("FAULT_RUN"))
		return run_workload();
	RUN(plain);
	RUN(secure);
	child = fork();
	if (child == 0) {
		part = 1;
		with_faults();
		_exit(test_failed != 0);
	}
	with_faults();
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	return test_done() || status;
}
