/* pointer is not the start of a block */
/* A pointer into the first bytes of a block with a mapping of its own. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char *volatile p = malloc(50 << 20);
	void *volatile inside = p + 4096;

	dprintf(1, "%p\n", inside);
	free(inside);
	return 0;
}
