/* What `hakstat heap' and `hakstat leaks' print alike. (cmd_heap.c) */
#ifndef HAKSTAT_HEAP_PRINT_H
#define HAKSTAT_HEAP_PRINT_H

#include "heap.h"
#include "report.h"

/* The table of o->view, with the notes. more: see stack_print.h. */
void heap_print_table(FILE *out, const struct model *m, const struct report_options *o,
		      void (*more)(FILE *out, const struct model *m, int row, int width));

/* What was there before: not among the rows, or by size class alone. (view_heap.c) */
void heap_note_before(const struct heap_profile *h, bool by_class, char *out, size_t len);
/* Why nothing can be sampled yet. */
void heap_note_unnoticed(const struct heap_profile *h, char *out, size_t len);

#endif
