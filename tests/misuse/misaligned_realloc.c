/* pointer is not the start of a block */
/* realloc of a pointer into a block. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char *volatile p = malloc(1000);
	void *volatile inside = p + 48;

	dprintf(1, "%p\n", inside);
	free(realloc(inside, 5000));
	return 0;
}
