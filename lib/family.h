/*
 * The malloc family as <malloc.h> of glibc 2.33 and later has it, for C libraries that do not: the
 * names exported are the same everywhere.
 */
#ifndef HAK_FAMILY_H
#define HAK_FAMILY_H

#include <features.h>
#include <malloc.h>
#include <stdio.h>

#ifdef __GLIBC__
#define HAK_HAS_MALLINFO2 __GLIBC_PREREQ(2, 33)
#else
#define HAK_HAS_MALLINFO2 0

#define M_MXFAST 1
#define M_TRIM_THRESHOLD (-1)
#define M_TOP_PAD (-2)
#define M_MMAP_THRESHOLD (-3)
#define M_MMAP_MAX (-4)
#define M_CHECK_ACTION (-5)
#define M_PERTURB (-6)
#define M_ARENA_TEST (-7)
#define M_ARENA_MAX (-8)

struct mallinfo {
	int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

void *pvalloc(size_t bytes);
int malloc_trim(size_t pad);
int mallopt(int parameter, int value);
struct mallinfo mallinfo(void);
void malloc_stats(void);
int malloc_info(int options, FILE *out);
#endif

#if !HAK_HAS_MALLINFO2
struct mallinfo2 {
	size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks,
		keepcost;
};

struct mallinfo2 mallinfo2(void);
#endif

#endif
