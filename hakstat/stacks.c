/* Collects user stacks, and counts those that are the same. Names come later (stack_rows.c). */
#include "stacks.h"
#include "attach.h"
#include "hakstat.h"
#include "watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RATE_DEFAULT 1000
#define SLICE_DEFAULT 16384
#define DEPTH_DEFAULT 128
#define TURN_S 2.0 /* for all of these: then they are dropped */
#define TURNS 16   /* of records, then other things have to be done */

struct collector {
	struct stacks_options options;
	struct target target;
	struct sampler *sampler;
	struct traces traces;
	double weight[HAK_PROBE_COUNT]; /* events that the stacks taken stand for */
	struct stack_counts mark;
	uint64_t bpf_mark;
	int64_t cpu_mark;
	double since;
	double until;	      /* stacks are unwound in this turn */
	bool marked;	      /* `since` is when; else all of the program's life counts */
	struct stacks result; /* of fill */
	uint64_t unkept;
};

/* --- options --- */

void stacks_options_init(struct stacks_options *o)
{
	memset(o, 0, sizeof(*o));
	o->depth = DEPTH_DEFAULT;
	o->sampler.slice_bytes = SLICE_DEFAULT;
	o->sampler.per_second = RATE_DEFAULT;
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		o->sampler.filter_arg[i] = STACK_NO_ARG;
}

int stacks_filter(struct stacks_options *o, const char *unit, uint32_t value)
{
	for (int i = 0; i < HAK_PROBE_COUNT; i++) {
		int arg = probe_argument(i, unit);

		if (!(o->sampler.which & PROBE_BIT(i)))
			continue;
		if (arg < 0)
			return i;
		o->sampler.filter_arg[i] = (uint32_t)arg;
	}
	o->sampler.filter_value = value;
	return -1;
}

bool stacks_explain(struct stacks_options *o, int probe, const char *unit, uint32_t value,
		    const char *what)
{
	o->sampler.which = PROBE_BIT(probe);
	o->cumulative = true;
	snprintf(o->title, sizeof(o->title), "%s%s%s", hak_probes[probe].name, *what ? ", " : "",
		 what);
	return !unit || stacks_filter(o, unit, value) < 0;
}

/* --- what an event is worth --- */

int probe_argument(int probe, const char *unit)
{
	const struct probe_desc *p = &hak_probes[probe];

	for (int i = 0; i < p->nargs; i++)
		if (!strcmp(p->arg[i].unit, unit))
			return i;
	return -1;
}

static int bytes_argument(int probe)
{
	static const char *const names[] = {"bytes", "block_bytes", "weighted_bytes"};
	const struct probe_desc *p = &hak_probes[probe];

	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
		for (int i = 0; i < p->nargs; i++)
			if (!strcmp(p->arg[i].name, names[k]))
				return i;
	return -1;
}

bool probe_has_bytes(int probe)
{
	return bytes_argument(probe) >= 0;
}

bool probe_has_ns(int probe)
{
	return probe_argument(probe, "ns") >= 0;
}

static double argument(const struct stack_event *e, int i)
{
	const struct probe_arg *a = i >= 0 ? &hak_probes[e->probe].arg[i] : NULL;

	if (!a)
		return 0;
	return !strcmp(a->type, "u32") ? (double)(uint32_t)e->arg[i] : (double)e->arg[i];
}

static double event_bytes(const struct stack_event *e)
{
	int i = bytes_argument((int)e->probe);
	double bytes = argument(e, i);

	/* of one block: the probe tells how many */
	if (i >= 0 && !strcmp(hak_probes[e->probe].arg[i].name, "block_bytes"))
		bytes *= argument(e, probe_argument((int)e->probe, "blocks"));
	return bytes;
}

static void forget_stacks(struct collector *c)
{
	traces_forget(&c->traces);
	memset(c->weight, 0, sizeof(c->weight));
	c->unkept = 0;
}

/* --- events --- */

static void on_event(void *arg, const struct stack_event *e)
{
	struct collector *c = arg;
	struct raw_stack *s;

	if (clock_s() > c->until) { /* each took long */
		c->unkept++;
		return;
	}
	s = traces_add_event(&c->traces, &c->target, e);
	if (!s) {
		c->unkept++;
		return;
	}
	c->weight[e->probe] += e->period;
	s->sum.taken++;
	s->sum.cut += s->cut;
	s->sum.events += e->period;
	s->sum.bytes += e->period * event_bytes(e);
	s->sum.ns += e->period * argument(e, probe_argument((int)e->probe, "ns"));
}

/* All there is, unless it comes faster than it can be taken. */
static void drain(struct collector *c)
{
	c->traces.fresh = false;
	c->until = clock_s() + TURN_S;
	for (int i = 0; i < TURNS && !sampler_drain(c->sampler, on_event, c); i++)
		;
}

/* --- the source --- */

