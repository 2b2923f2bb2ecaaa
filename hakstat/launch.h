/*
 * A command of ours, started on libhakmem. It is traced (ptrace, its first thread only) so that
 * it waits while we attach, and once more right before its memory goes away.
 */
#ifndef HAKSTAT_LAUNCH_H
#define HAKSTAT_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum launch_event {
	LAUNCH_RUNNING,
	LAUNCH_EXITING, /* stopped at its end, memory still there: launch_resume lets it go */
	LAUNCH_GONE,
};

struct launch {
	pid_t pid;
	bool exiting;
	int status; /* of waitpid, once gone */
};

/* The library to preload: $HAKMEM_LIB, or beside this program, or installed. False if none. */
bool launch_library(char *path, size_t len);

/*
 * Starts the command, stopped at its exec. 0, or a negative errno with the reason in err: -EINVAL
 * it is not a command, -EPERM it may not be traced. Then nothing of it has run.
 */
int launch_start(struct launch *l, const char *command, const char *library, char *err,
		 size_t errlen);
/* Lets it go on from its exec or from LAUNCH_EXITING. */
void launch_resume(struct launch *l);
/* What happened; waits if `wait`. Must be called often while the command runs. */
enum launch_event launch_poll(struct launch *l, bool wait);
/* Ends it. */
void launch_kill(struct launch *l);

#endif
