/*
 * The system calls the allocator makes, each refused at every occurrence.   timeout: 1200
 *
 * The linker puts our wrappers around the library's calls. The workload is a row of phases. Before
 * each the process forks: a child that counts the phase's calls; then for every call of every kind
 * one that goes through the phase with that call refused, and some with all from one on. Afterwards
 * everything must work, with as little held as without a fault. What is called before main is
 * refused in processes of its own. All of it as usual, with HAKMEM_SECURE=1, and with a limit on
 * unused memory in place of decay; a phase of it with HAKMEM_PROFILE. `t_faults usual 0 growing`,
 * with the variant's environment, is a part of it.
 */
#include "hakmem.h"
#include "internal.h"
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Kinds of calls: those of os.c, and what the library has from libc. */
enum kind {
#define X(name) K_##name,
	HAK_CALLS(X)
#undef X
		CLOCK,
	SETSPECIFIC,
	KEY_CREATE,
	ATFORK,
	MOVE_GONE, /* mremap: several mappings; the target is gone, as before Linux 6.17 */
	MOVE_KEPT, /* the same, it is not */
	ALL
};
static const char *const kind_names[] = {
#define X(name) #name,
	HAK_CALLS(X)
#undef X
		"clock_gettime",
	"pthread_setspecific",
	"pthread_key_create",
	"pthread_atfork",
	"mremap of several, target gone",
	"mremap of several",
	"all"};

static long error_of(enum kind kind)
{
	switch (kind) {
	case K_futex:
		return EINTR;
	case K_getrandom:
	case K_madvise:
		return EAGAIN;
	case K_write:
		return EIO;
	case K_mmap:
	case K_munmap:
	case K_mprotect:
	case K_mremap:
		return ENOMEM;
	case K_msync:
	case MOVE_GONE:
	case MOVE_KEPT:
		return EFAULT;
	default:
		return EPERM;
	}
}

/* Kinds a call of mremap may count as. msync is called after one that says EFAULT, only. */
static bool is_move(enum kind kind)
{
	return kind == K_mremap || kind == K_msync || kind == MOVE_GONE || kind == MOVE_KEPT;
}

/* The plan and what came of it, shared by the processes that have to do with it. */
struct run {
	bool on, done;
	enum kind kind; /* ALL: any */
	unsigned long first, last;
	unsigned long seen[ALL + 1], calls[ALL + 1]; /* calls; of them, those to be refused */
	unsigned long refused, nulls, space, rss;
	char wrong[400];
};
static struct run before_main = {.kind = ALL}, *run = &before_main;

/* Before main the plan is in the environment. */
static void read_plan(void)
{
	static bool was_read;
	const char *s = was_read ? NULL : getenv("FAULT_PLAN");
	char *end;

	was_read = true;
	if (!s)
		return;
	run->kind = (enum kind)strtoul(s, &end, 10);
	run->first = strtoul(end, &end, 10);
	run->last = strtoul(end, &end, 10);
	run->on = run->first != 0;
}

static bool refuse(enum kind kind)
{
	unsigned long n, of_all = 0;

	read_plan();
	/* the clock, asked often and rarely by a system call, counts for itself only */
	if (kind != CLOCK)
		of_all = __atomic_add_fetch(&run->seen[ALL], 1, __ATOMIC_RELAXED);
	n = __atomic_add_fetch(&run->seen[kind], 1, __ATOMIC_RELAXED);
	if (run->kind != kind)
		n = run->kind == ALL ? of_all : 0;
	if (!run->on || n < run->first || n > run->last)
		return false;
	__atomic_add_fetch(&run->refused, 1, __ATOMIC_RELAXED);
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
#define X(name)          \
	case SYS_##name: \
		return K_##name;
		HAK_CALLS(X)
#undef X
	default:
		return ALL;
	}
}

