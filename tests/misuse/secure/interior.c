/* pointer is not the start of a block */
/* At once, not when the cache is emptied. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char *volatile p = malloc(100);

	dprintf(1, "%p\n", (void *)(p + 16));
	free(p + 16);
	_Exit(0);
}
