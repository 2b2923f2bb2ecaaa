/*
 * steps: does what lines on stdin say and answers each with "done" on stdout, so that a test knows
 * the truth at every moment. Nothing else in the process allocates.
 *
 *   hold N     holds N blocks of 40000 bytes, no more and no less
 *   leak       a block of 40000 bytes more every 10 ms, as many as time has passed, until the next
 * line pairs N    N times malloc and free of 100 bytes misses N   N blocks of 100 bytes, then frees
 * them all name TEXT  the name of the process quit       ends
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define BYTES 40000
#define MOST 100000

static void *block[MOST];
static int held;

static void hold(int n)
{
	while (held < n && held < MOST) {
		block[held] = malloc(BYTES);
		memset(block[held++], 1, 64);
	}
	while (held > n)
		free(block[--held]);
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void leak(void)
{
	struct pollfd p = {STDIN_FILENO, POLLIN, 0};
	long begin = now_ms();
	int first = held;

	while (poll(&p, 1, 10) == 0)
		hold(first + (int)((now_ms() - begin) / 10));
}

static void misses(int n)
{
	static void *small[MOST];

	for (int i = 0; i < n && i < MOST; i++)
		small[i] = malloc(100);
	for (int i = 0; i < n && i < MOST; i++)
		free(small[i]);
}

static void step(const char *line)
{
	int n = 0;

	if (sscanf(line, "hold %d", &n) == 1)
		hold(n);
	else if (sscanf(line, "pairs %d", &n) == 1)
		for (int i = 0; i < n; i++)
			free(malloc(100));
	else if (sscanf(line, "misses %d", &n) == 1)
		misses(n);
	else if (!strncmp(line, "name ", 5))
		prctl(PR_SET_NAME, line + 5);
	else if (!strcmp(line, "quit"))
		_exit(0);
	if (write(STDOUT_FILENO, "done\n", 5) != 5)
		_exit(1);
	if (!strcmp(line, "leak"))
		leak();
}

int main(void)
{
	char line[256];
	size_t n = 0;

	while (n + 1 < sizeof(line) && read(STDIN_FILENO, line + n, 1) == 1)
		if (line[n++] == '\n') {
			line[n - 1] = '\0';
			step(line);
			n = 0;
		}
	return 0;
}
