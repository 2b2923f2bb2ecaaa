/* SIGSEGV */
/* Another lies before it. */
#include <stdlib.h>

int main(void)
{
	volatile char *volatile p = malloc(1000000);

	p[-4096] = 1;
	_Exit(0);
}
