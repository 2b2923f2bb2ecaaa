/* double free */
/* A block with a mapping of its own, which stays in the reuse cache, is freed again. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	void *volatile p = malloc(50 << 20);

	dprintf(1, "%p\n", p);
	free(p);
	free(p);
	return 0;
}
