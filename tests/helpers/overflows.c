/* 10,000 blocks are written one byte too far, with a zero or a letter: each is found. */
#include <stdlib.h>

static void write_behind(size_t bytes, char what)
{
	char *volatile p = malloc(bytes);

	p[bytes] = what;
	free(p);
}

int main(void)
{
	for (size_t i = 0; i < 5000; i++) {
		write_behind(24, 0); /* right behind it is what tells */
		write_behind(30 + i % 60, 'A');
	}
	return 0;
}
