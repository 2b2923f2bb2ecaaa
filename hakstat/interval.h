/* One interval of a process, as the commands that print a report measure it. */
#ifndef HAKSTAT_INTERVAL_H
#define HAKSTAT_INTERVAL_H

#include "watch.h"

struct interval {
	struct watch w;
	struct sample from, to;
	struct model m; /* valid where interval_measure gave EXIT_OK */
};

/*
 * From now (of a command: from its start) until `seconds` have passed, it ends or a signal comes;
 * seconds negative: no limit. Exactly one of process (PID or name) and command. Source and options
 * as in watch_use. An exit code after a message, or EXIT_OK. x may be large: make it static.
 */
int interval_measure(struct interval *x, const char *process, const char *command, double seconds,
		     const struct source *source, const void *options);
void interval_close(struct interval *x); /* also after a failure */

#endif
