/* double free */
/* A block that is a run of slices, above the largest class, is freed again. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	void *volatile p = malloc(1000000);

	dprintf(1, "%p\n", p);
	free(p);
	free(p);
	return 0;
}
