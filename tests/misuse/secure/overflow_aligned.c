/* something wrote behind the end of the block */
/* A block with an alignment of its own. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char *volatile p = aligned_alloc(256, 300);

	dprintf(1, "%p\n", (void *)p);
	p[300] ^= 1;
	free(p);
	return 0;
}
