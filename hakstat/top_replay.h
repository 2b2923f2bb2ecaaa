/* hakstat top of a recording. */
#ifndef HAKSTAT_TOP_REPLAY_H
#define HAKSTAT_TOP_REPLAY_H

#include "columns.h"

struct top_replay {
	const char *file, *at; /* at: a time, or NULL */
	double seconds;	       /* of a frame while it plays; 0: as it was recorded */
	long frames;	       /* in plain text, at most; 0: all */
	int view;	       /* the first one shown */
};

/* An exit code. screen: it is open, and closed at the end. */
int top_replay(const struct top_replay *o, bool screen);

/* A frame as plain text. (cmd_top.c) */
void top_print(const struct model *m, const struct view *v, const char *title);

#endif
