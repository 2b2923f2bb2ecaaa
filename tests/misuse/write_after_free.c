/* free list is corrupt: something wrote to a freed block */
/* The link of a freed block is overwritten with what is no block; the flush sees it. */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	void *volatile a = malloc(100);
	uintptr_t *volatile p = malloc(100);

	free(a);
	free(p);
	p[0] = 0x4141414141414140;
	dprintf(1, "%p\n", (void *)0x4141414141414140);
	malloc_trim(0);
	return 0;
}
