/* pointer was not allocated here */
/* The address of a static variable. */
#include <stdio.h>
#include <stdlib.h>

static char bytes[4096];

int main(void)
{
	void *volatile p = bytes;

	dprintf(1, "%p\n", p);
	free(p);
	return 0;
}