long __real_os_call(long number, long a, long b, long c, long d, long e, long f);
long __wrap_os_call(long number, long a, long b, long c, long d, long e, long f);
long __wrap_os_call(long number, long a, long b, long c, long d, long e, long f)
{
	enum kind kind = kind_of(number);

	if (kind == K_msync) /* follows the move that was refused */
		return run->on && run->kind == K_msync ? -EPERM
						       : __real_os_call(number, a, b, c, d, e, f);
	if (kind == K_mremap && is_move(run->kind))
		kind = run->kind;
	if (kind == ALL || !refuse(kind))
		return __real_os_call(number, a, b, c, d, e, f);
	if (kind == K_mremap || kind == MOVE_GONE)
		__real_os_call(SYS_munmap, e, d & MREMAP_FIXED ? c : 0, 0, 0, 0, 0);
	return -error_of(kind);
}
/* NOLINTEND(bugprone-reserved-identifier) */

/* ---- the workload: what was wrong goes to run->wrong; NULL while faults are on is no fault ----
 */

#define EXPECT(cond) ((cond) ? true : (complain(__LINE__, #cond), false))

static void complain(int line, const char *what)
{
	size_t n = strlen(run->wrong);

	if (n < sizeof(run->wrong) - 80)
		snprintf(run->wrong + n, sizeof(run->wrong) - n, "%d: not %s; ", line, what);
}

struct block {
	unsigned char *p;
	size_t bytes;
	uint32_t seed;
};

/* Large blocks: their ends and a few bytes in between. */
static size_t step_of(size_t bytes)
{
	return bytes > 8192 ? bytes / 6 + 1 : 1;
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

static void no_block(void)
{
	EXPECT(errno == ENOMEM);
	EXPECT(run->on && run->refused);
	__atomic_add_fetch(&run->nulls, 1, __ATOMIC_RELAXED);
}

/* What an allocation gave: a block, or NULL with ENOMEM while faults are on. */
static bool got(struct block *b, void *p, size_t bytes, uint32_t seed)
{
	if (!p) {
		no_block();
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
static const size_t sizes[N_SIZES] = {1,      16,     100,     1000,   3000,   9000,
				      20000,  30000,  65536,   66000,  150000, 300000,
				      530000, 600000, 2100000, 2200000};

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
		no_block();
		EXPECT(holds(b, b->bytes));
		return;
	}
	b->p = p;
	EXPECT(holds(b, n < b->bytes ? n : b->bytes));
	b->bytes = n;
	fill(b);
}

#define N_BLOCKS 48
static struct block blocks[N_BLOCKS], others[N_BLOCKS];

static void whole(void)
{
	EXPECT(hak_check() == 0);
}

static void all_kinds(void)
{
	for (unsigned k = 0; k < N_BLOCKS; k++)
		if (!blocks[k].p)
			allocate(&blocks[k], k);
	for (unsigned k = 0; k < N_BLOCKS; k += 2)
		drop(&blocks[k]);
	for (unsigned k = 1; k < N_BLOCKS; k += 4)
		resize(&blocks[k], sizes[(k * 7 + 4) % N_SIZES] + 5);
	for (unsigned k = 0; k < N_BLOCKS; k += 2)
		allocate(&blocks[k], k + 1);
	whole();
}

/* One block through all sizes, up and down; and what was freed a moment ago again. */
static void growing(void)
{
	struct block b = {0}, large[3] = {{0}};

	allocate(&b, 2);
	for (size_t n = 600; n < 10000000; n = n * 4)
		resize(&b, n);
	for (size_t n = 2500000; n > 10; n = n / 4)
		resize(&b, n);
	drop(&b);
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned k = 0; k < 3; k++)
			allocate(&large[k], 13 + k % 3);
		for (unsigned k = 0; k < 3; k++)
			drop(&large[k]);
	}
	whole();
}

static void *in_thread(void *arg)
{
	struct block *from = arg, *mine = arg == blocks ? others : blocks;

	for (unsigned k = 0; k < N_BLOCKS; k += 2)
		drop(&from[k]); /* another's */
	for (unsigned k = 0; k < N_BLOCKS; k++)
		if (!mine[k].p)
			allocate(&mine[k], k);
	return NULL;
}

/* One thread after the other: what is counted is the same in each run. */
static void by_thread(void *(*function)(void *), void *arg)
{
	pthread_t t;

	if (!pthread_create(&t, NULL, function, arg))
		pthread_join(t, NULL);
	else
		EXPECT(run->refused);
}

