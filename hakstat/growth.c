#include "growth.h"

#define EPSILON 1e-3 /* seconds: looks come a little late, never early */

static unsigned at(const struct growth *g, unsigned i)
{
	return (g->first + i) % GROWTH_POINTS;
}

/* Points a window's 400th apart are enough; the newest is always the last. */
void growth_add(struct growth *g, double t, double v)
{
	double apart = g->window / 400;

	if (g->n >= 2 && t - g->t[at(g, g->n - 2)] < apart)
		g->n--;
	if (g->n == GROWTH_POINTS) {
		g->first = at(g, 1);
		g->n--;
	}
	g->t[at(g, g->n)] = t;
	g->v[at(g, g->n)] = v;
	g->n++;
	while (g->n > 2 && t - g->t[at(g, 1)] >= g->window - EPSILON) {
		g->first = at(g, 1);
		g->n--;
	}
}

bool growth_rate(const struct growth *g, double *per_second)
{
	unsigned last = at(g, g->n - 1), first = at(g, 0);
	double seconds;

	if (g->n < 2)
		return false;
	seconds = g->t[last] - g->t[first];
	if (seconds <= 0 || seconds < g->window - EPSILON)
		return false;
	*per_second = (g->v[last] - g->v[first]) / seconds;
	return true;
}

void growth_clear(struct growth *g)
{
	g->n = 0;
}
