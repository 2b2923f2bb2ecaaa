/* What `hakstat heap' and `hakstat leaks' print alike. (cmd_heap.c) */
#ifndef HAKSTAT_HEAP_PRINT_H
#define HAKSTAT_HEAP_PRINT_H

#include "report.h"

/* The table of o->view, with the notes. more: see stack_print.h. */
void heap_print_table(FILE *out, const struct model *m, const struct report_options *o,
		      void (*more)(FILE *out, const struct model *m, int row, int width));

#endif
