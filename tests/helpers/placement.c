/* Where in their pages 300 blocks lie, one after the other. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	void *volatile p[300];

	for (int i = 0; i < 300; i++)
		p[i] = malloc(100);
	for (int i = 0; i < 300; i++)
		printf("%zu\n", (size_t)((uintptr_t)p[i] % 65536));
	return 0;
}
