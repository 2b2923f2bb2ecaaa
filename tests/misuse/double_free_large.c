/* double free */
/* A block above the largest class is freed again: its page is unused by then, or kept. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	void *volatile p = malloc(300000);

	dprintf(1, "%p\n", p);
	free(p);
	free(p);
	return 0;
}
