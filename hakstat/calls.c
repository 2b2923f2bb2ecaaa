#include "calls.h"

#include <asm/unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "attach.h"
#include "budget.h"
#include "hakstat.h"
#include "privilege.h"
#include "syscalls.skel.h"

#define FIRST_PID_NS 0xEFFFFFFCU /* PROC_PID_INIT_INO, the kernel's proc_ns.h */
#define TRIES 8
#define LONG_NS 1000000U /* a call that took longer is told from one that goes on */

const char *const caller_names[] = {"allocator", "application"};

struct calls {
	struct syscalls_bpf *skel;
	pid_t pid;
	bool inner_ids; /* thread ids are those of the target's pid namespace */
	int cpus;
	struct call_sums *by_cpu; /* one for each */
	struct fast_sums *fast;	  /* likewise */
	struct call_spent *spent;
	struct call_now *slots;			    /* shared with the program */
	struct call_sums base[CALLERS][FAST_CALLS]; /* of programs before */
	uint64_t fast_program;			    /* the one whose calls are counted so */
	struct budget *budget;
	bool off;
	bool blind;		    /* they were off at some time of this program, */
	uint64_t seen;		    /* which was the one of this number then */
	struct calls_sample before; /* time in calls that went on when they were taken off */
};

/* Names */

static const char *const call_names[] = {
#include "call_names.h"
};

void call_name(unsigned number, char *out, size_t len)
{
	if (number < sizeof(call_names) / sizeof(call_names[0]) && call_names[number])
		snprintf(out, len, "%s", call_names[number]);
	else
		snprintf(out, len, "%u", number);
}

const char *futex_op_name(uint32_t op)
{
	static const char *const names[] = {
		[FUTEX_WAIT] = "wait",
		[FUTEX_LOCK_PI] = "lock_pi",
		[FUTEX_WAIT_BITSET] = "wait_bitset",
		[FUTEX_WAIT_REQUEUE_PI] = "wait_requeue_pi",
		[FUTEX_LOCK_PI2] = "lock_pi2",
	};

	return op < sizeof(names) / sizeof(names[0]) && names[op] ? names[op] : "?";
}

/* Attaching */

/* The last number of "NSpid:", the id in the innermost namespace; 0 if the thread is gone. */
static uint32_t inner_id(pid_t pid, pid_t tid)
{
	char path[64], line[256], *last;
	uint32_t id = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	f = fopen(path, "re");
	while (f && !id && fgets(line, sizeof(line), f))
		if (!strncmp(line, "NSpid:", 6) && (last = strrchr(line, '\t')))
			id = (uint32_t)strtoul(last, NULL, 10);
	if (f)
		fclose(f);
	return id;
}

/*
 * The kernel counts processes from the first namespace. In another one, the program is told the
 * target's own namespace and its id there.
 */
static int choose_ids(struct calls *c)
{
	struct stat ours, its;
	char path[64];

	c->skel->rodata->tgid = (uint32_t)c->pid;
	if (stat("/proc/self/ns/pid", &ours) || ours.st_ino == FIRST_PID_NS)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", c->pid);
	if (stat(path, &its))
		return -errno;
	c->inner_ids = true;
	c->skel->rodata->ns_dev = its.st_dev;
	c->skel->rodata->ns_ino = its.st_ino;
	c->skel->rodata->tgid = inner_id(c->pid, c->pid);
	return 0;
}

static int load(struct calls *c, enum calls_what what)
{
	int r;

	c->skel = syscalls_bpf__open();
	if (!c->skel)
		return -errno;
	r = choose_ids(c);
	if (r)
		return r;
	c->skel->rodata->futex_only = what == CALLS_FUTEX;
	r = syscalls_bpf__load(c->skel);
	if (r)
		return r;
	if (!c->skel->bss)
		return -EOPNOTSUPP; /* see attach.c:load */
	c->slots = mmap(NULL, SLOTS * sizeof(*c->slots), PROT_READ | PROT_WRITE, MAP_SHARED,
			bpf_map__fd(c->skel->maps.slots), 0);
	if (c->slots != MAP_FAILED)
		return 0;
	c->slots = NULL;
	return -ENOMEM;
}

