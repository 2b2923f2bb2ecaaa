/* pointer is not the start of a block */
/* The same, seen by the flush of a cache that overflows. */
#include <stdio.h>
#include <stdlib.h>

#define N 20000

static char *p[N];

int main(void)
{
	for (int i = 0; i < N; i++)
		p[i] = malloc(100);
	dprintf(1, "%p\n", (void *)(p[5] + 32));
	free((void *)((char *volatile)p[5] + 32));
	for (int i = 6; i < N; i++)
		free(p[i]);
	return 0;
}
