/*
 * One library in another's place: calls what the files named after the first export, one after the
 * other, each closed before the next. Says when it has called one, and goes on at a byte.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char c;

	puts("ready");
	fflush(stdout);
	for (int i = 1; i < argc && read(STDIN_FILENO, &c, 1) == 1; i++) {
		void *handle = dlopen(argv[i], RTLD_NOW);
		void (*plug)(void) = handle ? (void (*)(void))dlsym(handle, "plug") : NULL;

		if (!plug)
			abort();
		printf("%p\n", (void *)plug);
		fflush(stdout);
		if (read(STDIN_FILENO, &c, 1) != 1)
			break;
		plug();
		puts("called");
		fflush(stdout);
		if (read(STDIN_FILENO, &c, 1) != 1)
			break;
		dlclose(handle);
	}
	while (read(STDIN_FILENO, &c, 1) == 1)
		;
	return 0;
}
