/* hakstat top of a recording. */
#ifndef HAKSTAT_TOP_REPLAY_H
#define HAKSTAT_TOP_REPLAY_H

#include "report.h"

struct top_replay {
	const char *file, *at; /* at: a time, or NULL */
	double seconds;	       /* of a frame while it plays; 0: as it was recorded */
	long frames;	       /* in plain text, at most; 0: all */
	int view;	       /* the first one shown */
	const struct report_options
		*report; /* how, without a screen; of a screen, sorted by what */
};

/* An exit code. screen: it is open, and closed at the end. */
int top_replay(const struct top_replay *o, bool screen);

/* A frame in the format asked for; a word about it, on stderr where a script reads. (cmd_top.c) */
void top_print(const struct model *m, const struct report_options *o, const char *title);
void top_say(const struct report_options *o, const char *text);

#endif
