/* hakstat top -a: all processes of the host, and on the screen the way into each of them. */
#ifndef HAKSTAT_TOP_HOST_H
#define HAKSTAT_TOP_HOST_H

#include "report.h"
#include "tui.h"

struct host_options {
	double seconds; /* between frames */
	long frames;	/* 0: no end */
	enum report_format format;
	const char *sort_name;
	int sort;
	bool reverse;
};

/* An exit code. screen: on the terminal, with keys. */
int top_host(struct host_options *o, bool screen);

/*
 * The screen of one process, until it is left for the host (true), or ended for good. why: what
 * ended it otherwise, or empty. (cmd_top.c)
 */
bool top_process(struct screen *s, pid_t pid, struct model *m, char *why, size_t len);

#endif
