/* The source of heap profiles: switches sampling on, follows sampled blocks until they are freed.
 */
#include "heap.h"
#include "attach.h"
#include "hakstat.h"
#include "hurry.h"
#include "leaks.h"
#include "watch.h"

#include "../lib/class.h" /* the sizes of classes */

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TURNS 16     /* of records, then other things have to be done */
#define NAMES_S 0.25 /* between looks at the threads, when a new one allocates */
#define SAMPLED PROBE_BIT(HAK_P_otel_memory_alloc)
#define FREED PROBE_BIT(HAK_P_otel_memory_free)

void heap_options_init(struct heap_options *o)
{
	memset(o, 0, sizeof(*o));
	stacks_options_init(&o->stacks);
	o->stacks.callers = true;
	o->stacks.sampler.per_second = 0;
	o->stacks.sampler.which = SAMPLED | FREED;
	o->stacks.sampler.bare = FREED;
}

double heap_error(const struct heap_sums *s)
{
	return s->live_bytes > 0 ? sqrt(s->live_variance) / s->live_bytes : -1;
}

uint32_t heap_class_of(uint64_t bytes)
{
	uint32_t class = (uint32_t)HAK_CLASS_OF(bytes);

	return class < HAK_CLASSES ? class : 0;
}

/* --- events --- */

static void learn_name(struct heap_collector *c, uint32_t tid)
{
	double now = clock_s();

	if (c->options.by != HEAP_BY_THREAD || names_get(&c->names, tid) ||
	    now - c->names_read < NAMES_S)
		return;
	c->names_read = now;
	names_read(&c->names, c->target.pid);
}

static void on_alloc(struct heap_collector *c, const struct stack_event *e)
{
	struct raw_stack *s = traces_add_event(&c->traces, &c->target, e);
	struct block b = {.ptr = e->arg[0],
			  .size = e->arg[1],
			  .weight = (double)e->arg[2],
			  .time_ns = e->time_ns};
	struct cell_key key;

	if (!s) {
		c->unkept++;
		return;
	}
	learn_name(c, e->tid);
	key = (struct cell_key){s->id, e->tid, heap_class_of(b.size)};
	heap_store_add(&c->store, &key, &b, false);
}

static void on_event(void *arg, const struct stack_event *e)
{
	struct heap_collector *c = arg;

	if (e->probe == HAK_P_otel_memory_free)
		heap_store_end(&c->store, e->arg[0], e->time_ns);
	else if (e->probe == HAK_P_otel_memory_alloc)
		on_alloc(c, e);
}

/* All there is, unless it comes faster than it can be taken. */
static void drain(struct heap_collector *c)
{
	c->traces.fresh = false;
	for (int i = 0; i < TURNS && !sampler_drain(c->sampler, on_event, c); i++)
		;
}

/* --- the source --- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static int64_t cpu_ns(void)
{
	struct timespec t;

	return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t)
		       ? -1
		       : (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void forget_result(struct heap_collector *c)
{
	heap_rows_free(&c->result);
	free(c->raw);
	c->raw = NULL;
}

static void close_all(struct heap_collector *c)
{
	forget_result(c);
	sampler_close(c->sampler);
	traces_close(&c->traces);
	heap_store_free(&c->store);
	names_free(&c->names);
	free(c->site_mark);
	c->sampler = NULL;
	c->site_mark = NULL;
	c->site_marks = 0;
	c->unkept = 0;
	c->looked = false;
	leaks_free(c->leaks);
	c->leaks = NULL;
	heap_tree_free(&c->tree);
	c->result.tree = NULL;
}

static bool open_all(struct heap_collector *c)
{
	const struct stacks_options *o = &c->options.stacks;

	memset(&c->result, 0, sizeof(c->result));
	c->cpu_mark = cpu_ns();
	if (c->options.old_after_s > 0) {
		c->store.old_after_ns = (uint64_t)(c->options.old_after_s * 1e9);
		c->store.step_ns = c->store.old_after_ns;
		c->leaks = leaks_new();
		if (!c->leaks)
			return false;
	}
	return traces_open(&c->traces, o->depth, o->frame_pointers);
}

static void *heap_open(const void *options)
{
	struct heap_collector *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	heap_options_init(&c->options);
	if (options) {
		c->options = *(const struct heap_options *)options;
	} else {
		c->options.tree = true;
		c->options.folded = true;
	}
	if (open_all(c))
		return c;
	close_all(c);
	free(c);
	return NULL;
}

static const int sample_bits[] = {HAK_P_hakmem_sample_bit0, HAK_P_hakmem_sample_bit1,
				  HAK_P_hakmem_sample_bit2, HAK_P_hakmem_sample_bit3,
				  HAK_P_hakmem_sample_bit4};
#define SAMPLE_BITS (sizeof(sample_bits) / sizeof(sample_bits[0]))

/* The probes that never fire: being attached to them says what is wanted. */
static uint64_t switches_of(const struct heap_options *o)
{
	uint64_t which = o->by == HEAP_BY_SITE ? PROBE_BIT(HAK_P_hakmem_watch_sites) : 0;

	for (unsigned i = 0; i < SAMPLE_BITS; i++)
		if (o->mean_log2 >> i & 1)
			which |= PROBE_BIT(sample_bits[i]);
	return which;
}

