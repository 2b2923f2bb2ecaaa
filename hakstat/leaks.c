#include "leaks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define POINTS_MAX 96U /* looks that are kept: when there are too many, every second */
#define LATE_SHARE 0.1
#define CLASS_SHARE 0.5
#define TESTED_LEAST 3U

#define TEXT_(id, text) text,
const char *const leak_verdict_names[] = {LEAK_VERDICTS(TEXT_)};

struct point {
	uint64_t t_ns;
	double bytes[HAK_CLASS_MAX];
};

struct leaks {
	struct point point[POINTS_MAX];
	unsigned points;
	uint64_t spacing_ns;
	struct leak *of; /* of each row */
};

struct leaks *leaks_new(void)
{
	return calloc(1, sizeof(struct leaks));
}

void leaks_free(struct leaks *l)
{
	if (!l)
		return;
	free(l->of);
	free(l);
}

static void thin_out(struct leaks *l)
{
	for (unsigned i = 0; i < POINTS_MAX / 2; i++)
		l->point[i] = l->point[2 * i];
	l->points = POINTS_MAX / 2;
	l->spacing_ns = (l->point[l->points - 1].t_ns - l->point[0].t_ns) / (l->points - 1);
}

void leaks_point(struct leaks *l, uint64_t t_ns, const struct class_live *live, unsigned classes)
{
	struct point *p;

	if (l->points && t_ns - l->point[l->points - 1].t_ns < l->spacing_ns)
		return;
	if (l->points == POINTS_MAX)
		thin_out(l);
	p = &l->point[l->points++];
	p->t_ns = t_ns;
	for (unsigned i = 0; i < classes; i++)
		p->bytes[i] = (double)live[i].bytes;
}

double poisson_cdf(uint64_t n, double mean)
{
	double sum = 0;

	if (mean <= 0)
		return 1;
	for (uint64_t k = 0; k <= n; k++)
		sum += exp((double)k * log(mean) - mean - lgamma((double)k + 1));
	return sum < 1 ? sum : 1;
}

/* --- the trend of a class --- */

static int ascending(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static double median(const struct leaks *l, unsigned from, unsigned n, uint32_t class)
{
	double v[POINTS_MAX];

	for (unsigned i = 0; i < n; i++)
		v[i] = l->point[from + i].bytes[class];
	qsort(v, n, sizeof(*v), ascending);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/*
 * What a class has grown by, from the medians of the first and of the last third: a moment's high
 * or low says nothing. Two thirds of the time lie between them. False: not watched long enough.
 */
static bool class_growth(const struct leaks *l, uint32_t class, double *bytes)
{
	unsigned third = l->points / 3;

	if (!third || class >= HAK_CLASS_MAX)
		return false;
	*bytes = (median(l, l->points - third, third, class) - median(l, 0, third, class)) * 1.5;
	return true;
}

/* --- what is left of each row --- */

static unsigned age_slot(double seconds)
{
	unsigned i = 0;

	while (i + 1 < LEAK_AGES && seconds >= (double)(1U << i))
		i++;
	return i;
}

struct times {
	uint64_t begin, now, late; /* late: from there on it is the last third */
};

static void add_survivor(struct leak *k, double *by_class, const struct block *b,
			 const struct times *t, uint32_t class)
{
	if (b->time_ns < t->begin)
		return; /* of the history */
	k->survivors++;
	k->late += b->time_ns >= t->late;
	k->grown += b->weight;
	k->error += b->weight * (b->weight - (double)b->size);
	k->age[age_slot((double)(t->now - b->time_ns) / 1e9)]++;
	by_class[class] += b->weight;
}

static void find_class(struct leak *k, const double *by_class)
{
	for (uint32_t i = 1; i < HAK_CLASS_MAX; i++)
		if (by_class[i] > by_class[k->class])
			k->class = i;
}

static bool add_survivors(struct leaks *l, struct heap_collector *c, const struct times *t)
{
	struct heap_profile *h = &c->result;
	double *by_class = calloc(((size_t)h->rows + 1) * HAK_CLASS_MAX, sizeof(*by_class));

	for (size_t i = 0; by_class && i < c->store.room; i++) {
		const struct block *b = &c->store.block[i];
		const struct cell_key *key = b->ptr ? &c->store.cell[b->cell].key : NULL;
		unsigned row = key ? c->raw[key->stack]->row : 0;

		if (key)
			add_survivor(&l->of[row], &by_class[(size_t)row * HAK_CLASS_MAX], b, t,
				     key->class);
	}
	for (unsigned i = 0; by_class && i < h->rows; i++) {
		find_class(&l->of[i], &by_class[(size_t)i * HAK_CLASS_MAX]);
		l->of[i].error = sqrt(l->of[i].error);
	}
	free(by_class);
	return by_class != NULL;
}

/* --- the verdict --- */

static enum leak_verdict judge(const struct leaks *l, struct leak *k)
{
	double surely = k->grown - 2 * k->error;
	bool known = class_growth(l, k->class, &k->class_grown);

	if (k->survivors < LEAK_LEAST)
		return LEAK_VERDICT_FEW;
	if (k->confidence < LEAK_CONFIDENCE)
		return LEAK_VERDICT_FREED;
	if (k->late < LATE_SHARE * k->survivors)
		return LEAK_VERDICT_STOPPED;
	if (!known)
		return LEAK_VERDICT_FEW;
	return k->class_grown < CLASS_SHARE * surely ? LEAK_VERDICT_TURNOVER : LEAK_VERDICT_LEAK;
}

bool leaks_judge(struct leaks *l, struct heap_collector *c)
{
	struct heap_profile *h = &c->result;
	double watched = h->seconds * 1e9;
	struct times t;
	unsigned tested = 0;

	t.begin = c->attached_ns;
	t.now = c->attached_ns + (uint64_t)watched;
	t.late = t.now - (uint64_t)(watched / 3);
	free(l->of);
	l->of = calloc((size_t)h->rows + 1, sizeof(*l->of));
	if (!l->of || !add_survivors(l, c, &t))
		return false;
	for (unsigned i = 0; i < h->rows; i++)
		tested += h->row[i].sum.old >= TESTED_LEAST;
	for (unsigned i = 0; i < h->rows; i++) {
		const struct heap_sums *s = &h->row[i].sum;
		struct leak *k = &l->of[i];
		double p = poisson_cdf(s->old_frees, s->old_ns / watched) * (tested ? tested : 1);

		k->confidence = p < 1 ? 1 - p : 0;
		k->verdict = judge(l, k);
		h->row[i].leak = k;
	}
	return true;
}

unsigned leak_steps(const struct heap_profile *h)
{
	double steps = h->seconds * 1e9 / (double)h->store->step_ns;

	return steps >= STEPS_MAX ? STEPS_MAX : (unsigned)steps + 1;
}
