/* block is not allocated */
/* realloc of a block that was freed and had a mapping of its own. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	void *volatile p = malloc(50 << 20);

	dprintf(1, "%p\n", p);
	free(p);
	free(realloc(p, 60 << 20));
	return 0;
}
