/* double free */
/* A block is freed again at once. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	void *volatile p = malloc(100);

	dprintf(1, "%p\n", p);
	free(p);
	free(p);
	return 0;
}
