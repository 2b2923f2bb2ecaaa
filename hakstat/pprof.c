/* Writes heap profiles in pprof's format. Field numbers are those of its profile.proto. */
#include "heap.h"
#include "profile.h"
#include "wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

/* Numbers of things by a text that is theirs alone; from 1 on, in the order they come. */
struct numbers {
	char **text;
	uint32_t *slot; /* a power of two */
	size_t n, room, slots;
};

struct writer {
	const struct heap_profile *h;
	struct wire out;
	struct numbers strings, mappings, locations, functions;
	bool failed;
};

static uint64_t hash_text(const char *s)
{
	uint64_t h = 0xcbf29ce484222325U; /* FNV-1a */

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3U;
	return h ^ h >> 31;
}

static uint32_t *slot_of(const struct numbers *t, const char *text)
{
	for (size_t i = hash_text(text);; i++) {
		uint32_t *slot = &t->slot[i & (t->slots - 1)];

		if (!*slot || !strcmp(t->text[*slot - 1], text))
			return slot;
	}
}

static bool grow(struct numbers *t)
{
	struct numbers bigger = *t;

	if (2 * t->n < t->slots)
		return true;
	bigger.slots = t->slots ? 2 * t->slots : 512;
	bigger.slot = calloc(bigger.slots, sizeof(*bigger.slot));
	bigger.text = realloc(t->text, bigger.slots * sizeof(char *));
	if (bigger.text)
		t->text = bigger.text;
	if (!bigger.slot || !bigger.text) {
		free(bigger.slot);
		return false;
	}
	for (size_t i = 0; i < t->n; i++)
		*slot_of(&bigger, t->text[i]) = (uint32_t)i + 1;
	free(t->slot);
	*t = bigger;
	return true;
}

/* 0: no memory. */
static uint64_t number_of(struct writer *w, struct numbers *t, const char *text, bool *is_new)
{
	uint32_t *slot = grow(t) ? slot_of(t, text) : NULL;
	char *copy;

	*is_new = false;
	if (slot && *slot)
		return *slot;
	copy = slot ? strdup(text) : NULL;
	if (!copy) {
		w->failed = true;
		return 0;
	}
	t->text[t->n++] = copy;
	*slot = (uint32_t)t->n;
	*is_new = true;
	return t->n;
}

static void free_numbers(struct numbers *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->text[i]);
	free(t->text);
	free(t->slot);
}

/* Index in the table of strings, which begins with the empty one. */
static uint64_t string(struct writer *w, const char *text)
{
	bool is_new;
	uint64_t n = number_of(w, &w->strings, text, &is_new);

	return n ? n - 1 : 0;
}

static void value_type(struct writer *w, unsigned field, const char *type, const char *unit)
{
	struct wire m = {0};

	wire_number(&m, 1, string(w, type));
	wire_number(&m, 2, string(w, unit));
	wire_message(&w->out, field, &m);
}

/* --- mappings, functions, locations --- */

static void build_id(Dwfl_Module *mod, char *out, size_t len)
{
	const unsigned char *bits;
	GElf_Addr addr;
	int n = dwfl_module_build_id(mod, &bits, &addr);

	out[0] = '\0';
	for (int i = 0; i < n && (size_t)i < len / 2 - 1; i++)
		snprintf(out + 2 * i, 3, "%02x", bits[i]);
}

static uint64_t mapping(struct writer *w, unsigned generation, uint64_t pc)
{
	Dwfl *dwfl = modules_dwfl_of(w->h->traces->modules, generation);
	Dwfl_Module *mod = dwfl ? dwfl_addrmodule(dwfl, pc) : NULL;
	Dwarf_Addr start, end;
	const char *path =
		mod ? dwfl_module_info(mod, NULL, &start, &end, NULL, NULL, NULL, NULL) : NULL;
	char key[64], id[64];
	struct wire m = {0};
	uint64_t n;
	bool is_new;

	if (!path)
		return 0;
	snprintf(key, sizeof(key), "%u %llx", generation, (unsigned long long)start);
	n = number_of(w, &w->mappings, key, &is_new);
	if (!is_new)
		return n;
	build_id(mod, id, sizeof(id));
	wire_number(&m, 1, n);
	wire_number(&m, 2, start);
	wire_number(&m, 3, end);
	wire_number(&m, 5, string(w, path));
	wire_number(&m, 6, string(w, id));
	for (unsigned has = 7; has <= 10; has++) /* functions, files, lines, inlined frames */
		wire_number(&m, has, 1);
	wire_message(&w->out, 3, &m);
	return n;
}

