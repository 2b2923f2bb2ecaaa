/*
 * A heap outlives its thread, and the next thread goes on with its counters. What a heap counted
 * in an interval belongs to the threads that had it meanwhile; how many those were is told.
 */
#include "threads.h"
#include "waits.h"
#include "watch.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "waits.skel.h"

#define HEAPS_MAX 100000U

/* One heap at one instant. In recordings in this order. */
#define HEAP_FIELDS(X)   \
	X(tid)           \
	X(state)         \
	X(starts)        \
	X(allocs)        \
	X(frees)         \
	X(cached_allocs) \
	X(refills)       \
	X(cached_blocks) \
	X(cached_bytes)  \
	X(out_blocks)    \
	X(out_bytes)     \
	X(in_blocks)     \
	X(in_bytes)      \
	X(name[0])       \
	X(name[1])
struct heap_counts {
	uint32_t tid, state, starts;
	uint64_t allocs, frees, cached_allocs, refills, cached_blocks, cached_bytes;
	uint64_t out_blocks, out_bytes, in_blocks, in_bytes;
	uint64_t name[THREAD_NAME_BYTES / 8]; /* of the thread, known at a look; or all 0 */
};

struct thread_waits {
	uint32_t tid;
	struct wait_sums sums;
};

struct moment {
	struct heap_counts *heap;
	uint32_t n, room;
	struct thread_waits *waits; /* by tid */
	uint32_t nwaits, waits_room;
};

struct state {
	struct moment from, now;
	struct names names;
	struct waits_bpf *bpf;
	struct probes_link *on;
	struct threads out;
	int room, alive; /* threads, as of the last look */
	bool has_waits;
};

static void *open_threads(const void *options)
{
	(void)options;
	return calloc(1, sizeof(struct state));
}

/* --- heaps --- */

static struct heap_counts *heap_slot(struct moment *m, uint32_t index)
{
	if (index >= HEAPS_MAX)
		return NULL;
	if (index >= m->room) {
		uint32_t room = m->room ? m->room : 64;
		struct heap_counts *more;

		while (room <= index)
			room *= 2;
		more = realloc(m->heap, room * sizeof(*more));
		if (!more)
			return NULL;
		m->heap = more;
		m->room = room;
	}
	if (m->n <= index) {
		memset(&m->heap[m->n], 0, (index + 1 - m->n) * sizeof(*m->heap));
		m->n = index + 1;
	}
	return &m->heap[index];
}

static void take_heap(void *arg, const struct sample *s, const struct hak_heap_view *v)
{
	struct state *st = arg;
	struct heap_counts *h = heap_slot(&st->now, v->index), old;

	if (!h)
		return;
	old = *h;
	*h = (struct heap_counts){
		.tid = v->tid,
		.state = v->state,
		.starts = v->starts,
		.out_blocks = v->remote_blocks,
		.out_bytes = v->remote_bytes,
		.in_blocks = v->drain_blocks,
		.in_bytes = v->drain_bytes,
	};
	for (unsigned c = 0; c < s->root.classes; c++) {
		uint64_t allocs = hak_bin_allocs(&v->bin[c], &v->stat[c]);
		uint64_t length = hak_bin_length(&v->bin[c]);

		h->allocs += allocs;
		h->cached_allocs += c ? allocs : 0;
		h->frees += v->bin[c].frees;
		h->refills += v->stat[c].refills;
		h->cached_blocks += length;
		h->cached_bytes += length * s->root.class_bytes[c];
	}
	if (h->allocs < old.allocs && old.starts == h->starts) { /* see collect_after */
		h->allocs = old.allocs;
		h->cached_allocs = old.cached_allocs;
	}
}

/* --- waits --- */

static int load_waits(struct state *st, const struct target *t, bool multi)
{
	uint64_t dev, ino;
	int r;

	st->bpf = waits_bpf__open();
	if (!st->bpf)
		return -errno;
	pid_namespace(t->pid, &dev, &ino);
	st->bpf->rodata->pid_ns_dev = dev;
	st->bpf->rodata->pid_ns_ino = ino;
	probes_prepare(st->bpf->progs.on_wait, multi);
	r = waits_bpf__load(st->bpf);
	if (!r && !st->bpf->bss)
		r = -EOPNOTSUPP; /* see attach.c:load */
	if (!r)
		st->on = probes_attach(st->bpf->progs.on_wait, t, multi,
				       PROBE_BIT(HAK_P_hakmem_lock_wait_done),
				       &st->bpf->bss->program, &r);
	if (r) {
		waits_bpf__destroy(st->bpf);
		st->bpf = NULL;
	}
	return r;
}

static void detach(struct state *st)
{
	probes_detach(st->on);
	waits_bpf__destroy(st->bpf);
	st->on = NULL;
	st->bpf = NULL;
}

static int attach(void *arg, const struct target *t, char *err, size_t errlen)
{
	struct state *st = arg;
	int r = load_waits(st, t, true);

	if (probes_before_multi(r))
		r = load_waits(st, t, false);
	if (r)
		snprintf(err, errlen, "waits by thread are not known: cannot attach BPF: %s",
			 strerror(-r));
	st->has_waits = !r;
	return r;
}

