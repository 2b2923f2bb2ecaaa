/* pointer was not allocated here */
/* Memory the program got from mmap. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(void)
{
	void *volatile p =
		mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	dprintf(1, "%p\n", p);
	free(p);
	return 0;
}
