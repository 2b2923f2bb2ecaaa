/* double free */
/* Other blocks are freed between the two frees; the cache sees it when it flushes. */
#include <stdio.h>
#include <stdlib.h>

#define N 20000

static void *p[N];

int main(void)
{
	for (int i = 0; i < N; i++)
		p[i] = malloc(100);
	dprintf(1, "%p\n", p[0]);
	free(p[0]);
	for (int i = 1; i < 10; i++)
		free(p[i]);
	free(p[0]);
	for (int i = 10; i < N; i++)
		free(p[i]);
	return 0;
}
