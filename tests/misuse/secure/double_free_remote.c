/* double free */
/* At once, though another thread has freed it and lives, and has not sent it home. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static pthread_barrier_t step;

static void *release(void *p)
{
	free(p);
	pthread_barrier_wait(&step);
	pthread_barrier_wait(&step);
	return NULL;
}

int main(void)
{
	void *volatile p = malloc(100);
	pthread_t t;

	dprintf(1, "%p\n", p);
	pthread_barrier_init(&step, NULL, 2);
	pthread_create(&t, NULL, release, p);
	pthread_barrier_wait(&step);
	free(p);
	_Exit(0);
}