static bool add_waits(struct moment *m, uint32_t tid, const struct wait_sums *sums)
{
	if (m->nwaits == m->waits_room) {
		uint32_t room = m->waits_room ? 2 * m->waits_room : 64;
		struct thread_waits *more = realloc(m->waits, room * sizeof(*more));

		if (!more)
			return false;
		m->waits = more;
		m->waits_room = room;
	}
	m->waits[m->nwaits++] = (struct thread_waits){tid, *sums};
	return true;
}

static int by_tid(const void *a, const void *b)
{
	const struct thread_waits *x = a, *y = b;

	return (x->tid > y->tid) - (x->tid < y->tid);
}

static void read_waits(struct state *st)
{
	int fd = bpf_map__fd(st->bpf->maps.by_tid);
	struct moment *m = &st->now;
	uint32_t tid, *before = NULL;
	struct wait_sums sums;

	m->nwaits = 0;
	while (!bpf_map_get_next_key(fd, before, &tid)) {
		before = &tid;
		if (!bpf_map_lookup_elem(fd, &tid, &sums) && !add_waits(m, tid, &sums))
			break;
	}
	qsort(m->waits, m->nwaits, sizeof(*m->waits), by_tid);
}

static struct wait_sums waits_of(const struct moment *m, uint32_t tid)
{
	struct thread_waits key = {.tid = tid}, *found;

	found = m->nwaits ? bsearch(&key, m->waits, m->nwaits, sizeof(key), by_tid) : NULL;
	return found ? found->sums : (struct wait_sums){0};
}

/* --- looks and marks --- */

static void look(void *arg, struct watch *w, const struct sample *s)
{
	struct state *st = arg;

	(void)s;
	names_read(&st->names, w->t.pid);
	st->alive = st->names.alive;
	for (uint32_t i = 0; i < st->now.n; i++) {
		const char *name = names_get(&st->names, st->now.heap[i].tid);

		memset(st->now.heap[i].name, 0, THREAD_NAME_BYTES);
		if (name)
			memcpy(st->now.heap[i].name, name, strlen(name));
	}
	if (st->bpf)
		read_waits(st);
}

static void mark(void *arg)
{
	struct state *st = arg;
	struct heap_counts *h;

	st->from.n = 0;
	h = st->now.n ? heap_slot(&st->from, st->now.n - 1) : NULL;
	if (h)
		memcpy(st->from.heap, st->now.heap, st->now.n * sizeof(*h));
	st->from.nwaits = 0;
	for (uint32_t i = 0; i < st->now.nwaits; i++)
		add_waits(&st->from, st->now.waits[i].tid, &st->now.waits[i].sums);
}

static struct thread_row *new_row(struct state *st)
{
	struct threads *out = &st->out;

	if (out->n == st->room) {
		int room = st->room ? 2 * st->room : 64;
		struct thread_row *more = realloc(out->row, (size_t)room * sizeof(*more));

		if (!more)
			return NULL;
		out->row = more;
		st->room = room;
	}
	memset(&out->row[out->n], 0, sizeof(*out->row));
	return &out->row[out->n++];
}

/* Counters only grow; what a hostile process makes of them is not to look like a number. */
static uint64_t grown(uint64_t from, uint64_t to)
{
	return to >= from ? to - from : 0;
}

static void add_delta(struct thread_row *r, const struct heap_counts *a,
		      const struct heap_counts *b)
{
	r->threads += (uint32_t)grown(a->starts, b->starts);
	if (a->starts && a->state == HAK_HEAP_LIVE)
		r->threads++;
	r->allocs += grown(a->allocs, b->allocs);
	r->frees += grown(a->frees, b->frees);
	r->cached_allocs += grown(a->cached_allocs, b->cached_allocs);
	r->refills += grown(a->refills, b->refills);
	r->cached_blocks += b->cached_blocks;
	r->cached_bytes += b->cached_bytes;
	r->out_blocks += grown(a->out_blocks, b->out_blocks);
	r->out_bytes += grown(a->out_bytes, b->out_bytes);
	r->in_blocks += grown(a->in_blocks, b->in_blocks);
	r->in_bytes += grown(a->in_bytes, b->in_bytes);
}

/* Waits of threads that have no row of their own go to the one of those that have ended. */
static void add_waits_to(struct state *st, struct thread_row *ended)
{
	struct wait_sums all = {0}, listed = {0};

	for (uint32_t i = 0; i < st->now.nwaits; i++) {
		struct wait_sums before = waits_of(&st->from, st->now.waits[i].tid);

		all.waits += st->now.waits[i].sums.waits - before.waits;
		all.wait_ns += st->now.waits[i].sums.wait_ns - before.wait_ns;
	}
	for (int i = 0; i < st->out.n; i++) {
		struct thread_row *r = &st->out.row[i];
		struct wait_sums a = waits_of(&st->from, r->tid), b = waits_of(&st->now, r->tid);

		if (!r->tid)
			continue;
		listed.waits += r->waits = b.waits - a.waits;
		listed.wait_ns += r->wait_ns = b.wait_ns - a.wait_ns;
	}
	ended->waits = all.waits - listed.waits;
	ended->wait_ns = all.wait_ns - listed.wait_ns;
}

