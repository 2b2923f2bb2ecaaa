/* pointer is not the start of a block */
/* A pointer into a block that is a run of slices, above the largest class. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char *volatile p = malloc(1000000);
	void *volatile inside = p + 131072;

	dprintf(1, "%p\n", inside);
	free(inside);
	return 0;
}
