/* SIGSEGV */
/* Writing on and on from a small block ends at its page's guard. */
#include <stdlib.h>

int main(void)
{
	volatile char *volatile p = malloc(100);

	for (size_t i = 0; i < 65536; i++)
		p[i] = 1;
	_Exit(0);
}
