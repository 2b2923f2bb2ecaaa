/* pointer was not allocated here */
/* realloc of memory that is not a block. */
#include <stdio.h>
#include <stdlib.h>

static char bytes[4096];

int main(void)
{
	void *volatile p = bytes;

	dprintf(1, "%p\n", p);
	free(realloc(p, 100));
	return 0;
}
