#include "attach.h"
#include "privilege.h"
#include "hakstat.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "hakstat.skel.h"

#define TRACE_UPROBE_MULTI 48 /* BPF_TRACE_UPROBE_MULTI, linux 6.6 */

/* A program on the probes of a target: by one link to all of them, or one to each. */
struct probes_link {
	struct probes_link *next;
	const struct bpf_program *program;
	struct target *t; /* a copy */
	uint64_t wanted, on;
	struct program_state *state; /* the program's */
	bool multi;
	int multi_fd; /* or -1 */
	struct bpf_link *links[HAK_PROBE_COUNT];
};

struct attachment {
	struct hakstat_bpf *skel;
	struct probes_link *on;
	struct budget *budget;
};

static struct probes_link *all_links;
static struct probes_link *sums_link;	  /* that of the program of the sums */
static uint64_t left_out;		  /* probes that are off, a bit each */
static uint64_t in_demand = ~(uint64_t)0; /* by who looks, of the program of the sums */

static uint64_t spent_ns; /* in programs on probes so far */

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

/* --- any program on any probes --- */

void probes_prepare(struct bpf_program *p, bool multi)
{
	libbpf_set_print(silent);
	if (multi)
		bpf_program__set_expected_attach_type(p, (enum bpf_attach_type)TRACE_UPROBE_MULTI);
}

bool probes_before_multi(int error)
{
	return error && error != -EPERM && error != -ENOENT && error != -ESRCH;
}

/* Those that count: who counts stays away from what would switch something on. */
uint64_t probes_that_fire(const struct target *t)
{
	uint64_t all = 0;

	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		if (!t->site[i].semaphore)
			all |= PROBE_BIT(i);
	return all;
}

static uint64_t present(const struct target *t)
{
	uint64_t mask = 0;

	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		if (t->site[i].found)
			mask |= PROBE_BIT(i);
	return mask;
}

static uint64_t cookie(int probe, uint32_t turn)
{
	return (uint64_t)turn << TURN_SHIFT | (uint64_t)probe;
}

static unsigned list_sites(const struct probes_link *l, uint64_t which, uint32_t turn,
			   uint64_t *offsets, uint64_t *semaphores, uint64_t *cookies)
{
	unsigned n = 0;

	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		if (which & PROBE_BIT(i)) {
			offsets[n] = l->t->site[i].offset;
			semaphores[n] = l->t->site[i].semaphore;
			cookies[n++] = cookie(i, turn);
		}
	return n;
}

/*
 * One link for all probes: needs CAP_BPF and CAP_PERFMON only. By the raw system call, since the
 * libbpf of Debian 12 does not know it yet.
 */
static int create_multi(const struct probes_link *l, uint64_t which, uint32_t turn)
{
	uint64_t offsets[HAK_PROBE_COUNT], semaphores[HAK_PROBE_COUNT], cookies[HAK_PROBE_COUNT];
	struct {
		uint32_t prog_fd, target_fd, attach_type, flags;
		uint64_t path, offsets, ref_ctr_offsets, cookies;
		uint32_t count, multi_flags, pid, pad;
	} attr = {
		.prog_fd = (uint32_t)bpf_program__fd(l->program),
		.attach_type = TRACE_UPROBE_MULTI,
		.path = (uintptr_t)l->t->open_path,
		.offsets = (uintptr_t)offsets,
		.ref_ctr_offsets = (uintptr_t)semaphores,
		.cookies = (uintptr_t)cookies,
		.count = list_sites(l, which, turn, offsets, semaphores, cookies),
		.pid = (uint32_t)l->t->pid,
	};
	int fd;

	if (getenv("HAKSTAT_NO_MULTI")) /* as a kernel before 6.6 does */
		return -EOPNOTSUPP;
	fd = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	return fd < 0 ? -errno : fd;
}

/* The new link first, so that no event is missed; its turn comes when it is there. */
static int put_multi(struct probes_link *l, uint64_t which)
{
	uint32_t *now = &l->state->turn, turn = l->multi_fd >= 0 ? !*now : *now;
	int fd = which ? create_multi(l, which, turn) : -1;

	if (which && fd < 0)
		return fd;
	__atomic_store_n(now, turn, __ATOMIC_RELEASE);
	if (l->multi_fd >= 0)
		close(l->multi_fd);
	l->multi_fd = fd;
	l->on = which;
	return 0;
}

