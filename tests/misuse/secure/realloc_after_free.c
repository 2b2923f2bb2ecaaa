/* block is not allocated */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	void *volatile p = malloc(100);

	dprintf(1, "%p\n", p);
	free(p);
	p = realloc(p, 200);
	_Exit(0);
}
