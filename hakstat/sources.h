/* Several sources as one, for who looks at more than one view at a time. */
#ifndef HAKSTAT_SOURCES_H
#define HAKSTAT_SOURCES_H

#include "source.h"

#define SOURCES_MAX 8

struct source_list {
	const struct source *of[SOURCES_MAX]; /* each once */
	int n;
};

/* NULL and those that are in it are left out. */
void source_list_add(struct source_list *l, const struct source *s);

/* Its options: a struct source_list. Theirs are NULL, as in top. */
extern const struct source source_several;

#endif
