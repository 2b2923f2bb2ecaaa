/* A sample as sections of a frame, and back. */
#ifndef HAKSTAT_SAMPLE_INSTANT_H
#define HAKSTAT_SAMPLE_INSTANT_H

#include "collect.h"
#include "instant.h"

bool sample_save(const struct sample *s, struct instant *f); /* false: no memory */
/* False: there is none in it, or not one that can be. What a frame does not have is 0. */
bool sample_load(struct sample *s, const struct instant *f);

#endif
