#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define AFTER_S 0.5
#define EVERY_S 0.1

static void to_stderr(const char *text)
{
	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r%s\033[K", text ? text : "");
	fflush(stderr);
}

static void (*show_text)(const char *text) = to_stderr;

void progress_to(void (*show)(const char *text))
{
	show_text = show ? show : to_stderr;
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double after_s(void)
{
	return getenv("HAKSTAT_PROGRESS") ? 0 : AFTER_S; /* for tests: at once */
}

void progress_begin(struct progress *p, const char *what, const char *unit)
{
	*p = (struct progress){.what = what, .unit = unit, .began = now_s()};
}

void progress_step(struct progress *p, size_t done, size_t of)
{
	double now = now_s();
	char text[128];

	if (now - p->began < after_s() || now - p->said < EVERY_S)
		return;
	p->said = now;
	if (of)
		snprintf(text, sizeof(text), "%s: %zu of %zu %s", p->what, done, of, p->unit);
	else
		snprintf(text, sizeof(text), "%s: %zu %s", p->what, done, p->unit);
	show_text(text);
}

void progress_end(const struct progress *p)
{
	if (p->said > 0)
		show_text(NULL);
}
