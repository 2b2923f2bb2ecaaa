/*
 * What a target may be made to pay. A probe that fires costs its thread most of a microsecond,
 * whatever is done with it: where one fires too often it is taken off, put back now and then, and
 * stays once it fires less.
 */
#ifndef HAKSTAT_BUDGET_H
#define HAKSTAT_BUDGET_H

#include "sums.h"

#include <stdbool.h>
#include <stdint.h>

#define BUDGET_DEFAULT 10000
/* Of the option --budget. */
#define BUDGET_TEXT_(n) #n
#define BUDGET_TEXT(n) BUDGET_TEXT_(n)
#define BUDGET_HELP                                                                        \
	"a probe that fires more often, a second in one thread, is taken off for a while " \
	"(default " BUDGET_TEXT(BUDGET_DEFAULT) "; 0: never)"

/* Events a second of one probe in one thread; 0: any number. For all budgets of this process. */
void budget_set(uint32_t events);
uint32_t budget_get(void);
/* The same from what the option was given; false: not a number of events. */
bool budget_parse(const char *text);

struct budget;

struct budget *budget_open(int probes); /* of so many, 64 at most; NULL: no memory */
void budget_close(struct budget *b);

/* Is it time to judge (now: in seconds)? Ten times a second is enough. */
bool budget_due(struct budget *b, double now);
/* What each probe has counted by now, in so many threads (0: unknown): true if budget_off is
 * another since. */
bool budget_judge(struct budget *b, const struct probe_events *events, int threads, double now);
/* The probes that are to be off, a bit each. */
uint64_t budget_off(const struct budget *b);
/* How long each has been so far, in seconds. */
void budget_time_off(const struct budget *b, double now, double *off_s);

#endif
