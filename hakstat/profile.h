/*
 * Heap profiles as files in pprof's format (profile.proto, gzip), and in memory as stacks of names
 * with four numbers each: what flame graphs, trees and differences are made from.
 */
#ifndef HAKSTAT_PROFILE_H
#define HAKSTAT_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The sample types of a heap profile: X(IDENTIFIER, type, unit), in pprof's order. */
#define PROFILE_VALUES(X)                          \
	X(ALLOC_OBJECTS, "alloc_objects", "count") \
	X(ALLOC_SPACE, "alloc_space", "bytes")     \
	X(INUSE_OBJECTS, "inuse_objects", "count") \
	X(INUSE_SPACE, "inuse_space", "bytes")
#define PROFILE_VALUE_(id, type, unit) PROFILE_##id,
enum profile_value { PROFILE_VALUES(PROFILE_VALUE_) PROFILE_VALUE_COUNT };
extern const char *const profile_types[], *const profile_units[];

struct profile_stack {
	const char **frame; /* outermost first */
	unsigned n;
	double value[PROFILE_VALUE_COUNT];
};

struct profile {
	struct profile_stack *stack;
	size_t n, room;
	double seconds;
	char **text; /* the names, safe to print */
	size_t texts, texts_room;
};

struct heap_profile;

/* Begin with {0}. False: no memory; profile_free in any case. */
bool profile_of_heap(struct profile *p, const struct heap_profile *h);
/* 0, or a negative errno with the reason in err. Any file of pprof's that has some of the values.
 */
int profile_read(struct profile *p, const char *path, char *err, size_t errlen);
void profile_free(struct profile *p);
/* A stack with room for n frames, to be filled in from the outermost on; NULL: no memory. */
struct profile_stack *profile_add(struct profile *p, unsigned n);
/* The next frame: a copy of the name. False: no memory. */
bool profile_frame(struct profile *p, struct profile_stack *s, const char *name);
double profile_total(const struct profile *p, enum profile_value v);

/* "redis-server;main;sdsnew 4096", if it is not 0. */
void profile_print_folded(FILE *out, const char *first, const struct profile_stack *s,
			  enum profile_value v);

/* A report in pprof's format. False: no memory; errors of writing are out's. (pprof.c) */
bool pprof_write(FILE *out, const struct heap_profile *h);

#endif
