/* hakstat heap --diff A B: what changed between two profiles. */
#ifndef HAKSTAT_HEAP_DIFF_H
#define HAKSTAT_HEAP_DIFF_H

#include <stdbool.h>

/* The command with its arguments; its exit code. */
int heap_diff(int argc, char **argv);
/* Bytes as 4096, 64K, 1M; false: not a power of two that the sampler takes. (cmd_heap.c) */
bool heap_parse_mean(const char *text, unsigned *log2);

#endif
