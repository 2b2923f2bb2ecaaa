/* How fast a number grows over a window of time, from values that come at any pace. */
#ifndef HAKSTAT_GROWTH_H
#define HAKSTAT_GROWTH_H

#include <stdbool.h>

#define GROWTH_POINTS 512

struct growth {
	double window; /* seconds; 0: from each value to the next */
	double t[GROWTH_POINTS], v[GROWTH_POINTS];
	unsigned first, n; /* a ring */
};

void growth_add(struct growth *g, double t, double v);
/* From the last value that is at least a window old to the newest; false: there is none. */
bool growth_rate(const struct growth *g, double *per_second);
void growth_clear(struct growth *g);

#endif
