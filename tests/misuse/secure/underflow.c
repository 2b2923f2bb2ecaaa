/* something wrote behind the end of the block */
/* A write before the start of a block hits the end of the one before, which is told when freed. */
#include <stdio.h>
#include <stdlib.h>

#define N 2000

static char *volatile block[N];

/* The live block right behind p, NULL if there is none. */
static char *behind(const char *p)
{
	for (int i = 0; i < N; i++)
		if (block[i] == p + 112)
			return block[i];
	return NULL;
}

int main(void)
{
	int i = 0;

	for (int k = 0; k < N; k++)
		block[k] = malloc(100);
	while (!behind(block[i]))
		i++;
	dprintf(1, "%p\n", (void *)block[i]);
	behind(block[i])[-1] ^= 1;
	free(block[i]);
	_Exit(0);
}
