/* What recordings have beside the samples: all sources that can be left on, as one. */
#ifndef HAKSTAT_RECORDED_H
#define HAKSTAT_RECORDED_H

#include "columns.h"
#include "source.h"

extern const struct source source_recorded; /* no options */

/* NULL, or why a recording cannot show a view. */
const char *recorded_without(const struct view *v);

#endif
