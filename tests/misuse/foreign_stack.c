/* pointer was not allocated here */
/* The address of a local variable. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char local[64];
	void *volatile p = local + 16;

	dprintf(1, "%p\n", p);
	free(p);
	return 0;
}
