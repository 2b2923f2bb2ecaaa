/* Which function a call instruction names. */
#ifndef HAKSTAT_CALLED_H
#define HAKSTAT_CALLED_H

#include <elfutils/libdwfl.h>
#include <stdint.h>

/* next: where the call returns to, in mod. NULL: not known, as of a call by a register. */
const char *called_at(Dwfl_Module *mod, uint64_t next);

#endif
