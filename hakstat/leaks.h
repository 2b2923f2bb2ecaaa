/*
 * Which stacks only accumulate. What is asserted of a stack, and with which confidence, is defined
 * here; docs/OBSERVE.md says it in words.
 *
 * Blocks are looked at from the age of one interval on, so that what is freed soon says nothing
 * about what stays. Of those, `frees` were freed in all the time they were watched beyond that age
 * (`exposed`). If they lived no longer in the mean than we watch, the frees would be Poisson
 * distributed with a mean of at least exposed / watched; the chance of so few is
 *
 *   p = sum over k <= frees of exp(-m) m^k / k!,   m = exposed / watched
 *
 * and since every stack is asked, confidence = 1 - p * stacks (Bonferroni). A stack is named if
 * that is 0.99 at least and none of these speaks against it:
 *   stopped    less than a tenth of what is left was allocated in the last third of the time: it
 *              was filled and is kept
 *   turnover   the size class, whose bytes are known exactly, does not grow by half of what the
 *              stack seems to grow: as much is freed of what was there before we looked
 *   few        less than LEAK_LEAST samples
 */
#ifndef HAKSTAT_LEAKS_H
#define HAKSTAT_LEAKS_H

#include "heap.h"

#define LEAK_LEAST 8U
#define LEAK_CONFIDENCE 0.99
#define LEAK_AGES 12 /* of a histogram: below 1 s, 2 s, 4 s and so on */

#define LEAK_VERDICTS(X)                                              \
	X(LEAK, "leak")		/* only accumulates */                \
	X(FREED, "freed")	/* old blocks are freed, too */       \
	X(STOPPED, "stopped")	/* was filled, and grows no more */   \
	X(TURNOVER, "turnover") /* the class does not grow as much */ \
	X(FEW, "few")		/* too few samples to say anything */
#define LEAK_VERDICT_(id, text) LEAK_VERDICT_##id,
enum leak_verdict { LEAK_VERDICTS(LEAK_VERDICT_) LEAK_VERDICT_COUNT };
extern const char *const leak_verdict_names[];

struct leak {
	enum leak_verdict verdict;
	double confidence;   /* 0 to 1 */
	double grown, error; /* bytes allocated since we watch and still there; standard error */
	unsigned survivors;  /* samples of those */
	unsigned late;	     /* of the survivors, allocated in the last third */
	unsigned age[LEAK_AGES];
	uint32_t class;	    /* the one most of the growth is in */
	double class_grown; /* bytes, exact; its trend over the whole time */
};

struct leaks;

struct leaks *leaks_new(void);
void leaks_free(struct leaks *l); /* NULL is fine */
/* One look at the exact counts. */
void leaks_point(struct leaks *l, uint64_t t_ns, const struct class_live *live, unsigned classes);
/* Fills `leak` of every row. False: no memory. */
bool leaks_judge(struct leaks *l, struct heap_collector *c);
/* Steps of the timeline that have begun. */
unsigned leak_steps(const struct heap_profile *h);
/* The chance that a Poisson distributed number with this mean is no higher than n. */
double poisson_cdf(uint64_t n, double mean);

#endif
