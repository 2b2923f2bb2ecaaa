/* Rows of a heap profile: what is known of blocks, by what one asks for. */
#include "heap.h"
#include "leaks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double *new_net(const struct heap_collector *c)
{
	return c->store.net ? calloc(STEPS_MAX, sizeof(double)) : NULL;
}

static void add_cell(struct heap_row *row, const struct heap_collector *c, uint32_t i)
{
	heap_sums_add(&row->sum, &c->store.cell[i].sum);
	for (unsigned k = 0; row->net && k < STEPS_MAX; k++)
		row->net[k] += c->store.net[(size_t)i * STEPS_MAX + k];
}

/* --- by stack, by function --- */

static bool make_stacks(struct heap_collector *c)
{
	struct stacks_options o = c->options.stacks;
	double scale[HAK_PROBE_COUNT];

	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		scale[i] = 1;
	o.by = c->options.by == HEAP_BY_FUNCTION ? STACKS_BY_FUNCTION
	       : c->options.folded		 ? STACKS_BY_FOLDED
						 : STACKS_BY_STACK;
	return stack_rows_make(&c->result.stacks, c->raw, c->traces.used, scale, c->traces.symbols,
			       &o, c->target.comm, c->target.link == LINK_STATIC);
}

static bool rows_by_stack(struct heap_collector *c)
{
	struct heap_profile *h = &c->result;

	if (!make_stacks(c))
		return false;
	h->row = calloc((size_t)h->stacks.rows + 1, sizeof(*h->row));
	if (!h->row)
		return false;
	h->rows = h->stacks.rows;
	for (unsigned i = 0; i < h->rows; i++) {
		h->row[i].stack = &h->stacks.row[i];
		h->row[i].net = new_net(c);
	}
	for (uint32_t i = 0; i < c->store.cells; i++)
		add_cell(&h->row[c->raw[c->store.cell[i].key.stack]->row], c, i);
	return true;
}

/* --- by class, by thread --- */

static void name_class(const struct heap_profile *h, struct heap_row *row, uint32_t class)
{
	row->class = class;
	if (class)
		snprintf(row->name, sizeof(row->name), "%u", h->class_bytes[class]);
	else
		snprintf(row->name, sizeof(row->name), "large");
}

static bool rows_by_class(struct heap_collector *c)
{
	struct heap_profile *h = &c->result;

	h->row = calloc(HAK_CLASS_MAX, sizeof(*h->row));
	if (!h->row)
		return false;
	h->rows = h->classes;
	for (unsigned i = 0; i < h->rows; i++)
		name_class(h, &h->row[i], i);
	for (uint32_t i = 0; i < c->store.cells; i++)
		if (c->store.cell[i].key.class < h->rows)
			add_cell(&h->row[c->store.cell[i].key.class], c, i);
	return true;
}

static void name_thread(const struct heap_profile *h, struct heap_row *row, uint32_t tid)
{
	const char *name = names_get(h->names, tid);

	row->class = tid; /* to find it again */
	snprintf(row->name, sizeof(row->name), "%s %u", name && *name ? name : "-", tid);
}

static struct heap_row *row_of_thread(struct heap_profile *h, uint32_t tid)
{
	for (unsigned i = 0; i < h->rows; i++)
		if (h->row[i].class == tid)
			return &h->row[i];
	name_thread(h, &h->row[h->rows], tid);
	return &h->row[h->rows++];
}

static bool rows_by_thread(struct heap_collector *c)
{
	struct heap_profile *h = &c->result;

	h->row = calloc((size_t)c->store.cells + 1, sizeof(*h->row));
	if (!h->row)
		return false;
	for (uint32_t i = 0; i < c->store.cells; i++)
		add_cell(row_of_thread(h, c->store.cell[i].key.tid), c, i);
	return true;
}

/* --- by site --- */

static const struct heap_site *site_before(const struct heap_collector *c, const char *name)
{
	static const struct heap_site none;

	for (unsigned i = 0; i < c->site_marks; i++)
		if (!strcmp(c->site_mark[i].name, name))
			return &c->site_mark[i];
	return &none;
}

static bool rows_by_site(struct heap_collector *c)
{
	struct heap_profile *h = &c->result;
	struct heap_site *site = NULL;
	unsigned n = heap_read_sites(c, &site, &h->sites_lost);

	h->row = calloc((size_t)n + 1, sizeof(*h->row));
	for (unsigned i = 0; h->row && i < n; i++) {
		const struct heap_site *from = site_before(c, site[i].name), *to = &site[i];
		struct heap_sums *sum = &h->row[i].sum;

		snprintf(h->row[i].name, sizeof(h->row[i].name), "%s", to->name);
		sum->live_bytes = (double)to->live_bytes;
		sum->live_objects = (double)to->live;
		sum->alloc_objects = (double)(to->allocs - from->allocs);
		sum->alloc_bytes = (double)(to->alloc_bytes - from->alloc_bytes);
		h->rows++;
	}
	free(site);
	return h->row != NULL;
}

bool heap_rows_make(struct heap_collector *c)
{
	static bool (*const make[])(struct heap_collector *) = {
		[HEAP_BY_STACK] = rows_by_stack, [HEAP_BY_FUNCTION] = rows_by_stack,
		[HEAP_BY_CLASS] = rows_by_class, [HEAP_BY_THREAD] = rows_by_thread,
		[HEAP_BY_SITE] = rows_by_site,
	};
	bool ok = make[c->options.by](c);

	if (ok && c->leaks)
		ok = leaks_judge(c->leaks, c);
	if (!ok)
		heap_rows_free(&c->result);
	return ok;
}

void heap_rows_free(struct heap_profile *h)
{
	for (unsigned i = 0; i < h->rows; i++)
		free(h->row[i].net);
	free(h->row);
	h->row = NULL;
	h->rows = 0;
	stack_rows_free(&h->stacks);
}
