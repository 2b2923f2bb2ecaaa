/* something wrote behind the end of the block */
/* It is seen when the block is about to grow, too. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char *volatile p = malloc(100);

	dprintf(1, "%p\n", (void *)p);
	p[100] ^= 1;
	p = realloc(p, 200);
	free(p);
	return 0;
}
