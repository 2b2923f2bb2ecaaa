/* SIGSEGV */
/* The smallest that ends at a guard, and is a class of its own without HAKMEM_SECURE. */
#include <stdlib.h>

int main(void)
{
	volatile char *volatile p = malloc(65536);

	p[65536] = 1;
	_Exit(0);
}
