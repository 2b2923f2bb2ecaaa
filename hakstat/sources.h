/* Several sources as one: of more than one view, or of one that needs them. */
#ifndef HAKSTAT_SOURCES_H
#define HAKSTAT_SOURCES_H

#include "source.h"

#define SOURCES_MAX 8

struct source_list {
	const struct source *of[SOURCES_MAX]; /* each once */
	const void *options[SOURCES_MAX];
	int n;
};

/* NULL and those that are in it are left out. Without options, as in top. */
void source_list_add(struct source_list *l, const struct source *s);

/* Its options: a struct source_list. */
extern const struct source source_several;

#endif
