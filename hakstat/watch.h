/* A process being watched, whether it ran before (-p) or is ours (-c), until it ends. */
#ifndef HAKSTAT_WATCH_H
#define HAKSTAT_WATCH_H

#include "attach.h"
#include "collect.h"
#include "launch.h"
#include "source.h"
#include "target.h"

struct watch {
	struct target t;
	struct attachment *a; /* NULL: counters only */
	struct launch l;
	bool launched;
	bool alone;	    /* with the counters alone: neither probes nor source are attached */
	bool ready;	    /* the counters are there: always with -p */
	bool any;	    /* `last` is there */
	bool restless;	    /* is another program, which was gone again before it could be read */
	unsigned programs;  /* the process became, by exec: samples before and after do not mix */
	struct sample last; /* what watch_sample told last */
	int pidfd;	    /* of a process that is not ours, or -1 */
	const struct source *source; /* of the view shown, or NULL */
	void *state;		     /* the source's */
	char who[160];
	char library[PATH_MAX]; /* preloaded into a command of ours */
};

enum watch_event { WATCH_TIME, WATCH_EXIT, WATCH_STOP };

/*
 * EXIT_OK, or the exit code after a message. Exactly one of pid and command. screen: the terminal
 * is not for the command. source: as in watch_use.
 */
int watch_open(struct watch *w, pid_t pid, const char *command, bool screen,
	       const struct source *source, const void *options);
/* The same with the counters alone: no BPF, and no complaint that there is none. */
int watch_open_alone(struct watch *w, pid_t pid, const char *command, const struct source *source,
		     const void *options);
void watch_close(struct watch *w);

/* Ends the source there is and begins with another, or with NULL none. False: see err. */
bool watch_use(struct watch *w, const struct source *source, const void *options, char *err,
	       size_t errlen);
/* The model of what lies between two samples, with what the source has; then the source's mark. */
void watch_model(struct watch *w, struct model *m, const struct sample *from,
		 const struct sample *to);
void watch_mark(struct watch *w); /* an interval begins with the last sample */

/* Waits `seconds` (negative: for ever), or until the target ends or a signal says stop. */
enum watch_event watch_wait(struct watch *w, double seconds);
/* 0 or a negative errno; -EAGAIN while a command of ours has not reached the allocator. */
int watch_sample(struct watch *w, struct sample *s);
/* After WATCH_EXIT: lets a command of ours finish; its exit status for people. */
void watch_finish(struct watch *w, char *text, size_t len);
/* EXIT_OK, or after a message EXIT_NO_HAKMEM: a command that never had a counter to show. */
int watch_end_code(const struct watch *w);

#endif
