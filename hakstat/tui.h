/* The screen. Keys change the state and say what has to be done; drawing only reads it. */
#ifndef HAKSTAT_TUI_H
#define HAKSTAT_TUI_H

#include "columns.h"

enum action {
	ACTION_NONE = 0,
	ACTION_REDRAW = 1,
	ACTION_QUIT = 2,
	ACTION_INTERVAL = 4, /* the interval changed */
};

struct screen {
	int view;
	int sort[VIEWS];
	bool reverse[VIEWS];
	bool paused, help, typing;
	int scroll;
	char filter[32];
	double interval;
};

void screen_init(struct screen *s, double interval);
void screen_open(void);
void screen_close(void);
/* Handles the keys that are waiting; actions or-ed together. */
int screen_keys(struct screen *s);
/* m NULL: nothing measured yet. note: one more line, or NULL. */
void screen_draw(const struct screen *s, const struct model *m, const char *who, const char *note);

#endif
