/* something wrote behind the end of the block */
/* Written over from the block before: its neighbour is freed first, and tells. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	dprintf(1, "%p\n", (void *)behind(block[i]));
	memset(block[i], 0x41, 112 + 112);
	free(behind(block[i]));
	_Exit(0);
}
