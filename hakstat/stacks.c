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
#define STACKS_MAX (1U << 17) /* different ones */
#define TURN_S 2.0	      /* for all of these: then they are dropped */
#define TURNS 16	      /* of records, then other things have to be done */
#define LOOK_S 1.0	      /* between looks at the mappings */

struct collector {
	struct stacks_options options;
	struct target target;
	struct sampler *sampler;
	struct modules *modules;
	struct unwinder *unwinder;
	struct symbols *symbols;
	struct raw_stack **stack; /* open addressing; a power of two */
	size_t room, used;
	double weight[HAK_PROBE_COUNT]; /* events that the stacks taken stand for */
	struct stack_counts mark;
	int64_t bpf_mark, cpu_mark;
	double since, looked;
	double until;	      /* stacks are unwound in this turn */
	bool fresh;	      /* a look at the mappings is as new as the records being taken */
	struct stacks result; /* of fill */
	uint64_t method[UNWIND_BOTH + 1], end[UNWIND_BROKEN + 1], unkept;
	struct stack_copy copy;
	struct callers callers;
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

/* --- stacks that are the same --- */

static uint64_t hash_stack(const struct callers *c, unsigned probe, unsigned generation)
{
	uint64_t h =
		0xcbf29ce484222325U ^ probe ^ (uint64_t)generation << 32; /* FNV-1a, by words */

	for (unsigned i = 0; i < c->n; i++) {
		h = (h ^ c->pc[i]) * 0x100000001b3U;
		h ^= h >> 29;
	}
	return h;
}

static struct raw_stack **slot_of(struct collector *c, uint64_t hash, unsigned probe,
				  unsigned generation)
{
	const struct callers *k = &c->callers;
	bool cut = k->end != UNWIND_WHOLE;

	for (size_t i = hash;; i++) {
		struct raw_stack **p = &c->stack[i & (c->room - 1)], *s = *p;

		if (!s ||
		    (s->hash == hash && s->probe == probe && s->generation == generation &&
		     s->cut == cut && s->n == k->n && !memcmp(s->pc, k->pc, k->n * sizeof(*s->pc))))
			return p;
	}
}

static bool grow(struct collector *c)
{
	size_t room = c->room ? 2 * c->room : 1024;
	struct raw_stack **p;

	if (c->used >= STACKS_MAX)
		return false;
	if (2 * c->used < c->room)
		return true;
	p = calloc(room, sizeof(struct raw_stack *));
	if (!p)
		return false;
	for (size_t i = 0; i < c->room; i++)
		if (c->stack[i]) {
			size_t k = c->stack[i]->hash;

			while (p[k & (room - 1)])
				k++;
			p[k & (room - 1)] = c->stack[i];
		}
	free(c->stack);
	c->stack = p;
	c->room = room;
	return true;
}

static struct raw_stack *find_stack(struct collector *c, unsigned probe)
{
	unsigned generation = modules_generation(c->modules);
	uint64_t hash = hash_stack(&c->callers, probe, generation);
	struct raw_stack **slot, *s;

