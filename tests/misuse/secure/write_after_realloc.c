/* something wrote to the block after it was freed */
/* By a pointer from before realloc, which always moves the block. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char *volatile p = malloc(100);
	char *volatile q = realloc(p, 101);

	dprintf(1, "%p\n", (void *)p);
	p[10] = 1;
	for (int i = 0; i < 200000; i++)
		free(malloc(100));
	free(q);
	return 0;
}
