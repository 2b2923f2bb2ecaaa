#include "sampler.h"
#include "attach.h"
#include "names.h"
#include "privilege.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stacks.skel.h"

#define RECORDS_AT_ONCE 2048	   /* then others have their turn: there may be more all the time */
#define RING_BYTES_ALL (64U << 20) /* where every stack is wanted */

struct sampler {
	struct stacks_bpf *skel;
	struct probes_link *switches, *on;
	struct ring_buffer *ring;
	void (*fn)(void *arg, const struct stack_event *e);
	void *arg;
	unsigned left; /* records of this turn */
	uint64_t bare; /* of the options */
};

static void configure(struct stacks_bpf__rodata *c, const struct target *t,
		      const struct sampler_options *o)
{
	uint64_t dev, ino;
	uint32_t pages = (o->slice_bytes + STACK_PAGE - 1) / STACK_PAGE;

	c->pages = pages > STACK_PAGES_MAX ? STACK_PAGES_MAX : pages ? pages : 1;
	c->small_pages = (c->pages + 3) / 4;
	c->budget = (uint32_t)(((uint64_t)o->per_second << STACK_WINDOW_SHIFT) / 1000000000U);
	if (o->per_second && !c->budget)
		c->budget = 1;
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		c->filter_arg[i] = o->filter_arg[i];
	c->filter_value = o->filter_value;
	c->bare = o->bare;
	pid_namespace(t->pid, &dev, &ino);
	c->pid_ns_dev = dev;
	c->pid_ns_ino = ino;
}

static bool is_whole(const struct sampler *s, const struct stack_event *e, size_t bytes)
{
	if (bytes < STACK_BARE_BYTES || e->probe >= HAK_PROBE_COUNT)
		return false;
	if (s->bare & PROBE_BIT(e->probe))
		return true;
	return bytes >= sizeof(*e) && e->bytes <= bytes - sizeof(*e) && e->chain <= STACK_CHAIN_MAX;
}

static int on_record(void *arg, void *data, size_t bytes)
{
	struct sampler *s = arg;
	const struct stack_event *e = data;

	if (is_whole(s, e, bytes))
		s->fn(s->arg, e);
	return --s->left ? 0 : -EINTR;
}

static int load(struct sampler *s, const struct target *t, const struct sampler_options *o,
		bool multi)
{
	int r;

	s->skel = stacks_bpf__open();
	if (!s->skel)
		return -errno;
	configure(s->skel->rodata, t, o);
	if (!o->per_second)
		bpf_map__set_max_entries(s->skel->maps.ring, RING_BYTES_ALL);
	probes_prepare(s->skel->progs.on_stack, multi);
	r = stacks_bpf__load(s->skel);
	if (!r && !s->skel->bss)
		r = -EOPNOTSUPP; /* see attach.c:load */
	if (r) {
		stacks_bpf__destroy(s->skel);
		s->skel = NULL;
	}
	return r;
}

/* The ring comes before the probes: nothing is to be missed. */
static int start(struct sampler *s, const struct target *t, const struct sampler_options *o,
		 bool multi)
{
	int r = load(s, t, o, multi);

	if (r)
		return r;
	s->ring = ring_buffer__new(bpf_map__fd(s->skel->maps.ring), on_record, s, NULL);
	if (!s->ring)
		return -errno;
	if (o->switches)
		s->switches = probes_attach(s->skel->progs.on_stack, t, multi, o->switches,
					    &s->skel->bss->program, &r);
	if (!r)
		s->on = probes_attach(s->skel->progs.on_stack, t, multi, o->which,
				      &s->skel->bss->program, &r);
	return r;
}

static void stop(struct sampler *s)
{
	probes_detach(s->on);
	probes_detach(s->switches);
	ring_buffer__free(s->ring);
	if (s->skel)
		stacks_bpf__destroy(s->skel);
	s->on = s->switches = NULL;
	s->ring = NULL;
	s->skel = NULL;
}

static void explain(int error, const struct target *t, char *err, size_t errlen)
{
	if (t->closed)
		snprintf(err, errlen, "%s", target_closed);
	else if (error == -ENOENT)
		snprintf(err, errlen, "%s has none of these probes (built with PROBES=0?)", t->lib);
	else if (error == -EPERM || error == -EACCES)
		no_permission("for BPF", err, errlen);
	else
		snprintf(err, errlen, "cannot attach BPF: %s (see hakstat doctor)",
			 strerror(-error));
}

struct sampler *sampler_open(const struct target *t, const struct sampler_options *o, int *error,
			     char *err, size_t errlen)
{
	struct sampler *s = calloc(1, sizeof(*s));

	if (!s) {
		*error = -ENOMEM;
		explain(*error, t, err, errlen);
		return NULL;
	}
	s->bare = o->bare;
	*error = t->closed ? -EPERM : start(s, t, o, true);
	if (probes_before_multi(*error)) {
		stop(s);
		*error = start(s, t, o, false);
	}
	if (!*error)
		return s;
	explain(*error, t, err, errlen);
	sampler_close(s);
	return NULL;
}

void sampler_close(struct sampler *s)
{
	if (!s)
		return;
	stop(s);
	free(s);
}

bool sampler_drain(struct sampler *s, void (*fn)(void *arg, const struct stack_event *e), void *arg)
{
	s->fn = fn;
	s->arg = arg;
	s->left = RECORDS_AT_ONCE;
	ring_buffer__consume(s->ring);
	return s->left;
}

static bool program_info(const struct sampler *s, struct bpf_prog_info *info)
{
	uint32_t len = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return !bpf_obj_get_info_by_fd(bpf_program__fd(s->skel->progs.on_stack), info, &len);
}

void sampler_counts(const struct sampler *s, struct stack_counts *out)
{
	struct bpf_prog_info info;

	memcpy(out, &s->skel->bss->counts, sizeof(*out));
	if (program_info(s, &info))
		out->lost += info.recursion_misses;
}

uint64_t sampler_cost(const struct sampler *s)
{
	return __atomic_load_n(&s->skel->bss->program.spent_ns, __ATOMIC_RELAXED);
}
