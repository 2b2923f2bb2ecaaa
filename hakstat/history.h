/* The last values of a number, and how they look in a line. */
#ifndef HAKSTAT_HISTORY_H
#define HAKSTAT_HISTORY_H

#include <stdbool.h>
#include <stddef.h>

#define SERIES_MAX 120

struct series {
	double v[SERIES_MAX]; /* a ring; negative: not known */
	unsigned n;	      /* values ever added */
};

void series_add(struct series *s, double v);
/* Lowest and highest value that is known; false: none is. */
bool series_range(const struct series *s, double *low, double *high);
/*
 * The newest `width` values as one character each, as high as they are between the lowest and the
 * highest; blanks before them where there are fewer. utf8: three bytes a character.
 */
void series_line(const struct series *s, int width, bool utf8, char *out, size_t len);

/* A series for each of many names. Begin with {0}. */
#define HISTORY_SLOTS 4096
struct history {
	struct track *slot; /* HISTORY_SLOTS, or NULL */
	unsigned used;
};
void history_add(struct history *h, const char *name, double v);
const struct series *history_get(const struct history *h, const char *name); /* or NULL */
void history_clear(struct history *h);

#endif