/* The end first: of a call that has begun unseen nothing is counted. */
static int attach(struct calls *c)
{
	struct syscalls_bpf *s = c->skel;

	s->links.on_exit = bpf_program__attach(s->progs.on_exit);
	if (!s->links.on_exit)
		return -errno;
	s->links.on_enter = bpf_program__attach(s->progs.on_enter);
	return s->links.on_enter ? 0 : -errno;
}

static void detach(struct calls *c)
{
	struct syscalls_bpf *s = c->skel;

	bpf_link__destroy(s->links.on_enter);
	bpf_link__destroy(s->links.on_exit);
	s->links.on_enter = s->links.on_exit = NULL;
}

/* Threads of the target, for each its id as the maps know it; stops when fn returns false. */
static void each_thread(const struct calls *c, void (*fn)(struct calls *, pid_t, uint32_t, void *),
			void *arg)
{
	char path[64];
	struct dirent *d;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", c->pid);
	tasks = opendir(path);
	while (tasks && (d = readdir(tasks))) {
		pid_t tid = (pid_t)strtol(d->d_name, NULL, 10);
		uint32_t id = c->inner_ids && tid > 0 ? inner_id(c->pid, tid) : (uint32_t)tid;

		if (tid > 0 && id)
			fn((struct calls *)(uintptr_t)c, tid, id, arg);
	}
	if (tasks)
		closedir(tasks);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* False if the thread is in no system call, or nobody tells. */
static bool call_of(pid_t pid, pid_t tid, struct call_now *n)
{
	unsigned long long word, op;
	char path[64];
	int number;
	bool ok;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	memset(n, 0, sizeof(*n));
	ok = fscanf(f, "%d %llx %llx %*x %*x %*x %*x %*x %lx", &number, &word, &op,
		    (unsigned long *)&n->ip) == 4 &&
	     number >= 0;
	fclose(f);
	n->number = (uint32_t)number;
	if (ok && number == SYS_futex) {
		n->op = (uint32_t)op & FUTEX_CMD_MASK;
		n->word = word;
	}
	return ok;
}

/* A call that was going on when we came: counted, with its time from here on. */
static void note_call(struct calls *c, pid_t tid, uint32_t id, void *arg)
{
	struct call_now *slot = &c->slots[id & (SLOTS - 1)], n, again;
	uint32_t none = 0;

	(void)arg;
	if (!call_of(c->pid, tid, &n) || __atomic_load_n(&slot->tid, __ATOMIC_ACQUIRE))
		return; /* or it has made another one since */
	n.start = now_ns();
	*slot = n;
	if (!__atomic_compare_exchange_n(&slot->tid, &none, id, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED))
		return;
	/* it may have ended before it was noted: then it is in none, or has overwritten it */
	if (!call_of(c->pid, tid, &again))
		__atomic_compare_exchange_n(&slot->start, &n.start, 0, false, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED);
}

static int open_it(struct calls *c, enum calls_what what)
{
	int r;

	c->cpus = libbpf_num_possible_cpus();
	if (c->cpus < 0)
		return c->cpus;
	c->by_cpu = calloc((size_t)c->cpus, sizeof(*c->by_cpu));
	c->fast = calloc((size_t)c->cpus, sizeof(*c->fast));
	c->spent = calloc((size_t)c->cpus, sizeof(*c->spent));
	c->budget = budget_open(1);
	if (!c->by_cpu || !c->fast || !c->spent || !c->budget)
		return -ENOMEM;
	r = load(c, what);
	if (!r)
		r = attach(c);
	if (!r)
		each_thread(c, note_call, NULL);
	return r;
}

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

struct calls *calls_open(pid_t pid, enum calls_what what, int *error, char *err, size_t errlen)
{
	struct calls *c = calloc(1, sizeof(*c));

	if (!c) {
		*error = -ENOMEM;
		return NULL;
	}
	c->pid = pid;
	c->fast_program = UINT64_MAX;
	libbpf_set_print(silent);
	*error = open_it(c, what);
	if (!*error)
		return c;
	if (*error == -EPERM || *error == -EACCES)
		no_permission("to watch system calls", err, errlen);
	else
		snprintf(err, errlen, "cannot watch system calls: %s (see hakstat doctor)",
			 strerror(-*error));
	calls_close(c);
	return NULL;
}

void calls_close(struct calls *c)
{
	if (!c)
		return;
	if (c->slots)
		munmap(c->slots, SLOTS * sizeof(*c->slots));
	if (c->skel)
		syscalls_bpf__destroy(c->skel);
	free(c->by_cpu);
	free(c->fast);
	free(c->spent);
	budget_close(c->budget);
	calls_free(&c->before);
	free(c);
}

/* Reading: what the maps hold is appended, then brought together by what it is of. */

static void *grow(void *array, size_t n, size_t each)
{
	if (n & (n - 1)) /* there is room up to the next power of two */
		return array;
	return realloc(array, (n ? 2 * n : 1) * each);
}

static struct call_row *new_call(struct calls_sample *s, unsigned number)
{
	struct call_row *rows = grow(s->rows, s->nrows, sizeof(*rows));

	if (!rows)
		return NULL;
	s->rows = rows;
	rows += s->nrows++;
	memset(rows, 0, sizeof(*rows));
	rows->number = number;
	call_name(number, rows->name, sizeof(rows->name));
	return rows;
}

static struct wait_row *new_wait(struct calls_sample *s, uint64_t word, enum caller by, uint32_t op)
{
	struct wait_row *rows = grow(s->waits, s->nwaits, sizeof(*rows));

	if (!rows)
		return NULL;
	s->waits = rows;
	rows += s->nwaits++;
	memset(rows, 0, sizeof(*rows));
	rows->word = word;
	rows->by = by;
	rows->op = op;
	return rows;
}

static int compare_calls(const void *a, const void *b)
{
	const struct call_row *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static int compare_waits(const void *a, const void *b)
{
	const struct wait_row *x = a, *y = b;

	if (x->by != y->by)
		return x->by < y->by ? -1 : 1;
	if (x->op != y->op)
		return x->op < y->op ? -1 : 1;
	return (x->word > y->word) - (x->word < y->word);
}

static void raise_to(uint64_t *max, uint64_t v)
{
	if (v > *max)
		*max = v;
}

static void add_count(struct call_count *to, const struct call_count *n)
{
	to->calls += n->calls;
	to->errors += n->errors;
	to->ns += n->ns;
	to->now += n->now;
	raise_to(&to->max_ns, n->max_ns);
}

static void add_waits(struct wait_row *to, const struct wait_row *w)
{
	to->waits += w->waits;
	to->ns += w->ns;
	to->going_ns += w->going_ns;
	to->now += w->now;
	raise_to(&to->max_ns, w->max_ns);
	for (int i = 0; i < WAIT_SLOTS; i++)
		to->hist[i] += w->hist[i];
}

static void merge(struct calls_sample *s)
{
	size_t n = 0;

	if (s->nrows)
		qsort(s->rows, s->nrows, sizeof(*s->rows), compare_calls);
	for (size_t i = 0; i < s->nrows; i++) {
		if (n == 0 || s->rows[n - 1].number != s->rows[i].number) {
			s->rows[n++] = s->rows[i];
			continue;
		}
		for (int by = 0; by < CALLERS; by++)
			add_count(&s->rows[n - 1].by[by], &s->rows[i].by[by]);
	}
	s->nrows = n;
	n = 0;
	if (s->nwaits)
		qsort(s->waits, s->nwaits, sizeof(*s->waits), compare_waits);
	for (size_t i = 0; i < s->nwaits; i++) {
		if (n == 0 || compare_waits(&s->waits[n - 1], &s->waits[i]) != 0)
			s->waits[n++] = s->waits[i];
		else
			add_waits(&s->waits[n - 1], &s->waits[i]);
	}
	s->nwaits = n;
}

struct reading {
	struct calls *c;
	struct calls_sample *s;
	uint64_t call_addr, epoch;
};

static enum caller caller_of(const struct reading *r, uint64_t ip)
{
	return r->call_addr && ip == r->call_addr ? BY_ALLOCATOR : BY_REST;
}

static int read_site(struct reading *r, int map, const struct call_key *key)
{
	struct call_count *n;
	struct call_row *row;

	if (bpf_map_lookup_elem(map, key, r->c->by_cpu))
		return 0;
	row = new_call(r->s, key->number);
	if (!row)
		return -ENOMEM;
	n = &row->by[caller_of(r, key->ip)];
	for (int i = 0; i < r->c->cpus; i++) {
		const struct call_sums *v = &r->c->by_cpu[i];

		n->calls += v->calls;
		n->errors += v->errors;
		n->ns += v->ns;
		if (v->epoch == r->epoch)
			raise_to(&n->max_ns, v->max_ns);
	}
	return 0;
}

static int read_sites(struct reading *r)
{
	int map = bpf_map__fd(r->c->skel->maps.calls), e = 0;
	struct call_key key, last, *at = NULL;
	bool old = false;

	while (!e && !bpf_map_get_next_key(map, at, &key)) {
		if (old) /* now that the one after it is known */
			bpf_map_delete_elem(map, &last);
		old = key.program != (uint16_t)r->s->program;
		if (!old)
			e = read_site(r, map, &key);
		last = key;
		at = &last;
	}
	if (old)
		bpf_map_delete_elem(map, &last);
	return e;
}

/* What the quick way has counted so far, over all programs. */
static int read_fast(struct calls *c, enum caller by, struct call_sums sum[FAST_CALLS],
		     uint64_t epoch)
{
	uint32_t key = by == BY_REST;

	if (bpf_map_lookup_elem(bpf_map__fd(c->skel->maps.fast), &key, c->fast))
		return -errno;
	memset(sum, 0, FAST_CALLS * sizeof(*sum));
	for (int i = 0; i < c->cpus; i++)
		for (int k = 0; k < FAST_CALLS; k++) {
			const struct call_sums *v = &c->fast[i].n[k];

			sum[k].calls += v->calls;
			sum[k].errors += v->errors;
			sum[k].ns += v->ns;
			if (v->epoch == epoch && v->max_ns > sum[k].max_ns)
				sum[k].max_ns = v->max_ns;
		}
	return 0;
}

/* From here on the program tells by itself whose a call is. Nothing is counted so before. */
static void begin_fast(struct calls *c, uint64_t call_addr)
{
	__u64 *addr = &c->skel->bss->state.call_addr;

	if (!call_addr || __atomic_load_n(addr, __ATOMIC_RELAXED) == call_addr)
		return;
	for (int by = 0; !*addr && by < CALLERS; by++)
		if (read_fast(c, (enum caller)by, c->base[by], 0))
			return;
	c->fast_program = calls_program(c);
	__atomic_store_n(addr, call_addr, __ATOMIC_RELEASE);
}

static int add_fast(struct reading *r)
{
	static struct call_sums sum[FAST_CALLS];

	for (int by = 0; r->c->fast_program == r->s->program && by < CALLERS; by++) {
		int e = read_fast(r->c, (enum caller)by, sum, r->epoch);

		for (unsigned k = 0; !e && k < FAST_CALLS; k++) {
			const struct call_sums *base = &r->c->base[by][k];
			struct call_row *row;

			if (sum[k].calls == base->calls)
				continue;
			row = new_call(r->s, k);
			if (!row)
				return -ENOMEM;
			row->by[by] = (struct call_count){sum[k].calls - base->calls,
							  sum[k].errors - base->errors,
							  sum[k].ns - base->ns, sum[k].max_ns, 0};
		}
		if (e)
			return e;
	}
	return 0;
}

/* One row for the word, and the same once more in that for all words. */
static int read_word(struct reading *r, int map, const struct wait_key *key)
{
	enum caller by = caller_of(r, key->ip);
	struct wait_row *w;
	struct wait_sums v;

	if (bpf_map_lookup_elem(map, key, &v))
		return 0;
	for (int whole = key->word == 0; whole < 2; whole++) {
		w = new_wait(r->s, whole ? 0 : key->word, by, key->op);
		if (!w)
			return -ENOMEM;
		w->waits = v.waits;
		w->ns = v.ns;
		w->max_ns = v.epoch == r->epoch ? v.max_ns : 0;
		for (int i = 0; i < WAIT_SLOTS; i++)
			w->hist[i] = v.hist[i];
	}
	return 0;
}

static int read_words(struct reading *r)
{
	int map = bpf_map__fd(r->c->skel->maps.waits), e = 0;
	__u64 *words = &r->c->skel->bss->state.words;
	struct wait_key key, last, *at = NULL;
	bool old = false;

	while (!e && !bpf_map_get_next_key(map, at, &key)) {
		if (old && !bpf_map_delete_elem(map, &last))
			__atomic_fetch_sub(words, last.word != 0, __ATOMIC_RELAXED);
		old = key.program != (uint32_t)r->s->program;
		if (!old)
			e = read_word(r, map, &key);
		last = key;
		at = &last;
	}
	return e;
}

static bool is_wait(const struct call_now *n)
{
	return n->number == SYS_futex &&
	       (n->op == FUTEX_WAIT || n->op == FUTEX_WAIT_BITSET || n->op == FUTEX_LOCK_PI ||
		n->op == FUTEX_LOCK_PI2 || n->op == FUTEX_WAIT_REQUEUE_PI);
}

static int add_now(struct reading *r, const struct call_now *n)
{
	uint64_t ns = r->s->t_ns > n->start ? r->s->t_ns - n->start : 0;
	enum caller by = caller_of(r, n->ip);
	struct call_row *row = new_call(r->s, n->number);

	if (!row)
		return -ENOMEM;
	row->by[by].ns = ns;
	row->by[by].now = 1;
	for (int whole = 0; is_wait(n) && whole < 2; whole++) {
		struct wait_row *w = new_wait(r->s, whole ? 0 : n->word, by, n->op);

		if (!w)
			return -ENOMEM;
		w->ns = ns;
		w->going_ns = (int64_t)ns;
		w->now = 1;
	}
	return 0;
}

/* Threads there are, and since when each is in its call. */
struct ids {
	struct id {
		uint32_t id;
		uint64_t start;
	} * at;
	size_t n;
	bool failed;
};

static void note_id(struct calls *c, pid_t tid, uint32_t id, void *arg)
{
	struct ids *ids = arg;
	struct id *p = grow(ids->at, ids->n, sizeof(*p));

	(void)c;
	(void)tid;
	if (!p) {
		ids->failed = true;
		return;
	}
	ids->at = p;
	p[ids->n++] = (struct id){id, 0};
}

static int compare_ids(const void *a, const void *b)
{
	const struct id *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static struct id *id_of(struct ids *ids, uint32_t tid)
{
	struct id wanted = {tid, 0};

	return ids->n ? bsearch(&wanted, ids->at, ids->n, sizeof(wanted), compare_ids) : NULL;
}

static int add_thread(struct reading *r, struct ids *ids, const struct call_now *n)
{
	struct id *id = id_of(ids, n->tid);

	if (!id || !n->start)
		return 0;
	id->start = n->start;
	return add_now(r, n);
}

/* Those whose slot another thread has. */
static int read_crowd(struct reading *r, struct ids *ids)
{
	int map = bpf_map__fd(r->c->skel->maps.crowd), e = 0;
	uint32_t key, last = 0, *at = NULL;
	struct call_now n;
	bool dead = false;

	while (!e && !bpf_map_get_next_key(map, at, &key)) {
		if (dead)
			bpf_map_delete_elem(map, &last);
		dead = !id_of(ids, key);
		if (!dead && !bpf_map_lookup_elem(map, &key, &n))
			e = add_thread(r, ids, &n);
		last = key;
		at = &last;
	}
	if (dead)
		bpf_map_delete_elem(map, &last);
	return e;
}

/* Calls that go on. What threads that were killed left behind is cleared away. */
static int read_threads(struct reading *r, struct ids *ids)
{
	int e = 0;

	each_thread(r->c, note_id, ids);
	if (ids->n)
		qsort(ids->at, ids->n, sizeof(*ids->at), compare_ids);
	for (unsigned i = 0; !e && !ids->failed && i < SLOTS; i++) {
		struct call_now *slot = &r->c->slots[i], n = *slot;

		if (n.tid && !id_of(ids, n.tid))
			__atomic_compare_exchange_n(&slot->tid, &n.tid, 0, false, __ATOMIC_RELAXED,
						    __ATOMIC_RELAXED);
		else if (n.tid)
			e = add_thread(r, ids, &n);
	}
	if (!e && !ids->failed)
		e = read_crowd(r, ids);
	r->s->threads = (int)ids->n;
	return ids->failed ? -ENOMEM : e;
}

static uint64_t start_of(const struct calls *c, uint32_t tid)
{
	const struct call_now *slot = &c->slots[tid & (SLOTS - 1)];
	struct call_now n;

	if (slot->tid == tid)
		return __atomic_load_n(&slot->start, __ATOMIC_RELAXED);
	return bpf_map_lookup_elem(bpf_map__fd(c->skel->maps.crowd), &tid, &n) ? 0 : n.start;
}

/* No call of some length ended while we read: none was counted both as going on and as ended. */
static bool stayed(const struct reading *r, const struct ids *ids)
{
	for (size_t i = 0; i < ids->n; i++)
		if (ids->at[i].start && ids->at[i].start + LONG_NS < r->s->t_ns &&
		    start_of(r->c, ids->at[i].id) != ids->at[i].start)
			return false;
	return true;
}

static int read_once(struct reading *r, bool *good)
{
	struct ids ids = {0};
	int e;

	r->s->t_ns = now_ns();
	e = read_threads(r, &ids);
	if (!e)
		e = read_sites(r);
	if (!e)
		e = add_fast(r);
	if (!e)
		e = read_words(r);
	*good = stayed(r, &ids);
	free(ids.at);
	return e;
}

/* Times it could not run, since it did already on this CPU. */
static uint64_t misses(struct bpf_program *p)
{
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);

	return bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &len) ? 0 : info.recursion_misses;
}

/* Of those runs that were timed it is known. */
static uint64_t spent_ns(struct calls *c)
{
	uint32_t key = 0;
	uint64_t ns = 0;

	if (bpf_map_lookup_elem(bpf_map__fd(c->skel->maps.spent), &key, c->spent))
		return 0;
	for (int i = 0; i < c->cpus; i++)
		ns += c->spent[i].ns * CALL_TIMED;
	return ns;
}

/* Adds what `from` has. */
static int add_sample(struct calls_sample *s, const struct calls_sample *from)
{
	for (size_t i = 0; i < from->nrows; i++) {
		struct call_row *row = new_call(s, from->rows[i].number);

		if (!row)
			return -ENOMEM;
		*row = from->rows[i];
	}
	for (size_t i = 0; i < from->nwaits; i++) {
		const struct wait_row *w = &from->waits[i];
		struct wait_row *row = new_wait(s, w->word, w->by, w->op);

		if (!row)
			return -ENOMEM;
		*row = *w;
	}
	return 0;
}

int calls_read(struct calls *c, uint64_t call_addr, struct calls_sample *s)
{
	struct call_state *state = &c->skel->bss->state;
	struct reading r = {c, s, call_addr, __atomic_load_n(&state->epoch, __ATOMIC_RELAXED)};
	bool good = false;
	int e = 0;

	begin_fast(c, call_addr);
	for (int i = 0; !e && !good && i < TRIES; i++) {
		calls_free(s);
		s->program = calls_program(c);
		e = read_once(&r, &good);
	}
	if (!e && c->before.program == s->program)
		e = add_sample(s, &c->before);
	budget_time_off(c->budget, clock_s(), &s->off_s);
	s->split = call_addr != 0;
	s->lost = __atomic_load_n(&state->lost, __ATOMIC_RELAXED) +
		  misses(c->skel->progs.on_enter) + misses(c->skel->progs.on_exit);
	s->spent_ns = spent_ns(c);
	merge(s);
	return e;
}

/* --- the budget --- */

static void count_calls(const struct calls *c, struct probe_events *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < SLOTS; i++)
		out->of[i % EVENT_SLOTS] += c->slots[i].calls;
}

