/* What a target keeps of its samples itself: those of HAKMEM_PROFILE=1, and counts by site. */
#include "heap.h"

#include <stdlib.h>
#include <string.h>

#define RECORDS_MAX 65536U
#define RECORD_BYTES_MAX (1U << 20)
#define SITES_MAX 65536U
#define TRIES 5
#define PC 16 /* of hak_sample.reg on x86-64; also the last of those we unwind by */

static pid_t reader_of(const struct heap_collector *c)
{
	return c->target.reader ? c->target.reader : c->target.pid;
}

static bool read_all(const struct heap_collector *c, uint64_t addr, void *to, size_t bytes)
{
	return target_read(reader_of(c), addr, to, bytes) == (ssize_t)bytes;
}

static bool read_sampling(const struct heap_collector *c, struct hak_sampling *s)
{
	return read_all(c, c->target.root_addr + offsetof(struct hak_root, sampling), s,
			sizeof(*s));
}

/* One record, while nobody writes to it. False: it is not in use. */
static bool read_record(const struct heap_collector *c, uint64_t addr, struct hak_sample *r,
			uint32_t bytes)
{
	for (int i = 0; i < TRIES; i++) {
		uint32_t version;

		if (!read_all(c, addr, r, bytes))
			return false;
		if (!(r->version & 1) && read_all(c, addr, &version, sizeof(version)) &&
		    version == r->version)
			return r->ptr != 0 && r->bytes <= bytes - sizeof(*r);
	}
	return false;
}

static void add_record(struct heap_collector *c, const struct hak_sample *r)
{
	uint64_t chain = r->reg[PC];
	struct stack_copy copy = {.slice = r->slice,
				  .bytes = r->bytes,
				  .whole = r->whole,
				  .chain = &chain,
				  .links = 1};
	struct block b = {
		.ptr = r->ptr, .time_ns = r->time_ns, .size = r->size, .weight = (double)r->weight};
	struct cell_key key;
	struct raw_stack *s;

	for (int i = 0; i < UNWIND_REGS; i++)
		copy.reg[i] = r->reg[i];
	s = traces_add(&c->traces, &c->target, HAK_P_otel_memory_alloc, &copy);
	if (!s) {
		c->unkept++;
		return;
	}
	key = (struct cell_key){s->id, r->tid, heap_class_of(r->size)};
	heap_store_add(&c->store, &key, &b, true);
	c->result.history_blocks++;
}

void heap_read_history(struct heap_collector *c)
{
	struct hak_sampling s;
	struct hak_sample *r;

	if (!read_sampling(c, &s) || !s.record)
		return;
	c->result.history = true;
	c->result.history_lost = s.lost;
	if (s.record_bytes < sizeof(*r) || s.record_bytes > RECORD_BYTES_MAX ||
	    s.used > RECORDS_MAX)
		return;
	r = malloc(s.record_bytes);
	for (uint32_t i = 0; r && i < s.used; i++)
		if (read_record(c, s.record + (uint64_t)i * s.record_bytes, r, s.record_bytes))
			add_record(c, r);
	free(r);
}

/* --- counts by site --- */

static void name_site(const struct heap_collector *c, uint64_t addr, char *name, size_t len)
{
	ssize_t n = -1;

	/* it may lie right before what cannot be read */
	for (size_t most = len - 1; most && n <= 0; most /= 2)
		n = target_read(reader_of(c), addr, name, most);
	name[n > 0 ? n : 0] = '\0';
	sanitize(name);
	if (!name[0])
		snprintf(name, len, "0x%llx", (unsigned long long)addr);
}

/* The same text may be in two places: it is one site to people. */
static struct heap_site *site_named(struct heap_site *site, unsigned *n, const char *name)
{
	for (unsigned i = 0; i < *n; i++)
		if (!strcmp(site[i].name, name))
			return &site[i];
	memset(&site[*n], 0, sizeof(*site));
	snprintf(site[*n].name, sizeof(site[*n].name), "%s", name);
	return &site[(*n)++];
}

static unsigned add_sites(const struct heap_collector *c, const struct hak_sampling *s,
			  const char *table, struct heap_site *site)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < s->sites; i++) {
		struct heap_site *to;
		struct hak_site from;
		char name[sizeof(to->name)];

		memcpy(&from, table + (size_t)i * s->site_bytes, sizeof(from));
		if (!from.name)
			continue;
		name_site(c, from.name, name, sizeof(name));
		to = site_named(site, &n, name);
		to->allocs += from.allocs;
		to->alloc_bytes += from.alloc_bytes;
		to->live += from.allocs > from.frees ? from.allocs - from.frees : 0;
		to->live_bytes +=
			from.alloc_bytes > from.free_bytes ? from.alloc_bytes - from.free_bytes : 0;
	}
	return n;
}

unsigned heap_read_sites(const struct heap_collector *c, struct heap_site **sites, uint64_t *lost)
{
	struct hak_sampling s;
	unsigned n = 0;
	char *table;
	size_t bytes;

	*sites = NULL;
	*lost = 0;
	if (!read_sampling(c, &s))
		return 0;
	*lost = s.site_lost;
	if (!s.site || !s.sites || s.sites > SITES_MAX || s.site_bytes < sizeof(struct hak_site) ||
	    s.site_bytes > 4096)
		return 0;
	bytes = (size_t)s.sites * s.site_bytes;
	table = malloc(bytes);
	*sites = calloc(s.sites, sizeof(**sites));
	if (table && *sites && read_all(c, s.site, table, bytes))
		n = add_sites(c, &s, table, *sites);
	free(table);
	return n;
}
