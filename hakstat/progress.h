/*
 * Work that takes long says how far it is, after half a second: on stderr where that is a terminal,
 * or where progress_to says, and takes it back at its end.
 */
#ifndef HAKSTAT_PROGRESS_H
#define HAKSTAT_PROGRESS_H

#include <stddef.h>

struct progress {
	const char *what, *unit; /* "looking up names", "stacks" */
	double began, said;
};

void progress_begin(struct progress *p, const char *what, const char *unit);
void progress_step(struct progress *p, size_t done, size_t of); /* of: 0, if nobody knows */
void progress_end(const struct progress *p);

/* show: gets the text, and NULL when it is over; NULL: stderr. */
void progress_to(void (*show)(const char *text));

#endif