/* Before 6.6: one perf event a probe. */
static int put_single(struct probes_link *l, uint64_t which)
{
	for (int i = 0; i < HAK_PROBE_COUNT; i++) {
		LIBBPF_OPTS(bpf_uprobe_opts, opts, .bpf_cookie = cookie(i, 0),
			    .ref_ctr_offset = l->t->site[i].semaphore);

		if (l->links[i] && !(which & PROBE_BIT(i))) {
			bpf_link__destroy(l->links[i]);
			l->links[i] = NULL;
		} else if (!l->links[i] && which & PROBE_BIT(i)) {
			l->links[i] = bpf_program__attach_uprobe_opts(l->program, l->t->pid,
								      l->t->open_path,
								      l->t->site[i].offset, &opts);
			if (!l->links[i])
				return -errno;
		}
	}
	l->on = which;
	return 0;
}

/* On the probes it wants, but for those that are off. */
static int put(struct probes_link *l)
{
	uint64_t which = l->wanted & ~left_out;

	int r;

	if (which == l->on)
		return 0;
	r = l->multi ? put_multi(l, which) : put_single(l, which);
	return r == -ENOENT ? -ESRCH : r; /* its files go with a process */
}

/*
 * The program of the sums is on what others are on, too: it counts for the budget. The breakpoint
 * is there anyhow.
 */
static void follow(void)
{
	uint64_t others = 0;

	for (const struct probes_link *l = all_links; l; l = l->next)
		others |= l == sums_link ? 0 : l->wanted;
	if (!sums_link)
		return;
	sums_link->wanted =
		(in_demand | others) & present(sums_link->t) & probes_that_fire(sums_link->t);
	put(sums_link);
}

struct probes_link *probes_attach(const struct bpf_program *p, const struct target *t, bool multi,
				  uint64_t wanted, struct program_state *state, int *error)
{
	struct probes_link *l = calloc(1, sizeof(*l));
	struct target *copy = malloc(sizeof(*copy));

	if (!l || !copy) {
		free(l);
		free(copy);
		*error = -ENOMEM;
		return NULL;
	}
	*copy = *t;
	*l = (struct probes_link){.next = all_links,
				  .program = p,
				  .t = copy,
				  .wanted = wanted & present(t),
				  .state = state,
				  .multi = multi,
				  .multi_fd = -1};
	all_links = l;
	*error = l->wanted ? put(l) : -ENOENT;
	if (!*error) {
		follow();
		return l;
	}
	probes_detach(l);
	return NULL;
}

/* Once, where a program has several links. */
static void add_spent(const struct probes_link *l)
{
	uint64_t now = __atomic_load_n(&l->state->spent_ns, __ATOMIC_RELAXED);

	spent_ns += now - l->state->told_ns;
	l->state->told_ns = now;
}

uint64_t probes_spent(void)
{
	for (const struct probes_link *l = all_links; l; l = l->next)
		add_spent(l);
	return spent_ns;
}

void probes_detach(struct probes_link *l)
{
	struct probes_link **at = &all_links;

	if (!l)
		return;
	while (*at && *at != l)
		at = &(*at)->next;
	if (*at)
		*at = l->next;
	if (l == sums_link)
		sums_link = NULL;
	add_spent(l);
	follow();
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		bpf_link__destroy(l->links[i]);
	if (l->multi_fd >= 0)
		close(l->multi_fd);
	free(l->t);
	free(l);
}

bool probes_by_events(const struct probes_link *l)
{
	return l && !l->multi;
}

/* Where that fails, as on a process that just ends, all stays as it is until the next time. */
static void leave_out(uint64_t probes)
{
	left_out = probes;
	for (struct probes_link *l = all_links; l; l = l->next)
		put(l);
}

struct budget *probes_budget_open(void)
{
	return budget_open(HAK_PROBE_COUNT);
}

void probes_budget_close(struct budget *b)
{
	if (b)
		left_out = 0;
	budget_close(b);
}

bool probes_keep_budget(struct budget *b, const struct probe_events events[HAK_PROBE_COUNT],
			pid_t pid)
{
	double now = clock_s();

	if (!budget_due(b, now) || !budget_judge(b, events, target_threads(pid), now))
		return false;
	leave_out(budget_off(b));
	return true;
}