/* Options of the library, in order. */
#define X(name, ...) OPTION_##name,
enum {
#include "../lib/options.def"
	OPTIONS
};
#undef X

/* Where nobody asks for another. */
static unsigned mean_of_process(const struct target *t, const struct hak_layout *l)
{
	uint64_t value = 0;

	if (l->options_count > OPTION_profile)
		target_read(t->reader ? t->reader : t->pid,
			    l->options + OPTION_profile * sizeof(value), &value, sizeof(value));
	return hak_mean_of_profile(value);
}

/* What the process samples by: others who watch may have asked for something else. */
static unsigned mean_in_use(const struct heap_collector *c, const struct hak_layout *l)
{
	const struct target *t = &c->target;
	unsigned log2 = 0;

	for (unsigned i = 0; i < SAMPLE_BITS; i++) {
		const struct probe_site *s = &t->site[sample_bits[i]];
		uint16_t count;

		if (!s->semaphore ||
		    target_read(t->reader ? t->reader : t->pid, t->bias + s->semaphore_addr, &count,
				sizeof(count)) != sizeof(count))
			return 0;
		log2 |= count ? 1U << i : 0;
	}
	return !log2 ? mean_of_process(t, l) : log2 < HAK_MEAN_LEAST ? HAK_MEAN_LEAST : log2;
}

static void mark_sites(struct heap_collector *c)
{
	uint64_t lost;

	if (c->options.by == HEAP_BY_SITE)
		c->site_marks = heap_read_sites(c, &c->site_mark, &lost);
}

static int refuse(struct heap_collector *c, int error)
{
	if (c->options.stacks.refused && !(error == -ESRCH && target_alive(c->target.pid))) {
		*c->options.stacks.refused = error;
		stop_requested = 1;
	}
	return error;
}

static int heap_attach(void *state, const struct target *t, char *err, size_t errlen)
{
	struct heap_collector *c = state;
	struct sampler_options o = c->options.stacks.sampler;
	int error = -ENOMEM;

	c->target = *t;
	if (t->closed) {
		snprintf(err, errlen, "%s", target_closed);
		return refuse(c, -EACCES);
	}
	if (!t->site[HAK_P_otel_memory_alloc].semaphore) {
		snprintf(err, errlen, "%s cannot sample (built with PROBES=0?)", t->lib);
		return refuse(c, -ENOENT);
	}
	o.switches = switches_of(&c->options); /* before the first allocation is sampled */
	if (c->traces.unwinder)
		c->sampler = sampler_open(t, &o, &error, err, errlen);
	if (!c->sampler)
		return refuse(c, error);
	c->attached_ns = now_ns();
	c->store.begin_ns = c->attached_ns;
	c->hurried = t->root_addr && hurry(t);
	traces_look(&c->traces, t, 0);
	if (t->root_addr) {
		/* before the first event is taken: a block that is freed meanwhile must be known */
		heap_read_history(c);
		mark_sites(c);
	}
	return 0;
}

static void heap_turn(void *state, struct watch *w)
{
	struct heap_collector *c = state;

	if (!c->sampler)
		return;
	c->target = w->t;
	traces_look(&c->traces, &c->target, traces_pause(&c->traces));
	drain(c);
}

/* What of `before' was sampled has been allocated since: it is counted there. */
static void take_before(struct heap_collector *c, const struct watch *w)
{
	struct heap_profile *h = &c->result;

	c->looked = true;
	h->begun_with = w->launched; /* also what a command became: it waits until we are there */
	if (h->begun_with)
		return;
	memcpy(h->before, h->now, sizeof(h->before));
}

static void heap_look(void *state, struct watch *w, const struct sample *s)
{
	struct heap_collector *c = state;
	struct heap_profile *h = &c->result;
	unsigned mean;

	if (!c->sampler)
		return;
	c->target = w->t;
	mean = mean_in_use(c, &s->root.layout);
	h->mean_log2 = mean ? mean : c->options.mean_log2 ? c->options.mean_log2 : HAK_MEAN_USUAL;
	h->classes = s->root.classes;
	h->unnoticed = !(s->root.sampling.turns & 1);
	h->hurried = c->hurried;
	h->sampled_by_target = s->root.sampling.samples;
	h->freed_by_target = s->root.sampling.sample_frees;
	for (unsigned i = 0; i < h->classes; i++) {
		const struct class_counts *n = &s->class_[i];
		uint64_t bytes = i ? s->root.class_bytes[i] : 0;

		h->class_bytes[i] = s->root.class_bytes[i];
		h->now[i].blocks = n->allocs > n->frees ? n->allocs - n->frees : 0;
		h->now[i].bytes = h->now[i].blocks * bytes;
	}
	if (s->large_alloc_bytes > s->large_free_bytes)
		h->now[0].bytes = s->large_alloc_bytes - s->large_free_bytes;
	if (!c->looked)
		take_before(c, w);
	if (c->leaks)
		leaks_point(c->leaks, s->t_ns, h->now, h->classes);
	traces_look(&c->traces, &c->target, 0); /* it may be the last chance */
	drain(c);
}

