/* Whom to look at, for how long, at which price: options that commands share. */
#ifndef HAKSTAT_WHOM_H
#define HAKSTAT_WHOM_H

#include <argp.h>

struct whom {
	const char *process, *command;
	double seconds; /* 0: not given */
};

/* -p -c -d --budget, as a child of a command's own parser: its input is a struct whom, all zero. */
extern const struct argp whom_argp;
/* At ARGP_KEY_END of the command: is it one of the two? */
void whom_check(const struct whom *w, struct argp_state *state);

#endif
