/* From addresses to names: rows of stacks that read the same. */
#include "hakstat.h"
#include "progress.h"
#include "stacks.h"

#include <stdlib.h>
#include <string.h>

#define STATIC_DEEP 32	  /* frames of libhakmem at most, in a static program */
#define TEXT_MAX_ 1048576 /* of one stack */
#define CALLERS_SHOWN 12

/* A growing text. */
struct text {
	char *s;
	size_t n, room;
};

static void add(struct text *t, const char *more)
{
	size_t len = strlen(more);

	if (t->n + len >= t->room) {
		size_t room = 2 * (t->n + len) + 256;
		char *p = room < TEXT_MAX_ ? realloc(t->s, room) : NULL;

		if (!p)
			return;
		t->s = p;
		t->room = room;
	}
	memcpy(t->s + t->n, more, len + 1);
	t->n += len;
}

/* --- what of a stack is shown --- */

static bool is_one_of(const char *function, const char *names)
{
	char name[64];

	snprintf(name, sizeof(name), " %s ", function);
	return strstr(names, name) != NULL;
}

/* What programs call. */
static bool is_public(const char *function)
{
	return is_one_of(
		       function,
		       " malloc calloc realloc reallocarray aligned_alloc posix_memalign memalign"
		       " valloc pvalloc free free_sized free_aligned_sized cfree malloc_trim"
		       " hak_malloc hak_calloc hak_realloc hak_free hak_aligned_alloc hak_alloc_at"
		       " hak_free_at hak_trim ") ||
	       !strncmp(function, "operator new", 12) || !strncmp(function, "operator delete", 15);
}

/* What those jump to, and so do not appear themselves: which of them it was at least in kind. */
static const char *kind_of(const char *function)
{
	if (is_one_of(function,
		      " alloc_slow alloc_first alloc_large alloc_if_easy alloc_aside aside_slow "
		      "alloc_aligned_aside alloc_at small_or_oom secure_alloc "))
		return "malloc";
	if (is_one_of(function, " free_slow secure_free "))
		return "free";
	if (is_one_of(function, " realloc_copy realloc_any realloc_block secure_realloc "))
		return "realloc";
	return NULL;
}

/* What free jumps to at its end, and others call. */
static bool is_end_of_free(const char *function)
{
	return is_one_of(function, " heap_leave heap_leave_light give_back leave ");
}

/* Where libhakmem begins in a static program, whose own code is in the same file. */
static bool is_entry(const struct frame *f)
{
	return f->function && (is_public(f->function) || kind_of(f->function));
}

/* Frames of a raw stack, those inlined included. Free them. */
static const struct frame **frames_of(const struct raw_stack *r, struct symbols *symbols,
				      unsigned *count)
{
	const struct frame **all = NULL;
	unsigned n = 0, room = 0;

	for (unsigned i = 0; i < r->n; i++) {
		unsigned more = 0;
		const struct frame *f = symbols_of(symbols, r->generation, r->pc[i], &more);

		if (n + more > room) {
			unsigned want = 2 * (n + more) + 16;
			const struct frame **p = realloc(all, want * sizeof(*p));

			if (!p)
				break;
			all = p;
			room = want;
		}
		for (unsigned k = 0; f && k < more; k++)
			all[n++] = &f[k];
	}
	*count = n;
	return all;
}

/* --- rows --- */

struct making {
	struct stacks *out;
	struct symbols *symbols;
	const struct stacks_options *o;
	const char *comm;
	bool is_static;
	unsigned *slot; /* of rows by key; index + 1; a power of two */
	char **key;
	size_t room;
};

static void add_frame(struct text *t, const struct frame *f, bool lines)
{
	char name[4200], place[300];

	frame_name(f, name, sizeof(name));
	add(t, name);
	if (!lines)
		return;
	frame_place(f, place, sizeof(place));
	add(t, "\1");
	add(t, place);
}

/* What two stacks have in common that are one row. */
static char *make_key(const struct making *m, const struct stack_row *row)
{
	struct text t = {0};

	add(&t, hak_probes[row->probe].name);
	if (row->cut)
		add(&t, "\3");
	for (unsigned i = 0; i < row->frames; i++) {
		add(&t, "\2");
		add_frame(&t, row->frame[i], m->o->by == STACKS_BY_STACK);
	}
	return t.s;
}

