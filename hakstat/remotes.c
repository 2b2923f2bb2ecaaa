#include "remotes.h"
#include "remote.h"
#include "watch.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remote.skel.h"

struct pair {
	struct remote_pair key;
	struct pair_sums sums;
	char from_name[THREAD_NAME_BYTES], to_name[THREAD_NAME_BYTES]; /* as of the last look */
};

struct owner {
	uint32_t tid;
	struct owner_sums sums;
};

/* A growing array. */
struct list {
	char *item;
	size_t n, room, bytes; /* bytes of one */
};

struct state {
	struct list pairs, pairs_from, owners, owners_from; /* by key */
	struct names names;
	struct remote_bpf *bpf;
	struct probes_link *on;
	struct remotes out;
	size_t room;
	uint64_t dropped;
	bool has; /* it is told at all */
	int most;
	bool gaps; /* probes were off: what waits in queues is not known any more */
};

/* --- lists --- */

static void *add(struct list *l)
{
	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		char *more = realloc(l->item, room * l->bytes);

		if (!more)
			return NULL;
		l->item = more;
		l->room = room;
	}
	return l->item + l->n++ * l->bytes;
}

static void copy(struct list *to, const struct list *from)
{
	to->n = 0;
	for (size_t i = 0; i < from->n; i++) {
		void *item = add(to);

		if (item)
			memcpy(item, from->item + i * from->bytes, from->bytes);
	}
}

static int by_pair(const void *a, const void *b)
{
	const struct remote_pair *x = a, *y = b;

	if (x->from != y->from)
		return x->from > y->from ? 1 : -1;
	return (x->to > y->to) - (x->to < y->to);
}

