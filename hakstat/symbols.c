#include "symbols.h"
#include "called.h"
#include "target.h"

#include <dwarf.h>
#include <elfutils/libdwelf.h>
#include <elfutils/libdw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INLINED_MAX 64U
#define NAME_MAX_ 4096 /* templates grow long; nobody reads more */

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
	if (!s->entry) {
		free(s);
		return NULL;
	}
	return s;
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
	copy = strndup(text, NAME_MAX_);
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

/*
 * The compilation unit of an address. .debug_aranges only gives a hint: libdw takes what lies
 * between two ranges for part of the first, and clang writes none. Then all are asked.
 */
static Dwarf_Die *unit_of(Dwfl_Module *mod, uint64_t pc, Dwarf_Addr *bias)
{
	Dwarf_Die *cu = dwfl_module_addrdie(mod, pc, bias);

	if (cu && dwarf_haspc(cu, pc - *bias) == 1)
		return cu;
	cu = NULL;
	while ((cu = dwfl_module_nextcu(mod, cu, bias)))
		if (dwarf_haspc(cu, pc - *bias) == 1)
			return cu;
	return NULL;
}

static const char *attribute_text(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute a;

	return dwarf_formstring(dwarf_attr_integrate(die, name, &a));
}

static const char *die_name(Dwarf_Die *die)
{
	const char *linkage = attribute_text(die, DW_AT_linkage_name);

	return linkage ? linkage : attribute_text(die, DW_AT_name);
}

static unsigned attribute_number(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute a;
	Dwarf_Word v;

	return dwarf_formudata(dwarf_attr(die, name, &a), &v) ? 0 : (unsigned)v;
}

static const char *call_file(Dwarf_Die *cu, Dwarf_Die *die)
{
	Dwarf_Files *files;
	size_t n;
	unsigned i = attribute_number(die, DW_AT_call_file);

	if (dwarf_getsrcfiles(cu, &files, &n) || i >= n)
		return NULL;
	return dwarf_filesrc(files, i, NULL, NULL);
}

/* The scopes around an address, innermost first, with those a function was inlined into. */
static int scopes_of(Dwarf_Die *cu, uint64_t pc, Dwarf_Die **scopes)
{
	Dwarf_Die innermost;
	int n = dwarf_getscopes(cu, pc, scopes);

	if (n <= 0)
		return n;
	innermost = (*scopes)[0];
	free(*scopes);
	return dwarf_getscopes_die(&innermost, scopes);
}

/*
 * libdw opens a file that debug information shares with others by any name it finds, and a pipe
 * would keep us: only of the system's own debug files this is let happen (modules.c:open_shared).
 */
static bool may_be_read(Dwfl_Module *mod)
{
	const char *name, *debug_file = NULL;
	Dwarf_Addr bias;
	Dwarf *dwarf = dwfl_module_getdwarf(mod, &bias);
	const void *id;

	if (!dwarf || dwelf_dwarf_gnu_debugaltlink(dwarf, &name, &id) <= 0)
		return true;
	dwfl_module_info(mod, NULL, NULL, NULL, NULL, NULL, NULL, &debug_file);
	return debug_file && !strncmp(debug_file, "/usr/lib/debug/", 15);
}

/* Fills in functions, files and lines from debug information; how many frames, 0 if there is none.
 */
static unsigned by_debug(struct symbols *s, Dwfl_Module *mod, uint64_t pc, struct frame *f)
{
	Dwarf_Addr bias = 0;
	Dwarf_Die *scopes = NULL, *cu = unit_of(mod, pc, &bias);
	Dwarf_Line *line = cu ? dwarf_getsrc_die(cu, pc - bias) : NULL;
	const char *file = NULL;
	int at = 0, n;
	unsigned frames = 0;

	if (line && !dwarf_lineno(line, &at))
		file = dwarf_linesrc(line, NULL, NULL);
	f[0].file = keep(s, file);
	f[0].line = at > 0 ? (unsigned)at : 0;
	n = cu ? scopes_of(cu, pc - bias, &scopes) : 0;
	for (int i = 0; i < n && frames < INLINED_MAX; i++) {
		int tag = dwarf_tag(&scopes[i]);

		if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram)
			continue;
		f[frames].function = keep_function(s, die_name(&scopes[i]));
		f[frames++].inlined = tag == DW_TAG_inlined_subroutine;
		if (tag == DW_TAG_subprogram || frames == INLINED_MAX)
			break;
		f[frames].file = keep(s, call_file(cu, &scopes[i]));
		f[frames].line = attribute_number(&scopes[i], DW_AT_call_line);
	}
	free(scopes);
	return frames;
}

static unsigned look_up(struct symbols *s, unsigned generation, uint64_t pc, struct frame *f)
{
	Dwfl *dwfl = modules_dwfl_of(s->modules, generation);
	Dwfl_Module *mod = dwfl ? dwfl_addrmodule(dwfl, pc) : NULL;
	Dwarf_Addr start = 0;
	GElf_Addr bias;
	const char *path;
	GElf_Off offset;
	GElf_Sym sym;
	unsigned n;

	f[0].offset = f[0].pc = pc;
	if (!mod)
		return 1;
	path = keep(s, dwfl_module_info(mod, NULL, &start, NULL, NULL, NULL, NULL, NULL));
	if (!dwfl_module_getelf(mod, &bias)) /* a file that could not be opened */
		bias = start;
	n = may_be_read(mod) ? by_debug(s, mod, pc, f) : 0;
	if (n == 0 || !f[n - 1].function) {
		n += n == 0;
		f[n - 1].function = keep_function(
			s, dwfl_module_addrinfo(mod, pc, &offset, &sym, NULL, NULL, NULL));
	}
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
	struct frame f[INLINED_MAX + 1];

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
