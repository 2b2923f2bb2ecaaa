/* double free */
/* The owner frees the block and keeps it in its cache; then another thread frees it, and ends. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void *free_it(void *p)
{
	free(p);
	return NULL;
}

int main(void)
{
	void *volatile keep = malloc(100);
	void *volatile p = malloc(100);
	pthread_t t;

	dprintf(1, "%p\n", p);
	free(p);
	pthread_create(&t, NULL, free_it, p);
	pthread_join(t, NULL);
	malloc_trim(0);
	free(keep);
	return 0;
}