/* --- the program of the sums on all of them --- */

static int load(struct attachment *a, bool multi)
{
	int r;

	a->skel = hakstat_bpf__open();
	if (!a->skel)
		return -errno;
	probes_prepare(a->skel->progs.on_probe, multi);
	r = hakstat_bpf__load(a->skel);
	/* where libbpf could not try whether maps can be mapped it goes on without */
	if (!r && !a->skel->bss)
		r = -EOPNOTSUPP;
	if (r) {
		hakstat_bpf__destroy(a->skel);
		a->skel = NULL;
	}
	return r;
}

static int load_and_attach(struct attachment *a, const struct target *t, bool multi)
{
	int r = load(a, multi);

	if (!r)
		a->on = probes_attach(a->skel->progs.on_probe, t, multi,
				      in_demand & probes_that_fire(t), &a->skel->bss->program, &r);
	sums_link = a->on;
	follow();
	return r;
}

static int try_attach(struct attachment *a, const struct target *t)
{
	int r = load_and_attach(a, t, true);

	if (!probes_before_multi(r))
		return r;
	if (a->skel)
		hakstat_bpf__destroy(a->skel);
	a->skel = NULL;
	return load_and_attach(a, t, false);
}

struct attachment *attach_probes(const struct target *t, int *error, char *err, size_t errlen)
{
	struct attachment *a = calloc(1, sizeof(*a));

	if (!a) {
		*error = -ENOMEM;
		return NULL;
	}
	a->budget = probes_budget_open();
	*error = t->closed ? -EACCES : a->budget ? try_attach(a, t) : -ENOMEM;
	if (!*error)
		return a;
	if (t->closed)
		snprintf(err, errlen, "%s", target_closed);
	else if (*error == -ENOENT)
		snprintf(err, errlen, "%s has no probes (built with PROBES=0?)", t->lib);
	else if (*error == -EPERM || *error == -EACCES)
		no_permission("for BPF", err, errlen);
	else
		snprintf(err, errlen, "cannot attach BPF: %s (see hakstat doctor)",
			 strerror(-*error));
	attach_close(a);
	return NULL;
}

void attach_close(struct attachment *a)
{
	if (!a)
		return;
	probes_detach(a->on);
	if (a->skel)
		hakstat_bpf__destroy(a->skel);
	probes_budget_close(a->budget);
	free(a);
}

void attach_keep_budget(struct attachment *a)
{
	probes_keep_budget(a->budget, a->skel->bss->events, a->on->t->pid);
}

void attach_want(uint64_t probes)
{
	in_demand = probes;
	follow();
}

uint64_t attach_wanted(void)
{
	return in_demand;
}

void attach_time_off(const struct attachment *a, double off_s[HAK_PROBE_COUNT])
{
	budget_time_off(a->budget, clock_s(), off_s);
}

void attach_read(struct attachment *a, struct bpf_sums *out)
{
	struct bpf_sums *in = &a->skel->bss->sums;

	memcpy(out, in, sizeof(*out));
	for (int i = 0; i < HAK_LOCK_MAX; i++)
		out->lock[i].max_ns = __atomic_exchange_n(&in->lock[i].max_ns, 0, __ATOMIC_RELAXED);
}

void attach_cost(struct attachment *a, int64_t *events, int64_t *lost, int64_t *run_ns)
{
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);

	*events = 0;
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		for (int k = 0; k < EVENT_SLOTS; k++)
			*events += (int64_t)a->skel->bss->events[i].of[k];
	*run_ns = (int64_t)probes_spent();
	*lost = -1;
	if (bpf_obj_get_info_by_fd(bpf_program__fd(a->skel->progs.on_probe), &info, &len))
		return;
	*lost = (int64_t)info.recursion_misses;
}

bool attach_by_events(const struct attachment *a)
{
	return a && probes_by_events(a->on);
}

bool attach_before_multi(void)
{
	struct utsname u;
	int major = 0, minor = 0;

	return uname(&u) || sscanf(u.release, "%d.%d", &major, &minor) != 2 || major < 6 ||
	       (major == 6 && minor < 6);
}

const char *attach_method(const struct attachment *a)
{
	return a->on->multi ? "uprobe_multi" : "perf_event uprobes";
}
