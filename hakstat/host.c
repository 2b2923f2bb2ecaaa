/*
 * A look costs a line of /proc/PID/stat for each process, and the counters of those on libhakmem.
 * Whether a process is one of those is found out by its mappings, which costs more: at once for a
 * new one, and for one with a new name (exec); then again after longer and longer times, since it
 * may load the library later.
 */
#include "host.h"
#include "cgroup.h"
#include "collect.h"
#include "hakstat.h"
#include "proc_stat.h"
#include "processes.h"
#include "target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define RETRY_FIRST 0.25 /* seconds: a program that starts has its allocator soon */
#define RETRY_MOST 30.0
#define FORGET_FILES 60.0 /* files known to be others' may have been replaced */

/* One that is on libhakmem. */
struct known {
	struct target t;
	struct sample last;
	bool any;
	struct process_row row;
};

struct seen {
	pid_t pid;
	unsigned long long start; /* of /proc/PID/stat: another one is another process */
	char comm[PROC_COMM_BYTES];
	double next, wait; /* when its mappings are looked at again */
	bool closed;	   /* we may not */
	struct known *k;   /* NULL: not on libhakmem as of then */
};

struct host {
	struct seen *of; /* by pid */
	int n, room;
	struct strangers *strangers;
	double strangers_since;
	struct processes out;
	struct process_row *row;
	int row_room;
	double looked, interval; /* when, and how long after the one before */
	double cpu, cpu_share;	 /* our own time, and of the interval */
};

struct host *host_open(void)
{
	struct host *h = calloc(1, sizeof(*h));

	if (h)
		h->looked = -1;
	return h;
}

static void forget(struct seen *s)
{
	free(s->k);
	s->k = NULL;
	s->next = s->wait = 0;
}

void host_close(struct host *h)
{
	if (!h)
		return;
	for (int i = 0; i < h->n; i++)
		forget(&h->of[i]);
	strangers_free(h->strangers);
	free(h->of);
	free(h->row);
	free(h);
}

/* --- which processes there are --- */