static int64_t cpu_ns(void)
{
	struct timespec t;

	return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t)
		       ? -1
		       : (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void close_all(struct collector *c)
{
	stack_rows_free(&c->result);
	forget_stacks(c);
	sampler_close(c->sampler);
	traces_close(&c->traces);
	c->sampler = NULL;
}

static bool open_all(struct collector *c)
{
	bool ok = traces_open(&c->traces, c->options.depth, c->options.frame_pointers);
	c->marked = false;
	c->since = clock_s();
	c->bpf_mark = 0;
	c->cpu_mark = cpu_ns();
	memset(&c->mark, 0, sizeof(c->mark));
	return ok;
}

static void *stacks_open(const void *options)
{
	struct collector *c = options ? calloc(1, sizeof(*c)) : NULL;

	if (!c)
		return NULL;
	c->options = *(const struct stacks_options *)options;
	if (open_all(c))
		return c;
	close_all(c);
	free(c);
	return NULL;
}

static int stacks_attach(void *state, const struct target *t, char *err, size_t errlen)
{
	struct collector *c = state;
	int error = -ENOMEM;

	c->target = *t;
	if (c->traces.unwinder)
		c->sampler = sampler_open(t, &c->options.sampler, &error, err, errlen);
	if (c->sampler) {
		traces_look(&c->traces, &c->target, 0);
		return 0;
	}
	/* what just becomes another program is attached to then */
	if (c->options.refused && !(error == -ESRCH && target_alive(t->pid))) {
		*c->options.refused = error;
		stop_requested = 1;
	}
	return error;
}

static void stacks_turn(void *state, struct watch *w)
{
	struct collector *c = state;

	if (!c->sampler)
		return;
	c->target = w->t;
	traces_look(&c->traces, &c->target, traces_pause(&c->traces));
	drain(c);
}

static void stacks_look(void *state, struct watch *w, const struct sample *s)
{
	struct collector *c = state;

	(void)s;
	if (!c->sampler)
		return;
	c->target = w->t;
	traces_look(&c->traces, &c->target, 0); /* it may be the last chance */
	drain(c);
}

static void stacks_mark(void *state)
{
	struct collector *c = state;

	if (!c->sampler || (c->options.cumulative && c->traces.used))
		return;
	drain(c);
	forget_stacks(c);
	sampler_counts(c->sampler, &c->mark);
	c->bpf_mark = sampler_cost(c->sampler);
	c->cpu_mark = cpu_ns();
	c->since = clock_s();
	c->marked = true;
}

static void fill_counts(struct collector *c, struct stacks *out)
{
	int64_t cpu = cpu_ns();

	sampler_counts(c->sampler, &out->counts);
	for (int i = 0; i < HAK_PROBE_COUNT; i++) {
		out->counts.events[i] -= c->mark.events[i];
		out->events += out->counts.events[i];
	}
	out->counts.taken -= c->mark.taken;
	out->counts.skipped -= c->mark.skipped;
	out->counts.lost -= c->mark.lost;
	out->title = c->options.title;
	out->which = c->options.sampler.which;
	out->bpf_ns = (int64_t)(sampler_cost(c->sampler) - c->bpf_mark);
	out->cpu_ns = cpu >= 0 && c->cpu_mark >= 0 ? cpu - c->cpu_mark : -1;
	out->closed = modules_closed(c->traces.modules, &out->denied);
	out->unkept = c->unkept;
	memcpy(out->method, c->traces.method, sizeof(out->method));
	memcpy(out->end, c->traces.end, sizeof(out->end));
}

/* So that the stacks taken add up to all events of their probe, where not all were taken. */
static void find_scale(const struct collector *c, const struct stacks *s, double *scale)
{
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		scale[i] = c->weight[i] > 0 && s->counts.skipped + s->counts.lost + s->unkept
				   ? (double)s->counts.events[i] / c->weight[i]
				   : 1;
}

static void stacks_fill(void *state, struct model *m)
{
	struct collector *c = state;
	struct stacks *out = &c->result;
	struct raw_stack **raw;
	double scale[HAK_PROBE_COUNT];

	if (!c->sampler)
		return;
	stack_rows_free(out);
	memset(out, 0, sizeof(*out));
	drain(c);
	fill_counts(c, out);
	out->seconds = c->marked ? clock_s() - c->since : m->seconds;
	out->off = (m->off & out->which) != 0;
	find_scale(c, out, scale);
	raw = traces_list(&c->traces);
	if (raw && stack_rows_make(out, raw, c->traces.used, scale, c->traces.symbols, &c->options,
				   c->target.comm, c->target.link == LINK_STATIC))
		m->stacks = out;
	free(raw);
}

static void stacks_restart(void *state)
{
	struct collector *c = state;

	close_all(c);
	if (!open_all(c))
		close_all(c);
}

static void stacks_close(void *state)
{
	close_all(state);
	free(state);
}

const struct source stacks_source = {
	.name = "stacks",
	.open = stacks_open,
	.attach = stacks_attach,
	.turn = stacks_turn,
	.look = stacks_look,
	.mark = stacks_mark,
	.fill = stacks_fill,
	.restart = stacks_restart,
	.close = stacks_close,
};
