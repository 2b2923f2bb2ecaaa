#include "symbols.h"
#include "called.h"
#include "lookup.h"
#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	uint64_t pc;
	unsigned generation, n;
	struct frame *frame; /* NULL: the slot is free */
	const char *called;
	bool asked; /* what is called there */
};

struct alias {
	struct alias *next;
	struct frame frame;
};

struct symbols {
	const struct modules *modules;
	struct lookup *lookup;
	struct entry *entry; /* open addressing; a power of two */
	size_t room, used;
	char **text; /* every string handed out */
	size_t texts, text_room;
	struct alias *aliases;
};

/* Of libstdc++: the one demangler that knows all of the ABI. */
extern char *__cxa_demangle(const char *name, char *out, size_t *len, int *status);

struct symbols *symbols_open(const struct modules *m)
{
	struct symbols *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->modules = m;
	s->room = 1024;
	s->entry = calloc(s->room, sizeof(*s->entry));
	s->lookup = lookup_open(m);
	if (s->entry && s->lookup)
		return s;
	lookup_close(s->lookup);
	free(s->entry);
	free(s);
	return NULL;
}

void symbols_close(struct symbols *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->room; i++)
		free(s->entry[i].frame);
	for (size_t i = 0; i < s->texts; i++)
		free(s->text[i]);
	for (struct alias *a = s->aliases, *next; a; a = next) {
		next = a->next;
		free(a);
	}
	free(s->text);
	free(s->entry);
	lookup_close(s->lookup);
	free(s);
}

/* A copy that is safe to print. The files are the target's: so are the names. */
static const char *keep(struct symbols *s, const char *text)
{
	char *copy;

	if (!text)
		return NULL;
	if (s->texts == s->text_room) {
		size_t room = s->text_room ? 2 * s->text_room : 256;
		char **p = realloc(s->text, room * sizeof(*p));

		if (!p)
			return NULL;
		s->text = p;
		s->text_room = room;
	}
	copy = strndup(text, LOOKUP_TEXT);
	if (copy) {
		sanitize(copy);
		s->text[s->texts++] = copy;
	}
	return copy;
}

char *demangled(const char *name)
{
	int status;

	return strncmp(name, "_Z", 2) ? NULL : __cxa_demangle(name, NULL, NULL, &status);
}

static const char *keep_function(struct symbols *s, const char *name)
{
	char *plain = name ? demangled(name) : NULL;
	const char *kept = keep(s, plain ? plain : name);

	free(plain);
	return kept;
}

static struct entry *slot_of(const struct symbols *s, unsigned generation, uint64_t pc)
{
	size_t i = (pc * 0x9e3779b97f4a7c15U) >> 20;

	for (;; i++) {
		struct entry *e = &s->entry[i & (s->room - 1)];

		if (!e->frame || (e->pc == pc && e->generation == generation))
			return e;
	}
}

static bool grow(struct symbols *s)
{
	struct symbols bigger = *s;

	if (2 * s->used < s->room)
		return true;
	bigger.room = 2 * s->room;
	bigger.entry = calloc(bigger.room, sizeof(*bigger.entry));
	if (!bigger.entry)
		return false;
	for (size_t i = 0; i < s->room; i++)
		if (s->entry[i].frame)
			*slot_of(&bigger, s->entry[i].generation, s->entry[i].pc) = s->entry[i];
	free(s->entry);
	*s = bigger;
	return true;
}

static unsigned look_up(struct symbols *s, unsigned generation, uint64_t pc, struct frame *f)
{
	Dwfl *dwfl = modules_dwfl_of(s->modules, generation);
	Dwfl_Module *mod = dwfl ? dwfl_addrmodule(dwfl, pc) : NULL;
	Dwarf_Addr start = 0;
	GElf_Addr bias;
	const char *path;
	unsigned n;

	f[0].offset = f[0].pc = pc;
	if (!mod)
		return 1;
	path = keep(s, dwfl_module_info(mod, NULL, &start, NULL, NULL, NULL, NULL, NULL));
	if (!dwfl_module_getelf(mod, &bias)) /* a file that could not be opened */
		bias = start;
	n = lookup(s->lookup, generation, pc, f);
	for (unsigned i = 0; i < n; i++) {
		f[i].function = keep(s, f[i].function);
		f[i].file = keep(s, f[i].file);
	}
	n += n == 0;
	for (unsigned i = 0; i < n; i++) {
		f[i].module = path;
		f[i].module_start = start;
		f[i].offset = pc - bias;
		f[i].pc = pc;
	}
	return n;
}

const struct frame *symbols_of(struct symbols *s, unsigned generation, uint64_t pc, unsigned *n)
{
	struct entry *e = grow(s) ? slot_of(s, generation, pc) : NULL;
	struct frame f[LOOKUP_FRAMES];

	if (!e)
		return NULL;
	if (!e->frame) {
		memset(f, 0, sizeof(f));
		e->n = look_up(s, generation, pc, f);
		e->frame = malloc(e->n * sizeof(*f));
		if (!e->frame)
			return NULL;
		memcpy(e->frame, f, e->n * sizeof(*f));
		e->pc = pc;
		e->generation = generation;
		s->used++;
	}
	*n = e->n;
	return e->frame;
}

const char *symbols_called(struct symbols *s, unsigned generation, uint64_t pc)
{
	struct entry *e = slot_of(s, generation, pc);
	Dwfl *dwfl = modules_dwfl_of(s->modules, generation);
	Dwfl_Module *mod = dwfl ? dwfl_addrmodule(dwfl, pc) : NULL;

	if (!e->frame || !mod)
		return NULL;
	if (!e->asked)
		e->called = keep_function(s, called_at(mod, pc + 1));
	e->asked = true;
	return e->called;
}

bool symbols_know(const struct symbols *s, unsigned generation, uint64_t pc)
{
	return slot_of(s, generation, pc)->frame != NULL;
}

const struct frame *symbols_as(struct symbols *s, const struct frame *f, const char *function)
{
	struct alias *a = s->aliases;

	while (a && (a->frame.pc != f->pc || a->frame.module_start != f->module_start ||
		     strcmp(a->frame.function, function) != 0))
		a = a->next;
	if (a)
		return &a->frame;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->frame = *f;
	a->frame.function = keep(s, function);
	a->frame.file = NULL;
	a->frame.line = 0;
	a->frame.inlined = false;
	if (!a->frame.function) {
		free(a);
		return NULL;
	}
	a->next = s->aliases;
	s->aliases = a;
	return &a->frame;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

void frame_name(const struct frame *f, char *out, size_t len)
{
	if (f->function)
		snprintf(out, len, "%s", f->function);
	else if (f->module)
		snprintf(out, len, "%s+0x%llx", base_name(f->module),
			 (unsigned long long)f->offset);
	else
		snprintf(out, len, "0x%llx", (unsigned long long)f->offset);
}

void frame_place(const struct frame *f, char *out, size_t len)
{
	if (f->file && f->line)
		snprintf(out, len, "%s:%u", base_name(f->file), f->line);
	else if (f->module)
		snprintf(out, len, "%s", base_name(f->module));
	else
		snprintf(out, len, "%s", "");
}
