/* Commands of the user's, run when something has happened. */
#ifndef HAKSTAT_ERRAND_H
#define HAKSTAT_ERRAND_H

#include <stdbool.h>
#include <stddef.h>

#define ERRANDS_MAX 8 /* at once */

struct errand {
	char **argv;		  /* as the user wrote it; nothing of the target's is ever in it */
	int running[ERRANDS_MAX]; /* pidfd, or -1 */
};

/* One command with arguments, quoted as in a shell, without its substitutions. False: it is none.
 */
bool errand_open(struct errand *e, const char *command);
/*
 * Starts it, with these variables ("NAME=VALUE", NULL at the end) in its environment, output to our
 * stderr. False, with a message: it could not be started, or too many are running.
 */
bool errand_start(struct errand *e, const char *const *variables);
/* Waits until all have ended. */
void errand_close(struct errand *e);

/* What a shell could take for more than a name becomes "_". */
void errand_plain(char *text);

#endif