/* What goes on has begun before anybody looks again. */
static void forget_calls(struct calls *c)
{
	int map = bpf_map__fd(c->skel->maps.crowd);
	uint32_t key;

	for (unsigned i = 0; i < SLOTS; i++)
		c->slots[i].start = 0;
	while (!bpf_map_get_next_key(map, NULL, &key) && !bpf_map_delete_elem(map, &key))
		;
}

/* The time that calls have taken so far is kept; they are not known to go on any more. */
static void keep_going(struct calls *c, uint64_t call_addr)
{
	struct calls_sample *b = &c->before;
	struct reading r = {c, b, call_addr, 0};
	struct ids ids = {0};

	if (b->program != calls_program(c))
		calls_free(b);
	b->program = calls_program(c);
	b->t_ns = now_ns();
	read_threads(&r, &ids);
	free(ids.at);
	merge(b);
	for (size_t i = 0; i < b->nrows; i++)
		for (int by = 0; by < CALLERS; by++)
			b->rows[i].by[by].now = 0;
	for (size_t i = 0; i < b->nwaits; i++)
		b->waits[i].now = 0;
}

static void take_off(struct calls *c)
{
	uint64_t call_addr = c->skel->bss->state.call_addr;

	if (!c->blind)
		c->seen = calls_program(c);
	c->blind = true;
	detach(c);
	keep_going(c, call_addr);
	forget_calls(c);
	c->off = true;
}

