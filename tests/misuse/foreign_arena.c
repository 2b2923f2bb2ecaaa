/* pointer was not allocated here */
/* Into a part of the arena that was never handed out. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char *volatile p = malloc(100);
	void *volatile beside = p - (uintptr_t)p % 4194304 + 62 * 65536;

	dprintf(1, "%p\n", beside);
	free(beside);
	return 0;
}
