#include "history.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS 8
#define NAME_BYTES 64

struct track {
	char name[NAME_BYTES];
	struct series s;
};

static const char *const bars[2][LEVELS] = {
	{"_", ".", ":", "-", "=", "+", "*", "#"},
	{"\xe2\x96\x81", "\xe2\x96\x82", "\xe2\x96\x83", "\xe2\x96\x84", "\xe2\x96\x85",
	 "\xe2\x96\x86", "\xe2\x96\x87", "\xe2\x96\x88"},
};

void series_add(struct series *s, double v)
{
	s->v[s->n++ % SERIES_MAX] = v;
}

static unsigned kept(const struct series *s)
{
	return s->n < SERIES_MAX ? s->n : SERIES_MAX;
}

bool series_range(const struct series *s, double *low, double *high)
{
	bool any = false;

	for (unsigned i = 0; i < kept(s); i++) {
		double v = s->v[i];

		if (v < 0)
			continue;
		if (!any || v < *low)
			*low = v;
		if (!any || v > *high)
			*high = v;
		any = true;
	}
	return any;
}

/* What hardly moves is a flat line, not noise from top to bottom. */
static int level(double v, double low, double high)
{
	double range = high - low;

	if (range <= 0.02 * high)
		return high > 0 ? LEVELS / 2 : 0;
	return (int)((v - low) / range * (LEVELS - 1) + 0.5);
}

void series_line(const struct series *s, int width, bool utf8, char *out, size_t len)
{
	double low = 0, high = 0;
	size_t at = 0;

	series_range(s, &low, &high);
	out[0] = '\0';
	for (int back = width; back > 0 && at + 4 < len; back--) {
		const char *c = " ";

		if ((unsigned)back <= kept(s)) {
			double v = s->v[(s->n - (unsigned)back) % SERIES_MAX];

			c = v < 0 ? " " : bars[utf8][level(v, low, high)];
		}
		at += (size_t)snprintf(out + at, len - at, "%s", c);
	}
}

static uint32_t hash(const char *name)
{
	uint32_t h = 2166136261U; /* FNV-1a */

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619U;
	return h;
}

/* The slot of a name, or the free one where it belongs. There is always a free one. */
static struct track *find(const struct history *h, const char *name)
{
	uint32_t i = hash(name);

	while (h->slot[i % HISTORY_SLOTS].name[0] &&
	       strcmp(h->slot[i % HISTORY_SLOTS].name, name) != 0)
		i++;
	return &h->slot[i % HISTORY_SLOTS];
}

void history_add(struct history *h, const char *name, double v)
{
	char key[NAME_BYTES];
	struct track *t;

	snprintf(key, sizeof(key), "%s", name);
	if (!h->slot)
		h->slot = calloc(HISTORY_SLOTS, sizeof(*h->slot));
	if (!h->slot || !key[0])
		return;
	if (h->used > HISTORY_SLOTS / 2)
		history_clear(h);
	t = find(h, key);
	if (!t->name[0]) {
		memcpy(t->name, key, sizeof(key));
		h->used++;
	}
	series_add(&t->s, v);
}

const struct series *history_get(const struct history *h, const char *name)
{
	char key[NAME_BYTES];
	const struct track *t;

	snprintf(key, sizeof(key), "%s", name);
	t = h->slot && key[0] ? find(h, key) : NULL;
	return t && t->name[0] ? &t->s : NULL;
}

void history_clear(struct history *h)
{
	if (h->slot)
		memset(h->slot, 0, HISTORY_SLOTS * sizeof(*h->slot));
	h->used = 0;
}