	if (!grow(c)) {
		slot = c->room ? slot_of(c, hash, probe, generation) : NULL;
		return slot ? *slot : NULL;
	}
	slot = slot_of(c, hash, probe, generation);
	if (*slot)
		return *slot;
	s = calloc(1, sizeof(*s) + c->callers.n * sizeof(*s->pc));
	if (!s)
		return NULL;
	s->hash = hash;
	s->probe = probe;
	s->generation = generation;
	s->n = c->callers.n;
	s->cut = c->callers.end != UNWIND_WHOLE;
	memcpy(s->pc, c->callers.pc, s->n * sizeof(*s->pc));
	*slot = s;
	c->used++;
	return s;
}

static void forget_stacks(struct collector *c)
{
	for (size_t i = 0; i < c->room; i++)
		free(c->stack[i]);
	free(c->stack);
	c->stack = NULL;
	c->room = c->used = 0;
	memset(c->weight, 0, sizeof(c->weight));
	memset(c->method, 0, sizeof(c->method));
	memset(c->end, 0, sizeof(c->end));
	c->unkept = 0;
}

/* --- events --- */

static void look_at_maps(struct collector *c, double at_least)
{
	double now = clock_s();

	if (now - c->looked < at_least)
		return;
	c->looked = now;
	modules_look(c->modules, c->target.reader ? c->target.reader : c->target.pid);
}

static void unwind_event(struct collector *c, const struct stack_event *e)
{
	memcpy(c->copy.reg, e->reg, sizeof(c->copy.reg));
	c->copy.slice = e->slice;
	c->copy.bytes = e->bytes;
	c->copy.whole = e->whole;
	c->copy.chain = (const uint64_t *)e->frame;
	c->copy.links = e->chain;
	unwind(c->unwinder, &c->copy, &c->callers);
	if (c->callers.end != UNWIND_BROKEN || c->fresh)
		return;
	look_at_maps(c, 0); /* in a library that is new? */
	c->fresh = true;
	unwind(c->unwinder, &c->copy, &c->callers);
}

static void on_event(void *arg, const struct stack_event *e)
{
	struct collector *c = arg;
	struct raw_stack *s;

	if (clock_s() > c->until) { /* each took long */
		c->unkept++;
		return;
	}
	unwind_event(c, e);
	s = find_stack(c, e->probe);
	if (!s) {
		c->unkept++;
		return;
	}
	c->method[c->callers.method]++;
	c->end[c->callers.end]++;
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
	c->fresh = false;
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
	unwind_close(c->unwinder);
	symbols_close(c->symbols);
	modules_close(c->modules);
	c->sampler = NULL;
	c->unwinder = NULL;
	c->symbols = NULL;
	c->modules = NULL;
}

static bool open_all(struct collector *c)
{
	c->modules = modules_open();
	c->symbols = c->modules ? symbols_open(c->modules) : NULL;
	c->unwinder = c->modules
			      ? unwind_open(c->modules, c->options.depth, c->options.frame_pointers)
			      : NULL;
	c->looked = 0;
	c->since = clock_s();
	c->bpf_mark = 0;
	c->cpu_mark = cpu_ns();
	memset(&c->mark, 0, sizeof(c->mark));
	return c->symbols && c->unwinder;
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
	if (c->unwinder)
		c->sampler = sampler_open(t, &c->options.sampler, &error, err, errlen);
	if (c->sampler) {
		look_at_maps(c, 0);
		return 0;
	}
	if (c->options.refused) {
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
	look_at_maps(c, LOOK_S);
	drain(c);
}

static void stacks_look(void *state, struct watch *w, const struct sample *s)
{
	struct collector *c = state;

	(void)s;
	if (!c->sampler)
		return;
	c->target = w->t;
	look_at_maps(c, 0); /* it may be the last chance */
	drain(c);
}

static void stacks_mark(void *state)
{
	struct collector *c = state;

	if (!c->sampler || (c->options.cumulative && c->used))
		return;
	drain(c);
	forget_stacks(c);
	sampler_counts(c->sampler, &c->mark);
	c->bpf_mark = sampler_cost(c->sampler);
	c->cpu_mark = cpu_ns();
	c->since = clock_s();
}

static void fill_counts(struct collector *c, struct stacks *out)
{
	int64_t bpf = sampler_cost(c->sampler), cpu = cpu_ns();

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
	out->seconds = clock_s() - c->since;
	out->bpf_ns = bpf >= 0 && c->bpf_mark >= 0 ? bpf - c->bpf_mark : -1;
	out->cpu_ns = cpu >= 0 && c->cpu_mark >= 0 ? cpu - c->cpu_mark : -1;
	out->closed = modules_closed(c->modules, &out->denied);
	out->unkept = c->unkept;
	memcpy(out->method, c->method, sizeof(out->method));
	memcpy(out->end, c->end, sizeof(out->end));
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
	size_t n = 0;

	if (!c->sampler)
		return;
	stack_rows_free(out);
	memset(out, 0, sizeof(*out));
	drain(c);
	fill_counts(c, out);
	out->off = (m->off & out->which) != 0;
	find_scale(c, out, scale);
	raw = calloc(c->used + 1, sizeof(struct raw_stack *));
	for (size_t i = 0; raw && i < c->room; i++)
		if (c->stack[i])
			raw[n++] = c->stack[i];
	if (raw && stack_rows_make(out, raw, n, scale, c->symbols, &c->options, c->target.comm,
				   c->target.link == LINK_STATIC))
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