static int by_pid(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

static struct seen *find(const struct host *h, int n, pid_t pid)
{
	struct seen key = {.pid = pid};

	return n ? bsearch(&key, h->of, (size_t)n, sizeof(key), by_pid) : NULL;
}

static struct seen *add(struct host *h, pid_t pid)
{
	if (h->n == h->room) {
		int room = h->room ? 2 * h->room : 256;
		struct seen *more = realloc(h->of, (size_t)room * sizeof(*more));

		if (!more)
			return NULL;
		h->of = more;
		h->room = room;
	}
	h->of[h->n] = (struct seen){.pid = pid};
	return &h->of[h->n++];
}

static void drop_gone(struct host *h, const bool *there, int before)
{
	int kept = 0;

	for (int i = 0; i < h->n; i++) {
		if (i < before && !there[i])
			forget(&h->of[i]);
		else
			h->of[kept++] = h->of[i];
	}
	h->n = kept;
	qsort(h->of, (size_t)h->n, sizeof(*h->of), by_pid);
}

/* New ones are found, those that are gone forgotten, kernel threads left out. */
static int list(struct host *h)
{
	int before = h->n;
	DIR *proc = opendir("/proc");
	bool *there = calloc((size_t)before + 1, sizeof(*there));
	struct dirent *d;

	if (!proc || !there) {
		int error = proc ? -ENOMEM : -errno;

		free(there);
		if (proc)
			closedir(proc);
		return error;
	}
	while ((d = readdir(proc))) {
		struct proc_stat line;
		char *end;
		long pid = strtol(d->d_name, &end, 10);
		struct seen *s;

		if (*end || pid <= 0 || !proc_stat_read((pid_t)pid, &line) ||
		    line.flags & PROC_KERNEL_THREAD || line.state == 'X')
			continue;
		s = find(h, before, (pid_t)pid);
		if (s)
			there[s - h->of] = true;
		else if (!(s = add(h, (pid_t)pid)))
			break;
		if (s->start != line.started || strcmp(s->comm, line.comm) != 0) {
			if (s->start != line.started)
				forget(s);
			s->next = s->wait = 0;
			s->start = line.started;
			memcpy(s->comm, line.comm, sizeof(s->comm));
		}
	}
	closedir(proc);
	drop_gone(h, there, before);
	free(there);
	return 0;
}

/* --- what they are --- */

static void look_again_later(struct seen *s, double now)
{
	s->wait = s->wait > 0 ? 2 * s->wait : RETRY_FIRST;
	if (s->wait > RETRY_MOST)
		s->wait = RETRY_MOST + s->pid % 16; /* not all at once */
	s->next = now + s->wait;
}

/* Is it on libhakmem? */
static void recognise(struct host *h, struct seen *s, double now)
{
	static struct target t;
	int r = target_look(&t, s->pid, h->strangers);

	s->closed = r == -EPERM || r == -EACCES;
	if (!r)
		s->k = calloc(1, sizeof(*s->k));
	if (s->k)
		s->k->t = t;
	else
		look_again_later(s, now);
}

static void make_row(struct known *k, const struct sample *s)
{
	static struct model m;

	model_make(&m, k->any ? &k->last : s, s);
	process_row_make(&k->row, &m);
	k->row.pid = k->t.pid;
	snprintf(k->row.comm, sizeof(k->row.comm), "%s", k->t.comm);
	cgroup_name(k->t.pid, k->row.cgroup, sizeof(k->row.cgroup));
	title_read(k->t.pid, k->row.title, sizeof(k->row.title));
	k->row.shared = target_shared(k->t.pid);
}

/* False: it has ended, or is another program. */
static bool read_counters(struct known *k)
{
	static struct sample s;

	if (collect(&k->t, NULL, &s, NULL, NULL))
		return false;
	if (k->any && s.root.start_ns != k->last.root.start_ns)
		return false;
	if (k->any)
		collect_after(&s, &k->last);
	make_row(k, &s);
	k->last = s;
	k->any = true;
	return true;
}

static bool add_row(struct host *h, const struct process_row *r)
{
	if (h->out.n == h->row_room) {
		int room = h->row_room ? 2 * h->row_room : 64;
		struct process_row *more = realloc(h->row, (size_t)room * sizeof(*more));

		if (!more)
			return false;
		h->row = more;
		h->row_room = room;
	}
	h->row[h->out.n++] = *r;
	return true;
}

static double own_time(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

int host_look(struct host *h)
{
	double now = clock_s(), cpu = own_time();
	int r;

	if (!h->strangers || now - h->strangers_since > FORGET_FILES) {
		strangers_free(h->strangers);
		h->strangers = strangers_new();
		h->strangers_since = now;
	}
	r = list(h);
	if (r)
		return r;
	h->interval = h->looked < 0 ? 0 : now - h->looked;
	h->cpu_share = h->interval > 0 ? (cpu - h->cpu) / h->interval : -1;
	h->looked = now;
	h->cpu = cpu;
	h->out.n = h->out.closed = 0;
	for (int i = 0; i < h->n; i++) {
		struct seen *s = &h->of[i];

		if (s->k && !read_counters(s->k))
			forget(s);
		if (!s->k && now >= s->next) {
			recognise(h, s, now);
			if (s->k && !read_counters(s->k))
				forget(s);
		}
		if (s->k)
			add_row(h, &s->k->row);
		h->out.closed += !s->k && s->closed;
	}
	h->out.row = h->row;
	return 0;
}

static void add_sums(struct model *m, const struct process_row *r)
{
	m->allocs += r->allocs;
	m->frees += r->frees;
	m->small_allocs += r->small_allocs;
	m->refills += r->refills;
	m->remote_blocks += r->remote_blocks;
	m->waits += r->waits;
	m->maps += r->os_calls;
	m->fallbacks += r->fallbacks;
	m->rss += r->rss;
	m->threads += r->threads;
	m->now.used_bytes += r->now.used_bytes;
	m->now.dirty_bytes += r->now.dirty_bytes;
	m->now.large_bytes += r->now.large_bytes;
	m->now.cached_bytes += r->now.cached_bytes;
	m->now.meta_bytes += r->now.meta_bytes;
}

void host_model(struct host *h, struct model *m)
{
	memset(m, 0, sizeof(*m));
	m->seconds = h->interval;
	m->events = m->lost = m->bpf_ns = -1;
	h->out.cpu_share = h->cpu_share;
	m->processes = &h->out;
	h->out.shared = 0;
	for (int i = 0; i < h->out.n; i++) {
		add_sums(m, &h->row[i]);
		h->out.shared += h->row[i].shared;
	}
}
