/* something wrote behind the end of the block */
/* A copy runs over the whole of what lies behind, into the next block. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
	char *volatile p = malloc(1000);

	/* not the last of its page, behind which is a guard */
	while ((uintptr_t)p % 65536 > 32768)
		p = malloc(1000);

	dprintf(1, "%p\n", (void *)p);
	memset(p, 0x41, 1100);
	free(p);
	return 0;
}
