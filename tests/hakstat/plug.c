/* For plugs.c; NAME is the function that calls the allocator. Each file as long as the other. */
#include <stdlib.h>

#define KEEP_FRAME __asm__ volatile("" ::: "memory")

static void *volatile kept;

__attribute__((noinline)) void NAME(void);
__attribute__((noinline)) void NAME(void)
{
	kept = malloc((size_t)3 << 20);
	KEEP_FRAME;
}

void plug(void);
void plug(void)
{
	for (int i = 0; i < 3; i++)
		NAME();
	KEEP_FRAME;
}
