/*
 * A command of ours, started on libhakmem. All its threads are traced (ptrace) so that it waits
 * while we attach, and once more right before its memory goes away, whichever thread is the last.
 */
#ifndef HAKSTAT_LAUNCH_H
#define HAKSTAT_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum launch_event {
	LAUNCH_RUNNING,
	LAUNCH_EXEC,	/* stopped: it is another program, of which nothing has run */
	LAUNCH_EXITING, /* no thread runs any more, memory still there, until launch_resume */
	LAUNCH_GONE,
};

/* A thread at its end. */
struct ending {
	pid_t tid;
	bool held; /* stopped there, or let go and not gone yet */
};

struct launch {
	pid_t pid; /* 0 once it is gone */
	bool exiting, another;
	int status;	      /* of waitpid, once gone */
	bool terminal, given; /* our input is one; the command has it now */
	int wake;	      /* readable when launch_poll has something to do */
	struct ending *ending;
	size_t endings, room;
};

/* The library to preload: $HAKMEM_LIB, or beside this program, or installed. False if none. */
bool launch_library(char *path, size_t len);

/*
 * Starts the command, stopped at its exec, in a process group of its own. screen: the terminal is
 * not for it; what would be written there is dropped. 0, or a negative errno with the reason in
 * err: -EINVAL it is not a command, -EPERM it may not be traced. Then nothing of it has run.
 */
int launch_start(struct launch *l, const char *command, const char *library, bool screen, char *err,
		 size_t errlen);
/* Lets it go on from LAUNCH_EXEC or LAUNCH_EXITING. */
void launch_resume(struct launch *l);
/* Serves its stops and tells how it stands. To be called whenever `wake` is readable. */
enum launch_event launch_poll(struct launch *l);
/* Lets it go on until it is gone. */
void launch_finish(struct launch *l);
/* Ends it with its process group, if it is still there: SIGTERM, and after a second SIGKILL. */
void launch_close(struct launch *l);

#endif
