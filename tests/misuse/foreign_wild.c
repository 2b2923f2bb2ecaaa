/* pointer was not allocated here */
/* A number that is no address at all. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	void *volatile p = (void *)(uintptr_t)0xdeadbeefdeadbee0;

	dprintf(1, "%p\n", p);
	free(p);
	return 0;
}
