/* block is not allocated */
/* realloc of a freed block that was a run of slices. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	void *volatile p = malloc(1000000);

	dprintf(1, "%p\n", p);
	free(p);
	free(realloc(p, 900000));
	return 0;
}
