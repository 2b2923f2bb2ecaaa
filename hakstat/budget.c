#include "budget.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define JUDGE_S 0.1
#define LOOK_S 0.5   /* a rate is taken over */
#define TRIAL_S 0.1  /* and of a probe that was off, at first */
#define OFF_MIN_S 1  /* taking one off stops us for up to 40 ms */
#define OFF_MAX_S 10 /* so that it is seen soon when the rate falls */

struct probe_pace {
	double since;	  /* when `before` was taken, or when it went off */
	double until;	  /* off until then; 0: it is on */
	double off_s;	  /* in all, up to when it was put back last */
	bool trial, seen; /* on for a trial; `since` and `before` are there */
	struct probe_events before;
};

struct budget {
	uint64_t off;
	double next_judged;
	int probes;
	struct probe_pace probe[];
};

static uint32_t limit = BUDGET_DEFAULT;

void budget_set(uint32_t events)
{
	limit = events;
}

uint32_t budget_get(void)
{
	return limit;
}

bool budget_parse(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (!*text || *end || n < 0 || n > INT_MAX)
		return false;
	budget_set((uint32_t)n);
	return true;
}

struct budget *budget_open(int probes)
{
	struct budget *b = calloc(1, sizeof(*b) + (size_t)probes * sizeof(struct probe_pace));

	if (b)
		b->probes = probes;
	return b;
}

void budget_close(struct budget *b)
{
	free(b);
}

/* Of the busiest thread since the last look; where threads do not live that long, of the mean one.
 */
static uint64_t most_events(struct probe_pace *p, const struct probe_events *now, int threads)
{
	uint64_t most = 0, sum = 0;

	for (int i = 0; i < EVENT_SLOTS; i++) {
		uint64_t n = now->of[i] - p->before.of[i];

		sum += n;
		if (n > most)
			most = n;
	}
	if (threads > 0 && sum / (unsigned)threads > most)
		return sum / (unsigned)threads;
	return most;
}

static void begin(struct probe_pace *p, const struct probe_events *events, double now, bool trial)
{
	p->before = *events;
	p->since = now;
	p->trial = trial;
	p->seen = true;
	p->until = 0;
}

/*
 * Off for so long that what trials cost is what the budget allows, or nearly: longer ones would
 * miss that the rate has fallen.
 */
static void take_off(struct probe_pace *p, double rate, double now)
{
	double s = TRIAL_S * rate / limit;

	p->since = now;
	p->until = now + (s < OFF_MIN_S ? OFF_MIN_S : s > OFF_MAX_S ? OFF_MAX_S : s);
}

static void judge_one(struct probe_pace *p, const struct probe_events *events, int threads,
		      double now)
{
	double s = now - p->since, rate;

	if (p->until > 0) {
		if (now < p->until)
			return;
		p->off_s += s;
		begin(p, events, now, true);
		return;
	}
	if (!p->seen) {
		begin(p, events, now, false);
		return;
	}
	if (s < (p->trial ? TRIAL_S : LOOK_S))
		return;
	rate = (double)most_events(p, events, threads) / s;
	if (rate > limit)
		take_off(p, rate, now);
	else
		begin(p, events, now, false);
}

bool budget_due(struct budget *b, double now)
{
	if (!limit || now < b->next_judged)
		return false;
	b->next_judged = now + JUDGE_S;
	return true;
}

bool budget_judge(struct budget *b, const struct probe_events *events, int threads, double now)
{
	uint64_t off = 0;
	bool changed;

	for (int i = 0; i < b->probes; i++) {
		judge_one(&b->probe[i], &events[i], threads, now);
		if (b->probe[i].until > 0)
			off |= (uint64_t)1 << i;
	}
	changed = off != b->off;
	b->off = off;
	return changed;
}

uint64_t budget_off(const struct budget *b)
{
	return b->off;
}

void budget_time_off(const struct budget *b, double now, double *off_s)
{
	for (int i = 0; i < b->probes; i++) {
		const struct probe_pace *p = &b->probe[i];

		off_s[i] = p->off_s + (p->until > 0 ? now - p->since : 0);
	}
}