/* Where that fails they stay off: it is told for how long. */
static void put_back(struct calls *c)
{
	forget_calls(c); /* the last to run may have run a little longer */
	if (attach(c)) {
		detach(c);
		return;
	}
	each_thread(c, note_call, NULL);
	c->off = false;
}

void calls_keep_budget(struct calls *c)
{
	static struct probe_events events;
	double now = clock_s();

	if (!budget_due(c->budget, now))
		return;
	count_calls(c, &events);
	budget_judge(c->budget, &events, target_threads(c->pid), now);
	if (!budget_off(c->budget) == !c->off)
		return;
	if (c->off)
		put_back(c);
	else
		take_off(c);
}

void calls_new_program(struct calls *c)
{
	struct call_state *state = &c->skel->bss->state;

	if (c->blind && calls_program(c) == c->seen) {
		__atomic_store_n(&state->call_addr, 0, __ATOMIC_RELAXED);
		__atomic_fetch_add(&state->program, 1, __ATOMIC_RELAXED);
	}
	c->blind = false;
}

void calls_free(struct calls_sample *s)
{
	free(s->rows);
	free(s->waits);
	memset(s, 0, sizeof(*s));
}

uint64_t calls_program(const struct calls *c)
{
	return __atomic_load_n(&c->skel->bss->state.program, __ATOMIC_RELAXED);
}

