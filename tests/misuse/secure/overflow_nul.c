/* something wrote behind the end of the block */
/* A string's final zero lands one byte behind the block. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char *volatile p = malloc(24);

	dprintf(1, "%p\n", (void *)p);
	p[24] = 0;
	free(p);
	return 0;
}
