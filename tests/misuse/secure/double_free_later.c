/* double free */
/* At once, whatever was freed in between, without a flush. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	void *volatile p = malloc(100), *volatile q[10];

	for (int i = 0; i < 10; i++)
		q[i] = malloc(100);
	dprintf(1, "%p\n", p);
	free(p);
	for (int i = 0; i < 10; i++)
		free(q[i]);
	free(p);
	_Exit(0);
}
