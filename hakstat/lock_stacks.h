/* Futex waits, and the stacks the allocator waits for its locks from, at once. */
#ifndef HAKSTAT_LOCK_STACKS_H
#define HAKSTAT_LOCK_STACKS_H

#include "stacks.h"

extern const struct source source_lock_stacks; /* options: struct stacks_options */

#endif