void calls_next(struct calls *c)
{
	__atomic_fetch_add(&c->skel->bss->state.epoch, 1, __ATOMIC_RELAXED);
}

/* What lies between */

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static void subtract_count(struct call_count *n, const struct call_count *from)
{
	n->calls = less(n->calls, from->calls);
	n->errors = less(n->errors, from->errors);
	n->ns = less(n->ns, from->ns);
}

static void subtract_waits(struct wait_row *w, const struct wait_row *from)
{
	w->waits = less(w->waits, from->waits);
	w->ns = less(w->ns, from->ns);
	w->going_ns -= from->going_ns;
	for (int i = 0; i < WAIT_SLOTS; i++)
		w->hist[i] = less(w->hist[i], from->hist[i]);
}

static void *copy(const void *array, size_t n, size_t each)
{
	void *p = malloc(n ? n * each : 1);

	if (p && n)
		memcpy(p, array, n * each);
	return p;
}

int calls_between(struct calls_sample *d, const struct calls_sample *from,
		  const struct calls_sample *to)
{
	*d = *to;
	d->rows = copy(to->rows, to->nrows, sizeof(*to->rows));
	d->waits = copy(to->waits, to->nwaits, sizeof(*to->waits));
	if (!d->rows || !d->waits) {
		calls_free(d);
		return -ENOMEM;
	}
	d->lost = less(to->lost, from->lost);
	d->spent_ns = less(to->spent_ns, from->spent_ns);
	d->off_s = to->off_s - from->off_s;
	if (from->program != to->program)
		return 0;
	for (size_t i = 0; i < d->nrows; i++) {
		const struct call_row *r = from->nrows
						   ? bsearch(&d->rows[i], from->rows, from->nrows,
							     sizeof(*r), compare_calls)
						   : NULL;

		for (int by = 0; r && by < CALLERS; by++)
			subtract_count(&d->rows[i].by[by], &r->by[by]);
	}
	for (size_t i = 0; i < d->nwaits; i++) {
		const struct wait_row *w =
			from->nwaits ? bsearch(&d->waits[i], from->waits, from->nwaits, sizeof(*w),
					       compare_waits)
				     : NULL;

		if (w)
			subtract_waits(&d->waits[i], w);
	}
	return 0;
}

