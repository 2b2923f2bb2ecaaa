#include "attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hakstat.skel.h"

#define TRACE_UPROBE_MULTI 48 /* BPF_TRACE_UPROBE_MULTI, linux 6.6 */

struct probes_link {
	struct bpf_link *links[HAK_PROBE_COUNT];
	int multi_fd; /* the one link of uprobe_multi, or -1 */
};

struct attachment {
	struct hakstat_bpf *skel;
	struct probes_link *on;
};

/*
 * Keeps the kernel's run time statistics on, or -1. Until we end: it takes CAP_SYS_ADMIN, which is
 * given up by the time we attach once more.
 */
static int stats_fd = -1;

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

uint64_t probes_that_fire(const struct target *t)
{
	uint64_t all = 0;

	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		if (!t->site[i].semaphore)
			all |= PROBE_BIT(i);
	return all;
}

static unsigned list_sites(const struct target *t, uint64_t wanted, uint64_t *offsets,
			   uint64_t *semaphores, uint64_t *cookies)
{
	unsigned n = 0;

	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		if (t->site[i].found && wanted & PROBE_BIT(i)) {
			offsets[n] = t->site[i].offset;
			semaphores[n] = t->site[i].semaphore;
			cookies[n++] = (uint64_t)i;
		}
	return n;
}

/*
 * One link for all probes: needs CAP_BPF and CAP_PERFMON only. By the raw system call, since the
 * libbpf of Debian 12 does not know it yet.
 */
static int attach_multi(struct probes_link *l, const struct bpf_program *p, const struct target *t,
			uint64_t wanted)
{
	uint64_t offsets[HAK_PROBE_COUNT], semaphores[HAK_PROBE_COUNT], cookies[HAK_PROBE_COUNT];
	struct {
		uint32_t prog_fd, target_fd, attach_type, flags;
		uint64_t path, offsets, ref_ctr_offsets, cookies;
		uint32_t count, multi_flags, pid, pad;
	} attr = {
		.prog_fd = (uint32_t)bpf_program__fd(p),
		.attach_type = TRACE_UPROBE_MULTI,
		.path = (uintptr_t)t->open_path,
		.offsets = (uintptr_t)offsets,
		.ref_ctr_offsets = (uintptr_t)semaphores,
		.cookies = (uintptr_t)cookies,
		.count = list_sites(t, wanted, offsets, semaphores, cookies),
		.pid = (uint32_t)t->pid,
	};

	if (attr.count == 0)
		return -ENOENT;
	l->multi_fd = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	return l->multi_fd < 0 ? -errno : 0;
}

/* Before 6.6: one perf event a probe. */
static int attach_single(struct probes_link *l, const struct bpf_program *p, const struct target *t,
			 uint64_t wanted)
{
	int n = 0;

	for (int i = 0; i < HAK_PROBE_COUNT; i++) {
		LIBBPF_OPTS(bpf_uprobe_opts, opts, .bpf_cookie = (uint64_t)i,
			    .ref_ctr_offset = t->site[i].semaphore);

		if (!t->site[i].found || !(wanted & PROBE_BIT(i)))
			continue;
		l->links[i] = bpf_program__attach_uprobe_opts(p, t->pid, t->open_path,
							      t->site[i].offset, &opts);
		if (!l->links[i])
			return -errno;
		n++;
	}
	return n ? 0 : -ENOENT;
}

struct probes_link *probes_attach(const struct bpf_program *p, const struct target *t, bool multi,
				  uint64_t wanted, int *error)
{
	struct probes_link *l = calloc(1, sizeof(*l));

	if (!l) {
		*error = -ENOMEM;
		return NULL;
	}
	l->multi_fd = -1;
	*error = multi ? attach_multi(l, p, t, wanted) : attach_single(l, p, t, wanted);
	if (!*error)
		return l;
	probes_detach(l);
	return NULL;
}

void probes_detach(struct probes_link *l)
{
	if (!l)
		return;
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		bpf_link__destroy(l->links[i]);
	if (l->multi_fd >= 0)
		close(l->multi_fd);
	free(l);
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
		a->on = probes_attach(a->skel->progs.on_probe, t, multi, probes_that_fire(t), &r);
	return r;
}

static int try_attach(struct attachment *a, const struct target *t)
{
	int r = load_and_attach(a, t, true);

	if (!r || r == -EPERM || r == -ENOENT)
		return r;
	if (a->skel)
		hakstat_bpf__destroy(a->skel);
	a->skel = NULL;
	return load_and_attach(a, t, false);
}

void attach_take_time(bool take)
{
	if (take == (stats_fd >= 0))
		return;
	if (!take)
		close(stats_fd);
	stats_fd = take ? bpf_enable_stats(BPF_STATS_RUN_TIME) : -1;
}

struct attachment *attach_probes(const struct target *t, int *error, char *err, size_t errlen)
{
	struct attachment *a = calloc(1, sizeof(*a));

	if (!a) {
		*error = -ENOMEM;
		return NULL;
	}
	*error = try_attach(a, t);
	if (!*error) {
		attach_take_time(true);
		return a;
	}
	if (*error == -ENOENT)
		snprintf(err, errlen, "%s has no probes (built with PROBES=0?)", t->lib);
	else if (*error == -EPERM || *error == -EACCES)
		snprintf(err, errlen,
			 "no permission for BPF: run as root, or setcap " HAKSTAT_CAPS
			 "+ep on hakstat");
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
	free(a);
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
	const struct bpf_sums *s = &a->skel->bss->sums;

	*events = 0;
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		*events += (int64_t)s->events[i];
	*lost = *run_ns = -1;
	if (bpf_obj_get_info_by_fd(bpf_program__fd(a->skel->progs.on_probe), &info, &len))
		return;
	*lost = (int64_t)info.recursion_misses;
	if (stats_fd >= 0)
		*run_ns = (int64_t)info.run_time_ns;
}

bool attach_by_events(const struct attachment *a)
{
	return a && a->on->multi_fd < 0;
}

const char *attach_method(const struct attachment *a)
{
	return a->on->multi_fd >= 0 ? "uprobe_multi" : "perf_event uprobes";
}
