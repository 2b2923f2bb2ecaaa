/* Flame graphs as SVG: one file, with a script of its own to zoom and to search. */
#ifndef HAKSTAT_FLAME_H
#define HAKSTAT_FLAME_H

#include "profile.h"

/* from: what it is compared to, or NULL. False: no memory; errors of writing are out's. */
bool flame_write(FILE *out, const struct profile *p, const struct profile *from,
		 enum profile_value by, const char *title);

#endif
