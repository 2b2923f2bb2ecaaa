/* double free */
/* Two threads that do not own a block both free it; the owner sees it. */
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
	for (int i = 0; i < 2; i++) {
		pthread_create(&t, NULL, free_it, p);
		pthread_join(t, NULL);
	}
	malloc_trim(0);
	free(keep);
	return 0;
}
