/*
 * The screen. Keys change the state and say what has to be done; drawing only reads it, but for
 * how far there is to scroll.
 */
#ifndef HAKSTAT_TUI_H
#define HAKSTAT_TUI_H

#include "history.h"
#include "views.h"

enum action {
	ACTION_NONE = 0,
	ACTION_REDRAW = 1,
	ACTION_QUIT = 2,
	ACTION_INTERVAL = 4, /* the interval changed */
	ACTION_VIEW = 8,     /* another view: its source is to be used */
	ACTION_EXPLAIN = 16, /* the stacks of a row are wanted, if there are any: screen_explain */
	ACTION_PROCESS = 32, /* of a host: into the process under the cursor */
	ACTION_HOST = 64,    /* and back */
	ACTION_MOVE = 128,   /* to another time of a recording */
	ACTION_ACT = 256,    /* the view is to do something with the row */
};

#define SCREEN_FAR (1L << 40) /* intervals: to the begin or the end */

struct screen {
	int view;
	int sort[VIEWS];
	bool reverse[VIEWS];
	bool paused, help, typing, graph;
	bool left;	       /* back to it was what ended the last frames */
	bool inside;	       /* one process of a host, which Esc leads back to */
	int scroll, most;      /* most: as far as there is to scroll, known once drawn */
	int page;	       /* lines of the table or of help, likewise */
	int cursor;	       /* the row that Enter is for, counted from the first */
	enum view_act act;     /* what it is to do */
	int acted;	       /* with which row */
	int explained, before; /* the row whose stacks are shown, and the view it is of */
	char filter[32];
	double interval;
	const struct source *filled; /* whose numbers are in the model */
	/* Of a recording: where to go from here, until who draws has done it. */
	bool replay;
	long move_intervals, move_seconds;
	char position[64];   /* for the last line */
	const char *missing; /* why there is nothing in this view, or NULL */
	struct row_list rows;
	struct series allocs, rss, hit; /* of the header */
	struct history history;		/* of the sort column, by row, while `graph` */
	char note[256];			/* what went wrong with the view, or empty */
	bool brief;			/* the note goes with the next key */
};

void screen_init(struct screen *s, double interval, int view); /* view: the first one shown */
void screen_free(struct screen *s);
/* False: nothing is known about this terminal ($TERM). */
bool screen_open(void);
void screen_close(void);
/* Handles the keys that are waiting; actions or-ed together. */
int screen_keys(struct screen *s);
/* In the last line, until the next key. */
void screen_say(struct screen *s, const char *text);
/* To the view of stacks. */
int screen_explain(struct screen *s);
/* One more interval has passed: for the histories. */
void screen_record(struct screen *s, const struct model *m);
/* m NULL: nothing measured yet. note: in the last line, or NULL or empty. */
void screen_draw(struct screen *s, const struct model *m, const char *who, const char *note);

#endif
