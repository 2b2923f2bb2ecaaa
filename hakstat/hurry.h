/* Calls the threads of a process to a slow operation of its allocator. */
#ifndef HAKSTAT_HURRY_H
#define HAKSTAT_HURRY_H

#include "target.h"

/*
 * A thread of which every allocation and every free is a hit does not notice that sampling was
 * switched on: hit paths do not look. So the limits of all caches are set to nothing, as the
 * library does for other threads once one of them has noticed: the next free of each is a slow
 * operation, which finds the switch, and sets the limit right. Nothing else is written into a
 * process, ever, and nothing is left to take back. False: it must not be written to.
 */
bool hurry(const struct target *t);

#endif
