/* pointer was not allocated here */
/* Memory the program got by moving its break. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
	void *volatile p = (char *)sbrk(65536) + 4096;

	dprintf(1, "%p\n", p);
	free(p);
	return 0;
}