static void fill_rows(struct state *st, struct thread_row *ended)
{
	static const struct heap_counts nothing;

	for (uint32_t i = 0; i < st->now.n; i++) {
		const struct heap_counts *b = &st->now.heap[i];
		const struct heap_counts *a = i < st->from.n ? &st->from.heap[i] : &nothing;
		bool live = b->state == HAK_HEAP_LIVE && b->starts;
		struct thread_row *r = live ? new_row(st) : ended;

		if (!r)
			return;
		add_delta(r, a, b);
		if (!live)
			continue;
		r->tid = b->tid;
		memcpy(r->name, b->name, sizeof(r->name) - 1);
	}
}

static bool is_anything(const struct thread_row *r)
{
	return r->threads || r->cached_blocks || r->waits || r->in_blocks || r->out_blocks;
}

static void fill(void *arg, struct model *m)
{
	struct thread_row ended = {.name = "(ended)"}, *last;
	struct state *st = arg;
	int with;

	st->out.n = 0;
	fill_rows(st, &ended);
	with = st->out.n;
	st->out.has_waits = st->has_waits && !(m->off & PROBE_BIT(HAK_P_hakmem_lock_wait_done));
	st->out.without = st->alive > with ? st->alive - with : 0;
	add_waits_to(st, &ended);
	if (is_anything(&ended) && (last = new_row(st)))
		*last = ended;
	m->threads_of = &st->out;
}

static void restart(void *arg)
{
	struct state *st = arg;

	detach(st);
	st->from.n = st->now.n = st->from.nwaits = st->now.nwaits = 0;
	names_free(&st->names);
}

/* --- recordings --- */

#define COUNT_(field) +1
#define HEAP_WORDS (0 HEAP_FIELDS(COUNT_))
#define THREADS_WORDS 2 /* alive, has_waits */
#define WAITS_WORDS 3

static void save(const void *arg, struct instant *f)
{
	const struct state *st = arg;
	const struct moment *m = &st->now;
	uint64_t *w = instant_add(f, SECTION_THREADS, 1, THREADS_WORDS);

	if (w) {
		w[0] = (uint64_t)st->alive;
		w[1] = st->has_waits;
	}
	w = instant_add(f, SECTION_HEAPS, m->n, HEAP_WORDS);
	for (uint32_t i = 0; w && i < m->n; i++) {
		const struct heap_counts *h = &m->heap[i];

#define PUT_(field) *w++ = h->field;
		HEAP_FIELDS(PUT_)
#undef PUT_
	}
	w = instant_add(f, SECTION_WAITS, m->nwaits, WAITS_WORDS);
	for (uint32_t i = 0; w && i < m->nwaits; i++) {
		*w++ = m->waits[i].tid;
		*w++ = m->waits[i].sums.waits;
		*w++ = m->waits[i].sums.wait_ns;
	}
}

static void load_heap(struct heap_counts *h, const uint64_t *w)
{
	char name[THREAD_NAME_BYTES];

#define GET_(field) h->field = (__typeof__(h->field))*w++;
	HEAP_FIELDS(GET_)
#undef GET_
	memcpy(name, h->name, sizeof(name));
	name[sizeof(name) - 1] = '\0';
	sanitize(name);
	memset(h->name, 0, sizeof(h->name));
	memcpy(h->name, name, strlen(name));
}

static void load(void *arg, const struct instant *f)
{
	struct state *st = arg;
	const struct section *heaps = instant_get(f, SECTION_HEAPS),
			     *waits = instant_get(f, SECTION_WAITS);
	uint64_t w[HEAP_WORDS];

	section_row(instant_get(f, SECTION_THREADS), 0, w, THREADS_WORDS);
	st->alive = w[0] < INT32_MAX ? (int)w[0] : 0;
	st->has_waits = w[1] != 0;
	st->now.n = st->now.nwaits = 0;
	for (uint32_t i = 0; heaps && i < heaps->rows; i++) {
		struct heap_counts *h = heap_slot(&st->now, i);

		if (!h)
			break;
		section_row(heaps, i, w, HEAP_WORDS);
		load_heap(h, w);
	}
	for (size_t i = 0; waits && i < waits->rows; i++) {
		section_row(waits, i, w, WAITS_WORDS);
		add_waits(&st->now, (uint32_t)w[0], &(struct wait_sums){w[1], w[2]});
	}
}

static void close_threads(void *arg)
{
	struct state *st = arg;

	detach(st);
	names_free(&st->names);
	free(st->from.heap);
	free(st->from.waits);
	free(st->now.heap);
	free(st->now.waits);
	free(st->out.row);
	free(st);
}

const struct source source_threads = {
	.name = "threads",
	.open = open_threads,
	.attach = attach,
	.heap = take_heap,
	.look = look,
	.mark = mark,
	.fill = fill,
	.restart = restart,
	.save = save,
	.load = load,
	.close = close_threads,
};