/* The separators of folded stacks must not be in a name. */
static void add_folded(struct text *t, const char *name)
{
	size_t at = t->n;

	add(t, name);
	for (; at < t->n; at++)
		if (t->s[at] == ';')
			t->s[at] = ':';
}

static char *fold(const struct making *m, const struct stack_row *row)
{
	char name[4200];
	struct text t = {0};

	add_folded(&t, m->comm[0] ? m->comm : "?");
	if (row->cut)
		add(&t, ";[cut]");
	for (unsigned i = row->frames; i--;) {
		frame_name(row->frame[i], name, sizeof(name));
		add(&t, ";");
		add_folded(&t, name);
		if (row->frame[i]->inlined)
			add(&t, "_[i]"); /* as flamegraph.pl colours them */
	}
	if (!m->o->callers) {
		add(&t, ";[");
		add(&t, hak_probes[row->probe].name);
		add(&t, "]");
	}
	return t.s;
}

static char *list_callers(const struct stack_row *row)
{
	char name[4200];
	struct text t = {0};

	add(&t, "");
	for (unsigned i = 0; i < row->frames && i < CALLERS_SHOWN; i++) {
		frame_name(row->frame[i], name, sizeof(name));
		name[strcspn(name, "(")] = '\0';
		if (i)
			add(&t, " < ");
		add(&t, name[0] ? name : "?");
	}
	return t.s;
}

static uint64_t hash_text(const char *s)
{
	uint64_t h = 0xcbf29ce484222325U; /* FNV-1a */

	while (*s)
		h = (h ^ (unsigned char)*s++) * 0x100000001b3U;
	return h;
}

static void add_tally(struct stack_tally *to, const struct stack_tally *from, double scale)
{
	to->events += from->events * scale;
	to->bytes += from->bytes * scale;
	to->ns += from->ns * scale;
	to->taken += from->taken;
	to->cut += from->cut;
}

/* The row of this key, or a new one that takes `row` over. NULL: no memory. */
static struct stack_row *row_of(struct making *m, struct stack_row *row)
{
	char *key = make_key(m, row);
	struct stack_row *p;
	size_t i;

	if (!key)
		return NULL;
	for (i = hash_text(key); m->slot[i & (m->room - 1)]; i++) {
		unsigned k = m->slot[i & (m->room - 1)] - 1;

		if (strcmp(m->key[k], key) != 0)
			continue;
		free(key);
		free(row->frame);
		return &m->out->row[k];
	}
	p = &m->out->row[m->out->rows];
	m->key[m->out->rows] = key;
	m->slot[i & (m->room - 1)] = ++m->out->rows;
	*p = *row;
	p->callers = list_callers(p);
	p->folded = fold(m, p);
	return p->callers && p->folded ? p : NULL;
}

/* Index of the function that called frame i, whatever was inlined into it; or n. */
static unsigned calling(const struct frame *const *f, unsigned n, unsigned i)
{
	for (i++; i < n && f[i]->inlined; i++)
		;
	return i;
}

/* The allocator's function that is called there, or NULL. */
static const char *public_call(const struct making *m, unsigned generation, const struct frame *f)
{
	const char *name = symbols_called(m->symbols, generation, f->pc);

	return name && is_public(name) ? name : NULL;
}

/* In a static program: by who calls what, or where that cannot be told, by what is known to be. */
static unsigned static_entry(const struct making *m, unsigned generation,
			     const struct frame *const *f, unsigned n)
{
	unsigned i = 0;

	for (unsigned k = 1; k < n && k < STATIC_DEEP; k++)
		if (public_call(m, generation, f[k]))
			return k - 1;
	while (i < n && i < STATIC_DEEP && !is_entry(f[i]))
		i++;
	if (i == n || i == STATIC_DEEP)
		return 0;
	for (unsigned next; (next = calling(f, n, i)) < n && is_entry(f[next]);)
		i = next;
	return i;
}

/* Index of the outermost frame within libhakmem: what the program called. 0: it is not known. */
static unsigned entry_of(const struct making *m, unsigned generation, const struct frame *const *f,
			 unsigned n)
{
	unsigned i = 0;

	if (n == 0)
		return 0;
	if (m->is_static)
		return static_entry(m, generation, f, n);
	while (i + 1 < n && f[i + 1]->module && f[i + 1]->module_start == f[0]->module_start)
		i++;
	return i;
}

