/* One interval of a process, as the commands that print a report measure it. */
#ifndef HAKSTAT_INTERVAL_H
#define HAKSTAT_INTERVAL_H

#include "watch.h"

struct interval {
	struct watch w;
	struct sample from, to;
	struct model m; /* valid where interval_run gave EXIT_OK */
};

/*
 * Exactly one of process (PID or name) and command. Source and options as in watch_use. What is not
 * needed to watch is given up. An exit code after a message, or EXIT_OK. x may be large: make it
 * static.
 */
int interval_open(struct interval *x, const char *process, const char *command,
		  const struct source *source, const void *options);
/*
 * From now (of a command: from its start) until `seconds` have passed, it ends or a signal comes;
 * seconds negative: no limit. Returns as interval_open does.
 */
int interval_run(struct interval *x, bool command, double seconds);
void interval_close(struct interval *x); /* also after a failure */

#endif
