/* pointer is not the start of a block */
/* The same, for realloc: it must not read what lies behind the page. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char *volatile p = malloc(100);
	void *volatile tail = p - (uintptr_t)p % 65536 + 65536 / 112 * 112;

	dprintf(1, "%p\n", tail);
	free(realloc(tail, 200));
	return 0;
}
