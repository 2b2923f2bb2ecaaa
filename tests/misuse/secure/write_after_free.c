/* something wrote to the block after it was freed */
/* Found when the block is handed out again. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char *volatile p = malloc(100);

	dprintf(1, "%p\n", (void *)p);
	free(p);
	p[10] = 1;
	for (int i = 0; i < 200000; i++)
		free(malloc(100));
	return 0;
}