static void handed_over(void)
{
	by_thread(in_thread, blocks);
	by_thread(in_thread, others);
	whole();
}

/* Small blocks of a thread that is gone, and so most of them in pages that nobody works with. */
static struct block small[250];

static void *allocate_small(void *arg)
{
	for (unsigned k = 0; k < 250; k++) {
		errno = 0;
		got(&small[k], malloc(k * 8 + 1), k * 8 + 1, k);
	}
	return arg;
}

static void many_small(void)
{
	by_thread(allocate_small, NULL);
	for (unsigned k = 0; k < 250; k++)
		drop(&small[k * 7 % 250]);
	whole();
}

static void in_child(void)
{
	pid_t child = fork();
	int status = 0;

	if (child < 0) {
		EXPECT(run->refused);
		return;
	}
	if (child == 0) {
		for (unsigned k = 0; k < N_BLOCKS; k++)
			drop(&blocks[k]);
		all_kinds();
		_exit(0);
	}
	EXPECT(waitpid(child, &status, 0) == child && status == 0);
}

static uint32_t may_go, is_through;

static void *wants_memory(void *arg)
{
	struct block b = {0};

	while (!__atomic_load_n(&may_go, __ATOMIC_ACQUIRE))
		sched_yield();
	allocate(&b, 10);
	drop(&b);
	__atomic_store_n(&is_through, 1, __ATOMIC_RELEASE);
	return arg;
}

/* A thread that has to wait for a lock. A wake that is refused makes it late. */
static void contended(void)
{
	unsigned long before = __atomic_load_n(&run->seen[K_futex], __ATOMIC_RELAXED);
	struct lock *lock = hak_options.secure ? &meta_lock : &arena_lock;
	pthread_t t;

	may_go = is_through = 0;
	if (pthread_create(&t, NULL, wants_memory, NULL)) {
		EXPECT(run->refused);
		return;
	}
	lock_take(lock);
	__atomic_store_n(&may_go, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&is_through, __ATOMIC_ACQUIRE) &&
	       __atomic_load_n(&run->seen[K_futex], __ATOMIC_RELAXED) == before)
		sched_yield();
	lock_drop(lock);
	pthread_join(t, NULL);
}

