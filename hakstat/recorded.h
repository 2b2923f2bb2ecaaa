/* What recordings have beside the samples: all sources that can be left on. */
#ifndef HAKSTAT_RECORDED_H
#define HAKSTAT_RECORDED_H

#include "columns.h"
#include "sources.h"

extern const struct source_list recorded_sources;

/* NULL, or why a recording cannot show a view. */
const char *recorded_without(const struct view *v);

#endif