/* Of the blocks that were there before, those that must be there still, for all that is known. */
static void find_remains(struct heap_profile *h)
{
	memset(&h->all_before, 0, sizeof(h->all_before));
	memset(&h->all_now, 0, sizeof(h->all_now));
	memset(&h->all_remain, 0, sizeof(h->all_remain));
	for (unsigned i = 0; i < h->classes; i++) {
		double blocks = (double)h->now[i].blocks - h->since_objects[i];
		double bytes = i ? blocks * h->class_bytes[i]
				 : (double)h->now[0].bytes - h->since_bytes[0];
		struct class_live *r = &h->remain[i];
		const struct class_live *b = &h->before[i];

		r->blocks = blocks < 0.5 ? 0 : (uint64_t)(blocks + 0.5);
		r->bytes = bytes < 0.5 || !r->blocks ? 0 : (uint64_t)(bytes + 0.5);
		if (r->blocks > b->blocks)
			r->blocks = b->blocks;
		if (r->bytes > b->bytes)
			r->bytes = b->bytes;
		h->all_before.blocks += b->blocks;
		h->all_before.bytes += b->bytes;
		h->all_now.blocks += h->now[i].blocks;
		h->all_now.bytes += h->now[i].bytes;
		h->all_remain.blocks += r->blocks;
		h->all_remain.bytes += r->bytes;
	}
}

static void fill_sums(struct heap_collector *c)
{
	struct heap_profile *h = &c->result;

	heap_store_sum(&c->store, now_ns());
	memset(&h->all, 0, sizeof(h->all));
	memset(h->since_bytes, 0, sizeof(h->since_bytes));
	memset(h->since_objects, 0, sizeof(h->since_objects));
	for (uint32_t i = 0; i < c->store.cells; i++) {
		const struct cell *cell = &c->store.cell[i];

		heap_sums_add(&h->all, &cell->sum);
		h->since_bytes[cell->key.class] += cell->sum.live_bytes;
		h->since_objects[cell->key.class] += cell->sum.live_objects;
	}
	find_remains(h);
}

static void fill_counts(struct heap_collector *c)
{
	struct heap_profile *h = &c->result;
	struct stacks *s = &h->stacks;
	int64_t cpu = cpu_ns();

	sampler_counts(c->sampler, &s->counts);
	s->events = s->counts.events[HAK_P_otel_memory_alloc] +
		    s->counts.events[HAK_P_otel_memory_free];
	s->seconds = h->seconds = (double)(now_ns() - c->attached_ns) / 1e9;
	s->bpf_ns = (int64_t)sampler_cost(c->sampler);
	s->cpu_ns = cpu >= 0 && c->cpu_mark >= 0 ? cpu - c->cpu_mark : -1;
	s->closed = modules_closed(c->traces.modules, &s->denied);
	s->unkept = c->unkept;
	memcpy(s->method, c->traces.method, sizeof(s->method));
	memcpy(s->end, c->traces.end, sizeof(s->end));
	h->by = c->options.by;
	h->unknown_frees = c->store.unknown_frees;
	h->replaced = c->store.replaced;
	h->unkept = c->store.unkept + c->unkept;
	h->internals = c->options.stacks.internals;
	h->target = &c->target;
	h->traces = &c->traces;
	h->store = &c->store;
	h->names = &c->names;
	h->leaks = c->leaks;
	h->all_leaks = c->options.all_leaks;
	h->show = c->options.show;
}

static void heap_fill(void *state, struct model *m)
{
	struct heap_collector *c = state;

	if (!c->sampler)
		return;
	drain(c);
	forget_result(c);
	if (c->options.by == HEAP_BY_THREAD)
		names_read(&c->names, c->target.pid);
	fill_sums(c);
	fill_counts(c);
	c->raw = traces_list(&c->traces);
	c->result.raw = c->raw;
	if (!c->raw || !heap_rows_make(c))
		return;
	if (c->options.tree && heap_tree_make(&c->tree, &c->result))
		c->result.tree = &c->tree;
	m->heap = &c->result;
}

static void heap_restart(void *state)
{
	struct heap_collector *c = state;

	close_all(c);
	if (!open_all(c))
		close_all(c);
}

static void heap_close(void *state)
{
	close_all(state);
	free(state);
}

const struct source heap_source = {
	.name = "heap",
	.open = heap_open,
	.attach = heap_attach,
	.turn = heap_turn,
	.look = heap_look,
	.fill = heap_fill,
	.restart = heap_restart,
	.close = heap_close,
};
