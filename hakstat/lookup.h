/* Functions, files and lines of an address, found by another process: see lookup.c. */
#ifndef HAKSTAT_LOOKUP_H
#define HAKSTAT_LOOKUP_H

#include "symbols.h"

#define LOOKUP_INLINED 64U /* functions inlined into each other */
#define LOOKUP_FRAMES (LOOKUP_INLINED + 1)
#define LOOKUP_TEXT 4096U /* templates grow long; nobody reads more */

struct lookup;

struct lookup *lookup_open(const struct modules *m); /* NULL: no memory */
void lookup_close(struct lookup *l);

/*
 * Fills in function, file, line and inlined of LOOKUP_FRAMES frames at most; how many, 0: nothing
 * is known. Texts live until the next one; they are not safe to print.
 */
unsigned lookup(struct lookup *l, unsigned generation, uint64_t pc, struct frame *f);

#endif
