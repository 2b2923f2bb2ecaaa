#include "trace.h"
#include "attach.h"
#include "budget.h"
#include "hakstat.h"
#include "names.h"
#include "privilege.h"
#include "stacks.h"
#include "watch.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace.skel.h"

struct state {
	struct trace_options o;
	struct trace_bpf *bpf;
	struct probes_link *on;
	struct ring_buffer *ring;
	struct budget *budget;
	uint64_t off; /* probes that the budget keeps off, a bit each */
	pid_t pid;
	struct trace_counts before; /* of programs before this one */
	bool ended;
};

int trace_ns_argument(int probe)
{
	return probe_argument(probe, "ns");
}

static void *open_trace(const void *options)
{
	struct state *st = calloc(1, sizeof(*st));

	if (st)
		st->o = *(const struct trace_options *)options;
	return st;
}

static int on_record(void *arg, void *data, size_t bytes)
{
	struct trace_event e;
	struct state *st = arg;

	if (bytes < sizeof(e) || st->ended)
		return 0;
	memcpy(&e, data, sizeof(e));
	if (e.probe >= HAK_PROBE_COUNT)
		return 0;
	e.name[TRACE_NAME - 1] = '\0';
	sanitize(e.name);
	e.skipped += st->before.skipped;
	e.lost += st->before.lost;
	st->ended = !st->o.event(st->o.arg, &e);
	return 0;
}

static void configure(struct state *st, const struct target *t)
{
	struct trace_bpf__rodata *c = st->bpf->rodata;
	uint64_t dev, ino;

	pid_namespace(t->pid, &dev, &ino);
	c->pid_ns_dev = dev;
	c->pid_ns_ino = ino;
	c->budget = st->o.per_second;
	c->min_ns = st->o.min_ns;
	for (int i = 0; i < HAK_PROBE_COUNT; i++) {
		int arg = trace_ns_argument(i);

		c->ns_arg[i] = arg < 0 ? TRACE_NO_ARG : (uint32_t)arg;
	}
}

static void detach(struct state *st)
{
	probes_detach(st->on);
	ring_buffer__free(st->ring);
	trace_bpf__destroy(st->bpf);
	probes_budget_close(st->budget);
	st->budget = NULL;
	st->off = 0;
	st->on = NULL;
	st->ring = NULL;
	st->bpf = NULL;
}

static int start(struct state *st, const struct target *t, bool multi)
{
	int r;

	st->bpf = trace_bpf__open();
	if (!st->bpf)
		return -errno;
	configure(st, t);
	probes_prepare(st->bpf->progs.on_event, multi);
	r = trace_bpf__load(st->bpf);
	if (!r && !st->bpf->bss)
		r = -EOPNOTSUPP; /* see attach.c:load */
	if (!r) {
		st->ring = ring_buffer__new(bpf_map__fd(st->bpf->maps.ring), on_record, st, NULL);
		if (!st->ring)
			r = -errno;
	}
	if (!r && !(st->budget = probes_budget_open()))
		r = -ENOMEM;
	if (!r)
		st->on = probes_attach(st->bpf->progs.on_event, t, multi, st->o.which,
				       &st->bpf->bss->program, &r);
	if (r)
		detach(st);
	return r;
}

static int attach(void *arg, const struct target *t, char *err, size_t errlen)
{
	struct state *st = arg;
	int r;

	st->pid = t->pid;
	r = t->closed ? -EPERM : start(st, t, true);

	if (probes_before_multi(r))
		r = start(st, t, false);
	*st->o.by_events = probes_by_events(st->on);
	if (!r)
		return 0;
	if (r == -ESRCH && target_alive(t->pid))
		return r; /* it just becomes another program, to which we come then */
	if (t->closed)
		snprintf(err, errlen, "%s", target_closed);
	else if (r == -ENOENT)
		snprintf(err, errlen, "%s has none of these probes (built with PROBES=0?)", t->lib);
	else if (r == -EPERM || r == -EACCES)
		no_permission("for BPF", err, errlen);
	else
		snprintf(err, errlen, "cannot attach BPF: %s (see hakstat doctor)", strerror(-r));
	complain("%s", err);
	*st->o.refused = r;
	stop_requested = 1;
	return r;
}

/* What the kernel could not hand to the program counts as lost. */
static void read_counts(struct state *st)
{
	struct trace_counts *out = st->o.counts;
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);

	*out = st->before;
	out->taken += st->bpf->bss->counts.taken;
	out->skipped += st->bpf->bss->counts.skipped;
	out->lost += st->bpf->bss->counts.lost;
	if (!bpf_obj_get_info_by_fd(bpf_program__fd(st->bpf->progs.on_event), &info, &len))
		out->lost += info.recursion_misses;
}

static void keep_budget(struct state *st)
{
	uint64_t off;

	probes_keep_budget(st->budget, st->bpf->bss->events, st->pid);
	off = budget_off(st->budget);
	budget_time_off(st->budget, clock_s(), st->o.off_s);
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		if ((off ^ st->off) & PROBE_BIT(i))
			st->o.off(st->o.arg, i, off >> i & 1);
	st->off = off;
}

static void turn(void *arg, struct watch *w)
{
	struct state *st = arg;

	(void)w;
	if (!st->ring)
		return;
	ring_buffer__consume(st->ring);
	read_counts(st);
	keep_budget(st);
	st->o.turn(st->o.arg);
	if (st->ended)
		stop_requested = 1;
}

static void look(void *arg, struct watch *w, const struct sample *s)
{
	(void)s;
	turn(arg, w);
}

/* Another program: what this one had to tell is told first. */
static void restart(void *arg)
{
	struct state *st = arg;

	turn(st, NULL);
	if (st->bpf)
		st->before = *st->o.counts;
	detach(st);
}

static void close_trace(void *arg)
{
	struct state *st = arg;

	turn(st, NULL);
	detach(st);
	free(st);
}

const struct source source_trace = {
	.name = "trace",
	.by_itself = true,
	.open = open_trace,
	.attach = attach,
	.turn = turn,
	.look = look,
	.restart = restart,
	.close = close_trace,
};