unsigned stack_entry(const struct raw_stack *r, struct symbols *symbols, bool is_static)
{
	unsigned frames, more, at = 0, entry, i = 0;
	const struct frame **f = frames_of(r, symbols, &frames);
	struct making m = {.symbols = symbols, .is_static = is_static};

	entry = f ? entry_of(&m, r->generation, f, frames) : 0;
	for (; i + 1 < r->n; i++) {
		if (symbols_of(symbols, r->generation, r->pc[i], &more))
			at += more;
		if (at > entry)
			break;
	}
	free(f);
	return r->n ? i : 0;
}

/* The frame that stands for libhakmem, under the name that its caller called. */
static const struct frame *named_entry(const struct making *m, unsigned generation,
				       const struct frame *entry, const struct frame *caller)
{
	const char *name = public_call(m, generation, caller);
	const struct frame *f;

	if (!entry->function || is_public(entry->function))
		return entry;
	if (!name)
		name = is_end_of_free(entry->function) ? "free" : kind_of(entry->function);
	f = !name ? entry : symbols_as(m->symbols, entry, name);
	return f ? f : entry;
}

/* Leaves of the frames what the options ask for. */
static void trim(const struct making *m, struct stack_row *row, unsigned generation)
{
	unsigned first = entry_of(m, generation, row->frame, row->frames), n;

	if (m->o->by == STACKS_BY_FUNCTION) {
		if (first + 1 < row->frames)
			first++;
		n = row->frames ? 1 : 0;
		row->cut = false;
	} else {
		if (m->o->internals)
			first = 0;
		else if (m->o->callers && first + 1 < row->frames)
			first++;
		else if (first + 1 < row->frames)
			row->frame[first] = named_entry(m, generation, row->frame[first],
							row->frame[first + 1]);
		row->entry = !m->o->internals && !m->o->callers && row->frames > 1;
		n = row->frames - first;
	}
	memmove(row->frame, row->frame + first, n * sizeof(struct frame *));
	row->frames = n;
}

static bool add_stack(struct making *m, struct raw_stack *r, double scale)
{
	struct stack_row row = {.probe = (int)r->probe, .cut = r->cut}, *to;

	row.frame = frames_of(r, m->symbols, &row.frames);
	if (!row.frame)
		return r->n == 0;
	trim(m, &row, r->generation);
	to = row_of(m, &row);
	if (!to)
		return false;
	r->row = (unsigned)(to - m->out->row);
	add_tally(&to->sum, &r->sum, scale);
	add_tally(&m->out->all, &r->sum, scale);
	return true;
}

static bool make_rows(struct making *m, struct raw_stack *const *raw, size_t n, const double *scale)
{
	struct progress p;
	bool ok = true;

	progress_begin(&p, "looking up names", "stacks");
	for (size_t i = 0; i < n && ok; i++) {
		progress_step(&p, i, n);
		ok = add_stack(m, raw[i], scale[raw[i]->probe]);
	}
	progress_end(&p);
	return ok;
}

bool stack_rows_make(struct stacks *out, struct raw_stack *const *raw, size_t n,
		     const double *scale, struct symbols *symbols, const struct stacks_options *o,
		     const char *comm, bool is_static)
{
	struct making m = {.out = out, .symbols = symbols, .o = o, .comm = comm};
	bool ok;

	m.is_static = is_static;
	for (m.room = 64; m.room < 2 * n; m.room *= 2)
		;
	m.slot = calloc(m.room, sizeof(*m.slot));
	m.key = calloc(n + 1, sizeof(char *));
	out->row = calloc(n + 1, sizeof(*out->row));
	out->rows = 0;
	ok = m.slot && m.key && out->row && make_rows(&m, raw, n, scale);
	for (unsigned i = 0; m.key && i < out->rows; i++)
		free(m.key[i]);
	free(m.slot);
	free(m.key);
	if (!ok)
		stack_rows_free(out);
	return ok;
}

void stack_rows_free(struct stacks *s)
{
	for (unsigned i = 0; i < s->rows; i++) {
		free(s->row[i].frame);
		free(s->row[i].callers);
		free(s->row[i].folded);
	}
	free(s->row);
	s->row = NULL;
	s->rows = 0;
}
