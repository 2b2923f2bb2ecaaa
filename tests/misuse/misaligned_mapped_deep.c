/* pointer was not allocated here */
/* secure: pointer is not the start of a block */
/* Far inside a block with a mapping of its own, whose first 64 KiB only are known as such. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char *volatile p = malloc(50 << 20);
	void *volatile inside = p + (10 << 20);

	dprintf(1, "%p\n", inside);
	free(inside);
	return 0;
}
