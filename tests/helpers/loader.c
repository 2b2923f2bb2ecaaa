/*
 * loader PLUGIN: threads load the library, work in it, unload it, over and over; then everything
 * that was allocated is freed again, and the heap is whole.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define LOOPS 100
#define THREADS 3

static const char *path;
static int failures;

static void fail(const char *what)
{
	printf("%s\n", what);
	__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);
}

static void *load_and_unload(void *arg)
{
	for (int i = 0; i < LOOPS; i++) {
		void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		int (*work)(int) = lib ? (int (*)(int))dlsym(lib, "plugin_work") : NULL;

		if (!work || work(20) != 0) {
			fail("the plugin does not work");
			return arg;
		}
		dlclose(lib);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned (*check)(void) = (unsigned (*)(void))dlsym(RTLD_DEFAULT, "hak_check");
	int (*out_of_memory)(size_t);
	pthread_t t[THREADS];
	void *lib;

	path = argc > 1 ? argv[1] : "";
	load_and_unload(NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, load_and_unload, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	lib = dlopen(path, RTLD_NOW);
	out_of_memory = lib ? (int (*)(size_t))dlsym(lib, "plugin_out_of_memory") : NULL;
	if (!out_of_memory || !out_of_memory(SIZE_MAX / 2 + 1))
		fail("out of memory in operator new");
	if (check && check() != 0)
		fail("the heap is not whole");
	printf("%s\n", check ? "hakmem" : "libc");
	return failures != 0;
}