static uint64_t function(struct writer *w, const char *name, const char *file)
{
	char key[4500];
	struct wire m = {0};
	uint64_t n;
	bool is_new;

	snprintf(key, sizeof(key), "%s\1%s", name, file ? file : "");
	n = number_of(w, &w->functions, key, &is_new);
	if (!is_new)
		return n;
	wire_number(&m, 1, n);
	wire_number(&m, 2, string(w, name));
	wire_number(&m, 3, string(w, name));
	wire_number(&m, 4, string(w, file ? file : ""));
	wire_message(&w->out, 5, &m);
	return n;
}

static void line(struct writer *w, struct wire *location, const char *name, const char *file,
		 unsigned number)
{
	struct wire m = {0};

	wire_number(&m, 1, function(w, name, file));
	wire_number(&m, 2, number);
	wire_message(location, 4, &m);
}

static uint64_t location(struct writer *w, unsigned generation, uint64_t pc)
{
	char key[64], name[4200];
	struct wire m = {0};
	const struct frame *f;
	unsigned frames = 0;
	uint64_t n;
	bool is_new;

	snprintf(key, sizeof(key), "%u %llx", generation, (unsigned long long)pc);
	n = number_of(w, &w->locations, key, &is_new);
	if (!is_new)
		return n;
	f = symbols_of(w->h->traces->symbols, generation, pc, &frames);
	wire_number(&m, 1, n);
	wire_number(&m, 2, mapping(w, generation, pc));
	wire_number(&m, 3, pc);
	for (unsigned i = 0; f && i < frames; i++) {
		frame_name(&f[i], name, sizeof(name));
		line(w, &m, name, f[i].file, f[i].line);
	}
	wire_message(&w->out, 4, &m);
	return n;
}

/* What has a name and no address. */
static uint64_t named_location(struct writer *w, const char *name)
{
	struct wire m = {0};
	uint64_t n;
	bool is_new;

	n = number_of(w, &w->locations, name, &is_new);
	if (!is_new)
		return n;
	wire_number(&m, 1, n);
	line(w, &m, name, NULL, 0);
	wire_message(&w->out, 4, &m);
	return n;
}

/* --- samples --- */

static void values(struct wire *sample, const double *value)
{
	struct wire packed = {0};

	for (int i = 0; i < PROFILE_VALUE_COUNT; i++)
		wire_varint(&packed, value[i] > 0 ? (uint64_t)llround(value[i]) : 0);
	wire_message(sample, 2, &packed);
}

static void label(struct writer *w, struct wire *sample, const char *name, uint64_t number)
{
	struct wire m = {0};

	wire_number(&m, 1, string(w, name));
	wire_number(&m, 3, number);
	wire_message(sample, 3, &m);
}

/* The function that called the allocator. */
static unsigned first_shown(const struct writer *w, const struct raw_stack *r)
{
	unsigned i;

	if (w->h->internals)
		return 0;
	i = stack_entry(r, w->h->traces->symbols, w->h->target->link == LINK_STATIC);
	return i + 1 < r->n ? i + 1 : i;
}

