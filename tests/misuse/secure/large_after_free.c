/* SIGSEGV */
/* A freed large block cannot be touched. */
#include <stdlib.h>

int main(void)
{
	volatile char *volatile p = malloc(1000000);

	p[0] = 1;
	free((void *)p);
	p[0] = 1;
	_Exit(0);
}
