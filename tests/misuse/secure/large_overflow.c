/* SIGSEGV */
/* A large block ends where a guard begins. */
#include <stdlib.h>

int main(void)
{
	volatile char *volatile p = malloc(1000000);

	p[1000000] = 1;
	_Exit(0);
}