static int by_tid(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Keys come first in their items. */
static const void *find(const struct list *l, const void *key,
			int (*order)(const void *, const void *))
{
	return l->n ? bsearch(key, l->item, l->n, l->bytes, order) : NULL;
}

/* Key and value of every entry of a map, one behind the other in an item. */
static void read_map(struct list *l, int fd, size_t key_bytes,
		     int (*order)(const void *, const void *))
{
	char key[16], next[16];
	bool first = true;

	l->n = 0;
	while (!bpf_map_get_next_key(fd, first ? NULL : key, next)) {
		char *item = add(l);

		first = false;
		memcpy(key, next, key_bytes);
		if (!item)
			break;
		memcpy(item, key, key_bytes);
		if (bpf_map_lookup_elem(fd, key, item + 8))
			l->n--;
	}
	qsort(l->item, l->n, l->bytes, order);
}
_Static_assert(offsetof(struct pair, sums) == 8 && offsetof(struct owner, sums) == 8,
	       "values begin at the same place");

/* --- the program --- */

static void *open_remotes(const void *options)
{
	struct state *st = calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->pairs.bytes = st->pairs_from.bytes = sizeof(struct pair);
	st->owners.bytes = st->owners_from.bytes = sizeof(struct owner);
	st->most = options ? *(const int *)options : REMOTE_ROWS;
	return st;
}

/* The probes without which sums are not whole. */
static uint64_t needed(void)
{
	return PROBE_BIT(HAK_P_hakmem_remote_push) | PROBE_BIT(HAK_P_hakmem_remote_drain) |
	       PROBE_BIT(HAK_P_hakmem_remote_take) | PROBE_BIT(HAK_P_hakmem_remote_help);
}

static int load(struct state *st, const struct target *t, bool multi)
{
	uint64_t dev, ino;
	int r;

	st->bpf = remote_bpf__open();
	if (!st->bpf)
		return -errno;
	pid_namespace(t->pid, &dev, &ino);
	st->bpf->rodata->pid_ns_dev = dev;
	st->bpf->rodata->pid_ns_ino = ino;
	st->bpf->rodata->from_start = t->root_addr == 0; /* a command that has not begun */
	probes_prepare(st->bpf->progs.on_remote, multi);
	r = remote_bpf__load(st->bpf);
	if (!r && !st->bpf->bss)
		r = -EOPNOTSUPP; /* see attach.c:load */
	if (!r)
		st->on = probes_attach(st->bpf->progs.on_remote, t, multi,
				       needed() | PROBE_BIT(HAK_P_hakmem_thread_exit),
				       &st->bpf->bss->program, &r);
	if (r) {
		remote_bpf__destroy(st->bpf);
		st->bpf = NULL;
	}
	return r;
}

static void detach(struct state *st)
{
	probes_detach(st->on);
	remote_bpf__destroy(st->bpf);
	st->on = NULL;
	st->bpf = NULL;
}

static int attach(void *arg, const struct target *t, char *err, size_t errlen)
{
	struct state *st = arg;
	int r = load(st, t, true);

	if (probes_before_multi(r))
		r = load(st, t, false);
	if (r)
		snprintf(err, errlen,
			 "who frees whose blocks is told by BPF alone, which cannot be attached: "
			 "%s (see hakstat doctor)",
			 strerror(-r));
	st->has = !r;
	return r;
}

/* --- looks and marks --- */

static void read_names(struct state *st)
{
	int fd = bpf_map__fd(st->bpf->maps.names);
	uint32_t tid, *before = NULL;
	struct last_name name;

	while (!bpf_map_get_next_key(fd, before, &tid)) {
		before = &tid;
		if (!bpf_map_lookup_elem(fd, &tid, &name))
			names_set(&st->names, tid, name.text);
	}
}

static void set_name(const struct state *st, uint32_t tid, char name[THREAD_NAME_BYTES])
{
	const char *known = names_get(&st->names, tid);

	memset(name, 0, THREAD_NAME_BYTES);
	if (known)
		memcpy(name, known, strlen(known));
}

static void name_pairs(struct state *st)
{
	struct pair *p = (struct pair *)(void *)st->pairs.item;

	for (size_t i = 0; i < st->pairs.n; i++) {
		set_name(st, p[i].key.from, p[i].from_name);
		set_name(st, p[i].key.to, p[i].to_name);
	}
}

static void read_all(struct state *st)
{
	read_map(&st->pairs, bpf_map__fd(st->bpf->maps.pairs), sizeof(struct remote_pair), by_pair);
	read_map(&st->owners, bpf_map__fd(st->bpf->maps.owners), sizeof(uint32_t), by_tid);
	st->dropped = st->bpf->bss->dropped;
	read_names(st);
}

static void look(void *arg, struct watch *w, const struct sample *s)
{
	struct state *st = arg;

	(void)s;
	if (!st->bpf)
		return;
	read_all(st);
	names_read(&st->names, w->t.pid); /* after those that ended: numbers are used again */
	name_pairs(st);
}

static void mark(void *arg)
{
	struct state *st = arg;

	copy(&st->pairs_from, &st->pairs);
	copy(&st->owners_from, &st->owners);
}

/* --- rows --- */

static struct remote_row *new_row(struct state *st)
{
	if ((size_t)st->out.n == st->room) {
		size_t room = st->room ? 2 * st->room : 64;
		struct remote_row *more = realloc(st->out.row, room * sizeof(*more));

		if (!more)
			return NULL;
		st->out.row = more;
		st->room = room;
	}
	memset(&st->out.row[st->out.n], 0, sizeof(*st->out.row));
	return &st->out.row[st->out.n++];
}

static uint64_t left(uint64_t pushed, uint64_t drained)
{
	return pushed > drained ? pushed - drained : 0;
}

static void set_owner(const struct state *st, struct remote_row *r)
{
	const struct owner *b = find(&st->owners, &r->to, by_tid);
	const struct owner *a = find(&st->owners_from, &r->to, by_tid);
	static const struct owner nothing;
	uint64_t hist[REMOTE_HIST], last = 0;

	if (!b || st->gaps)
		return;
	if (!a)
		a = &nothing;
	r->has_owner = true;
	r->queued_blocks = left(b->sums.pushed_blocks + b->sums.before, b->sums.drained_blocks);
	r->queued_bytes = left(b->sums.pushed_bytes, b->sums.drained_bytes);
	r->drains = b->sums.drains - a->sums.drains;
	r->helped = b->sums.helped - a->sums.helped;
	r->wait_ns = b->sums.wait_ns - a->sums.wait_ns;
	for (unsigned i = 0; i < REMOTE_HIST; i++) {
		hist[i] = b->sums.hist[i] - a->sums.hist[i];
		r->waits += hist[i];
		if (hist[i])
			last = i;
	}
	/* the longest of all, or if that was before, as long as this interval's can have been */
	r->max_ns = last >= 63 ? UINT64_MAX : ((uint64_t)2 << last) - 1;
	if (b->sums.max_ns < r->max_ns)
		r->max_ns = b->sums.max_ns;
	r->p50_ns = quantile(hist, r->waits, 0.5, r->max_ns);
	r->p99_ns = quantile(hist, r->waits, 0.99, r->max_ns);
}

static void add_pair(struct state *st, const struct pair *b)
{
	const struct pair *a = find(&st->pairs_from, &b->key, by_pair);
	static const struct pair nothing;
	struct remote_row *r;

	if (!a)
		a = &nothing;
	if (b->sums.batches == a->sums.batches || !(r = new_row(st)))
		return;
	r->from = b->key.from;
	r->to = b->key.to;
	memcpy(r->from_name, b->from_name, sizeof(r->from_name));
	memcpy(r->to_name, b->to_name, sizeof(r->to_name));
	r->batches = b->sums.batches - a->sums.batches;
	r->blocks = b->sums.blocks - a->sums.blocks;
	r->bytes = b->sums.bytes - a->sums.bytes;
}

static int most_first(const void *a, const void *b)
{
	const struct remote_row *x = a, *y = b;

	return (x->blocks < y->blocks) - (x->blocks > y->blocks);
}

/* Pairs beyond the most that are listed become one row. */
static void fold(struct remotes *r, int most)
{
	struct remote_row rest = {.from_name = "(others)"};

	r->folded = r->n > most ? r->n - most : 0;
	if (!r->folded)
		return;
	for (int i = most; i < r->n; i++) {
		rest.batches += r->row[i].batches;
		rest.blocks += r->row[i].blocks;
		rest.bytes += r->row[i].bytes;
	}
	r->row[most] = rest;
	r->n = most + 1;
}

static void fill(void *arg, struct model *m)
{
	struct state *st = arg;

	if (!st->has)
		return;
	st->gaps |= (m->off & needed()) != 0;
	if (m->ended && st->bpf) { /* since the last look it may have gone on */
		read_all(st);
		name_pairs(st);
	}
	st->out.n = 0;
	for (size_t i = 0; i < st->pairs.n; i++)
		add_pair(st, (const struct pair *)(const void *)st->pairs.item + i);
	if (st->out.n)
		qsort(st->out.row, (size_t)st->out.n, sizeof(*st->out.row), most_first);
	remote_matrix_make(&st->out.matrix, st->out.row, st->out.n);
	fold(&st->out, st->most);
	for (int i = 0; i < st->out.n; i++) {
		struct remote_row *r = &st->out.row[i];

		if (r->from || r->to)
			set_owner(st, r);
	}
	st->out.dropped = st->dropped;
	m->remotes = &st->out;
}

static void restart(void *arg)
{
	struct state *st = arg;

	detach(st);
	st->pairs.n = st->pairs_from.n = st->owners.n = st->owners_from.n = 0;
	names_free(&st->names);
	st->gaps = false;
}

/* --- recordings --- */

#define WORDS(type) (sizeof(type) / 8)
#define PAIR_WORDS WORDS(struct pair)
#define OWNER_WORDS WORDS(struct owner)
_Static_assert(PAIR_WORDS == 1 + 3 + 2 + 2 && OWNER_WORDS == 1 + 11 + REMOTE_HIST,
	       "items are in recordings as they are: append only, or as a section of a new number");

static void save_list(const struct list *l, struct instant *f, enum section_id id)
{
	uint64_t *w = instant_add(f, id, l->n, l->bytes / 8);

	if (w && l->n)
		memcpy(w, l->item, l->n * l->bytes);
}

static void save(const void *arg, struct instant *f)
{
	const struct state *st = arg;
	uint64_t *w = st->has ? instant_add(f, SECTION_REMOTE, 1, 1) : NULL;

	if (!w)
		return;
	*w = st->dropped;
	save_list(&st->pairs, f, SECTION_PAIRS);
	save_list(&st->owners, f, SECTION_OWNERS);
}

static void load_list(struct list *l, const struct instant *f, enum section_id id)
{
	const struct section *s = instant_get(f, id);

	l->n = 0;
	for (size_t i = 0; s && i < s->rows; i++) {
		void *item = add(l);

		if (!item)
			break;
		section_row(s, i, item, l->bytes / 8);
	}
}

static void make_safe(char name[THREAD_NAME_BYTES])
{
	name[THREAD_NAME_BYTES - 1] = '\0';
	sanitize(name);
}

/* Some of what this needs, at some time since the recording began. */
static bool was_off(const struct instant *f)
{
	uint64_t ns, all = 0;

	for (unsigned i = 0; i < HAK_PROBE_COUNT; i++) {
		if (!(needed() & PROBE_BIT(i)))
			continue;
		section_row(instant_get(f, SECTION_PROBES_OFF), i, &ns, 1);
		all |= ns;
	}
	return all != 0;
}

static void load_remotes(void *arg, const struct instant *f)
{
	struct state *st = arg;
	const struct section *s = instant_get(f, SECTION_REMOTE);
	struct pair *p;

	st->has = s != NULL;
	st->gaps = was_off(f);
	section_row(s, 0, &st->dropped, 1);
	load_list(&st->pairs, f, SECTION_PAIRS);
	load_list(&st->owners, f, SECTION_OWNERS);
	p = (struct pair *)(void *)st->pairs.item;
	for (size_t i = 0; i < st->pairs.n; i++) {
		make_safe(p[i].from_name);
		make_safe(p[i].to_name);
	}
}

static void close_remotes(void *arg)
{
	struct state *st = arg;

	detach(st);
	names_free(&st->names);
	free(st->pairs.item);
	free(st->pairs_from.item);
	free(st->owners.item);
	free(st->owners_from.item);
	free(st->out.row);
	free(st);
}

const struct source source_remotes = {
	.name = "remote",
	.open = open_remotes,
	.attach = attach,
	.look = look,
	.mark = mark,
	.fill = fill,
	.restart = restart,
	.save = save,
	.load = load_remotes,
	.close = close_remotes,
};
