/* double free */
/* The first free has long reached its page when the second comes. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	void *volatile keep = malloc(100);
	void *volatile p = malloc(100);

	dprintf(1, "%p\n", p);
	free(p);
	malloc_trim(0);
	free(p);
	malloc_trim(0);
	free(keep);
	return 0;
}