static void cell_sample(struct writer *w, const struct cell *cell)
{
	const struct raw_stack *r = w->h->raw[cell->key.stack];
	const struct heap_sums *s = &cell->sum;
	const double value[] = {s->alloc_objects, s->alloc_bytes, s->live_objects, s->live_bytes};
	struct wire m = {0}, ids = {0};

	for (unsigned i = first_shown(w, r); i < r->n; i++)
		wire_varint(&ids, location(w, r->generation, r->pc[i]));
	if (r->cut)
		wire_varint(&ids, named_location(w, "[cut]"));
	wire_message(&m, 1, &ids);
	values(&m, value);
	label(w, &m, "bytes", w->h->class_bytes[cell->key.class]);
	label(w, &m, "thread", cell->key.tid);
	wire_message(&w->out, 2, &m);
}

static void before_sample(struct writer *w, unsigned class)
{
	const struct class_live *r = &w->h->remain[class];
	const double value[] = {0, 0, (double)r->blocks, (double)r->bytes};
	struct wire m = {0}, ids = {0};
	char name[32] = "[large]";

	if (class)
		snprintf(name, sizeof(name), "[class %u]", w->h->class_bytes[class]);
	wire_varint(&ids, named_location(w, name));
	wire_varint(&ids, named_location(w, "[before attach]"));
	wire_message(&m, 1, &ids);
	values(&m, value);
	label(w, &m, "bytes", w->h->class_bytes[class]);
	wire_message(&w->out, 2, &m);
}

struct program {
	const char *exe;
	Dwarf_Addr start;
};

static int is_program(Dwfl_Module *mod, void **data, const char *name, Dwarf_Addr start, void *arg)
{
	struct program *p = arg;

	(void)mod;
	(void)data;
	if (!name || strcmp(name, p->exe) != 0)
		return DWARF_CB_OK;
	p->start = start;
	return DWARF_CB_ABORT;
}

/* pprof takes the first mapping for the program, whether or not it is on a stack. */
static void program_first(struct writer *w)
{
	const struct modules *m = w->h->traces->modules;
	struct program p = {.exe = w->h->target->exe};
	Dwfl *dwfl = modules_dwfl(m);

	if (dwfl && dwfl_getmodules(dwfl, is_program, &p, 0) > 0)
		mapping(w, modules_generation(m), p.start);
}

static uint64_t wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void fill(struct writer *w)
{
	const struct heap_profile *h = w->h;
	uint64_t duration = (uint64_t)(h->seconds * 1e9);

	string(w, "");
	for (int i = 0; i < PROFILE_VALUE_COUNT; i++)
		value_type(w, 1, profile_types[i], profile_units[i]);
	program_first(w);
	for (uint32_t i = 0; i < h->store->cells; i++)
		cell_sample(w, &h->store->cell[i]);
	for (unsigned i = 0; i < h->classes; i++)
		if (!h->history && h->remain[i].blocks)
			before_sample(w, i);
	wire_number(&w->out, 9, wall_ns() - duration);
	wire_number(&w->out, 10, duration);
	value_type(w, 11, "space", "bytes");
	wire_number(&w->out, 12, 1ULL << h->mean_log2);
	wire_number(&w->out, 14, string(w, profile_types[PROFILE_INUSE_SPACE]));
	for (size_t i = 0; i < w->strings.n; i++)
		wire_bytes(&w->out, 6, w->strings.text[i], strlen(w->strings.text[i]));
}

static bool write_gzip(FILE *out, const struct wire *w)
{
	z_stream z = {.next_in = w->data, .avail_in = (uInt)w->n};
	uint8_t chunk[16384];
	int r;

	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY))
		return false;
	do {
		z.next_out = chunk;
		z.avail_out = sizeof(chunk);
		r = deflate(&z, Z_FINISH);
		fwrite(chunk, 1, sizeof(chunk) - z.avail_out, out);
	} while (r == Z_OK);
	deflateEnd(&z);
	return r == Z_STREAM_END;
}

bool pprof_write(FILE *out, const struct heap_profile *h)
{
	struct writer w = {.h = h};
	bool ok;

	fill(&w);
	ok = !w.failed && !w.out.failed && write_gzip(out, &w.out);
	free(w.out.data);
	free_numbers(&w.strings);
	free_numbers(&w.mappings);
	free_numbers(&w.locations);
	free_numbers(&w.functions);
	return ok;
}
