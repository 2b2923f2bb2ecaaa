/* pointer is not the start of a block */
/* A pointer into the middle of a small block; the cache sees it when it flushes. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char *volatile p = malloc(100);
	void *volatile inside = p + 16;

	dprintf(1, "%p\n", inside);
	free(inside);
	malloc_trim(0);
	return 0;
}