/* HAKMEM_ABORT=0: what is wrong is said, and the program goes on. */
static void misused(void)
{
	int real = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
	char *p = HIDE(malloc(10));

	dup2(nowhere, STDERR_FILENO);
	if (p)
		free(p + 1);
	free(HIDE(&real));
	free(p);
	free(p); /* NOLINT: that is the point */
	hak_trim();
	dup2(real, STDERR_FILENO);
	close(real);
	close(nowhere);
	whole();
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

static const struct phase {
	const char *name;
	void (*function)(void);
	bool timed; /* how often a lock is waited for depends on who runs when */
} phases[] = {
	{"all kinds", all_kinds, false},     {"growing", growing, false},
	{"handed over", handed_over, false}, {"child", in_child, false},
	{"small", many_small, false},	     {"contended", contended, true},
	{"misused", misused, false},	     {"all freed", drop_all, false},
};
#define N_PHASES (sizeof(phases) / sizeof(phases[0]))

/* KiB of address space that the library does not account for, KiB of memory. */
static void measure(void)
{
	struct hak_snapshot now;
	char text[64] = "";
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	char *end = text;

	if (read(fd, text, sizeof(text) - 1) > 0) {
		run->space = strtoul(text, &end, 10) * 4;
		run->rss = strtoul(end, NULL, 10) * 4;
	}
	close(fd);
	hak_snapshot(&now);
	run->space -= now.mapped_bytes / 1024;
}

/* A phase as planned; then, without faults, everything works, and as little is held as ever. */
static void go_through(void (*phase)(void), bool early)
{
	unsigned long nulls;

	phase();
	if (!early)
		memcpy(run->calls, run->seen, sizeof(run->seen));
	run->on = false;
	nulls = run->nulls;
	whole();
	drop_all();
	for (unsigned k = 0; k < N_SIZES; k++)
		allocate(&blocks[k], k + N_SIZES * (k % 3));
	for (unsigned k = 0; k < N_SIZES; k += 3)
		resize(&blocks[k], sizes[(k * 7 + 3) % N_SIZES] / 2 + 5);
	by_thread(in_thread, blocks);
	drop_all();
	EXPECT(run->nulls == nulls);
	measure();
	run->done = true;
}

/* ---- the runs ---- */

#define FOREVER 1000000000UL
#define SECONDS_MOST 60U

static struct run quiet; /* the same without a fault */
static int err_file;	 /* what a run says on stderr, which is nothing */
static unsigned long all_runs, all_refused, all_nulls;
static unsigned part; /* of PARTS, each a process: every so manieth run is its own */
#define PARTS 2U

/*
 * KiB. Memory: what another way of growing may leave behind. Address space that nobody accounts
 * for: a table that was refused its first size, or less.
 */
#define SPARE_KB 4096UL
#define LOST_KB 256UL

static void plan(enum kind kind, unsigned long first, unsigned long last)
{
	memset(run, 0, sizeof(*run));
	run->kind = kind;
	run->first = first;
	run->last = last;
	run->on = first != 0;
}

static bool fine(const struct phase *phase, int status, const char *said)
{
	/* without msync nobody knows whether the target of the move is still ours */
	bool may_lose = run->kind == K_msync;

	return status == 0 && run->done && !run->wrong[0] && !said[0] &&
	       (run->first == 0 || run->refused || phase->timed) &&
	       (may_lose || run->space <= quiet.space + LOST_KB) &&
	       run->rss <= quiet.rss + SPARE_KB;
}

/* How a run of the child ended. */
static void judge(const struct phase *phase, pid_t child)
{
	char said[200] = "";
	int status = -1;

	waitpid(child, &status, 0);
	if (pread(err_file, said, sizeof(said) - 1, 0) > 0 && ftruncate(err_file, 0) == 0)
		lseek(err_file, 0, SEEK_SET);
	all_runs++;
	all_refused += run->refused;
	all_nulls += run->nulls;
	if (!run->first)
		quiet = *run;
	if (fine(phase, status, said) || test_bad++ >= 10)
		return;
	test_say("# %s, %s from call %lu to %lu, HAKMEM_SECURE=%d: status %x%s, %lu refused, "
		 "%lu KiB of space (%lu), %lu in memory (%lu)\n",
		 phase->name, kind_names[run->kind], run->first, run->last, (int)hak_options.secure,
		 (unsigned)status, run->done ? "" : ", not done", run->refused, run->space,
		 quiet.space, run->rss, quiet.rss);
	test_say("#   %.200s %.200s\n", run->wrong, said);
}

static void run_phase(const struct phase *phase, enum kind kind, unsigned long first,
		      unsigned long last)
{
	pid_t child;

	plan(kind, first, last);
	child = fork();
	if (child == 0) {
		memset(run->seen, 0, sizeof(run->seen)); /* not the fork's own */
		alarm(SECONDS_MOST);
		dup2(err_file, STDERR_FILENO);
		go_through(phase->function, false);
		_exit(0);
	}
	judge(phase, child);
}

static unsigned long calls_of(enum kind kind)
{
	/* each move is refused in every way */
	return quiet.calls[is_move(kind) ? K_mremap : kind];
}

/* The runs of a phase by one of these: none refused, each call alone, from some on all. */
typedef void (*runner)(const struct phase *phase, enum kind kind, unsigned long first,
		       unsigned long last);

static void refuse_all(const struct phase *phase, runner one)
{
	unsigned long turn = 0;

	/* from here, as the others are: how much of a stack is sampled depends on its depth */
	one(phase, ALL, 0, 0);
	for (enum kind kind = 0; kind <= ALL; kind++) {
		unsigned long calls = calls_of(kind), step = calls / 4 + 1;

		for (unsigned long n = 1; n <= calls && kind != ALL; n++)
			if (turn++ % PARTS == part)
				one(phase, kind, n, n);
		for (unsigned long n = 1; n <= calls; n += step)
			if (turn++ % PARTS == part)
				one(phase, kind, n, FOREVER);
	}
}

static void report(const char *name, const char *variant)
{
	CHECK(all_runs > 1 && all_refused >= all_runs - 1);
	test_say("%s - %s, %s, part %u: %lu runs, %lu calls refused, %lu NULLs\n",
		 test_bad ? "not ok" : "ok", name, variant, part + 1, all_runs, all_refused,
		 all_nulls);
	test_failed += test_bad != 0;
	test_bad = 0;
	all_runs = all_refused = all_nulls = 0;
}

/* Processes that read their plan before main. */
static int run_file;

static void run_whole(const struct phase *phase, enum kind kind, unsigned long first,
		      unsigned long last)
{
	static char words[64];
	char *argv[] = {"t_faults", "run", NULL};
	pid_t child;

	plan(kind, first, last);
	snprintf(words, sizeof(words), "%u %lu %lu", kind, first, last);
	setenv("FAULT_PLAN", words, 1);
	child = fork();
	if (child == 0) {
		alarm(SECONDS_MOST);
		dup2(err_file, STDERR_FILENO);
		dup2(run_file, STDIN_FILENO);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	judge(phase, child);
}

static struct run *map_run(int fd)
{
	return mmap(NULL, sizeof(*run), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/* Such a process: its results to where the other reads them. */
static int go_through_whole(void)
{
	struct run *shared = map_run(STDIN_FILENO);

	*shared = *run;
	memcpy(shared->calls, run->seen, sizeof(run->seen));
	run = shared;
	go_through(all_kinds, true);
	return 0;
}

static int all_runs_of(const char *variant, const char *only)
{
	static const struct phase start = {"from the start", all_kinds, false};

	err_file = memfd_create("stderr", MFD_CLOEXEC);
	run_file = memfd_create("run", MFD_CLOEXEC);
	if (ftruncate(run_file, sizeof(*run)))
		return 1;
	run = map_run(run_file);
	if (!only || !strcmp(only, start.name)) {
		refuse_all(&start, run_whole);
		report(start.name, variant);
	}
	for (size_t i = 0; i < N_PHASES; i++) {
		if (!only || !strcmp(only, phases[i].name)) {
			refuse_all(&phases[i], run_phase);
			report(phases[i].name, variant);
		}
		plan(ALL, 0, 0);
		phases[i].function();
	}
	return test_done();
}

/* ---- a process for each variant and part ---- */

struct variant {
	const char *name, *only; /* a phase; NULL: all */
	char **environment;
};

static pid_t start_variant(const struct variant *v, const char *number)
{
	char *argv[] = {"t_faults", (char *)(uintptr_t)v->name, (char *)(uintptr_t)number,
			(char *)(uintptr_t)v->only, NULL};
	pid_t child = fork();

	if (child)
		return child;
	execve("/proc/self/exe", argv, v->environment);
	_exit(127);
}

static int all_variants(void)
{
	static char *usual[] = {"HAKMEM_DECAY_MS=0", "HAKMEM_ABORT=0", NULL};
	static char *secure[] = {"HAKMEM_DECAY_MS=0", "HAKMEM_ABORT=0", "HAKMEM_SECURE=1", NULL};
	static char *limit[] = {"HAKMEM_KEEP_BYTES=0", "HAKMEM_DECAY_MS=3600000", "HAKMEM_ABORT=0",
				NULL};
	static char *profile[] = {"HAKMEM_PROFILE=4K", "HAKMEM_DECAY_MS=0", "HAKMEM_ABORT=0", NULL};
	static const struct variant variants[] = {{"usual", NULL, usual},
						  {"secure", NULL, secure},
						  {"limit", NULL, limit},
						  {"profile", "growing", profile}};
	static const char *const numbers[PARTS] = {"0", "1"};
	int bad = 0;

	for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
		pid_t children[PARTS];

		for (unsigned k = 0; k < PARTS; k++)
			children[k] = start_variant(&variants[i], numbers[k]);
		for (unsigned k = 0; k < PARTS; k++) {
			int status = -1;

			waitpid(children[k], &status, 0);
			bad |= status != 0;
		}
	}
	return bad;
}

int main(int argc, char **argv)
{
	if (argc == 2)
		return go_through_whole();
	if (argc < 3)
		return all_variants();
	part = (unsigned)strtoul(argv[2], NULL, 10);
	return all_runs_of(argv[1], argv[3]);
}
