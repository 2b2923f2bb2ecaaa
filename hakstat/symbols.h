/*
 * Names for addresses: functions with those inlined into them, file and line where there is debug
 * information, else the symbols a stripped file still has. C++ names are demangled.
 */
#ifndef HAKSTAT_SYMBOLS_H
#define HAKSTAT_SYMBOLS_H

#include "modules.h"

struct frame {
	const char *function;  /* NULL: unknown */
	const char *file;      /* source; NULL: unknown */
	unsigned line;	       /* 0: unknown */
	const char *module;    /* path of the program or library; NULL: none, as of a JIT */
	uint64_t module_start; /* where it is mapped */
	uint64_t offset;       /* in the file, as its symbols count; or the address itself */
	uint64_t pc;
	bool inlined; /* into the next frame */
};

struct symbols;

struct symbols *symbols_open(const struct modules *m);
/* Frees the frames, too. */
void symbols_close(struct symbols *s);

/*
 * The frames of an address within a call, innermost first; at least one. What was looked up once
 * is remembered. NULL only without memory.
 */
const struct frame *symbols_of(struct symbols *s, unsigned generation, uint64_t pc, unsigned *n);
/* Has this address been looked up? */
bool symbols_know(const struct symbols *s, unsigned generation, uint64_t pc);

/*
 * The function called at this address, which was looked up: what the call there names, by the
 * file's own symbols and relocations; where that jumps to may be another one. NULL: not known.
 */
const char *symbols_called(struct symbols *s, unsigned generation, uint64_t pc);
/* The frame under another function's name; lives as long as the others. NULL: no memory. */
const struct frame *symbols_as(struct symbols *s, const struct frame *f, const char *function);

/* The plain name of a mangled one, to be freed; NULL: it is none. */
char *demangled(const char *name);

/* A frame as text: "function", or "module+0x1234" where there is no name. */
void frame_name(const struct frame *f, char *out, size_t len);
/* "file.c:12", with the last `dirs` directories; empty where unknown. */
void frame_place(const struct frame *f, char *out, size_t len);

#endif
