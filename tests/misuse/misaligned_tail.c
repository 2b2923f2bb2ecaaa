/* pointer is not the start of a block */
/* Where the next block of a page would be, but the page ends before its end. */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char *volatile p = malloc(100);
	void *volatile tail = p - (uintptr_t)p % 65536 + 65536 / 112 * 112;

	dprintf(1, "%p\n", tail);
	free(tail);
	malloc_trim(0);
	return 0;
}