double calls_watched(const struct model *m)
{
	double s = m->seconds - m->syscalls->d.off_s;

	return s > 0 ? s : 0;
}

bool calls_off_note(const struct model *m, char *out, size_t len)
{
	if (m->syscalls->d.off_s <= 0)
		return false;
	snprintf(out, len,
		 "watched for %.1f of %.1f s, of which this is: more than %u calls a second in a "
		 "thread (--budget)",
		 calls_watched(m), m->seconds, budget_get());
	return true;
}

void calls_no_split_note(const struct model *m, char *out, size_t len)
{
	if (m->target && m->target->closed)
		snprintf(out, len,
			 "the file of its libhakmem cannot be opened (hakstat doctor says why): "
			 "which system calls are its own is not known");
	else
		snprintf(out, len,
			 "this libhakmem does not tell its system calls from others (older?)");
}

uint64_t calls_quantile(const struct wait_row *w, double share)
{
	uint64_t total = 0, sum = 0;

	for (int i = 0; i < WAIT_SLOTS; i++)
		total += w->hist[i];
	for (int i = 0; i < WAIT_SLOTS; i++) {
		sum += w->hist[i];
		if (sum && (sum == total || (double)sum > (double)total * share)) {
			uint64_t edge = ((uint64_t)2 << i) - 1;

			return w->max_ns && edge > w->max_ns ? w->max_ns : edge;
		}
	}
	return 0;
}

struct call_count calls_total(const struct calls_sample *d, enum caller by)
{
	struct call_count sum = {0};

	for (size_t i = 0; i < d->nrows; i++)
		add_count(&sum, &d->rows[i].by[by]);
	return sum;
}
