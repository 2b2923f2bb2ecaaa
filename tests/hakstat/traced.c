/*
 * traced "" OUT: fires probes whose arguments it knows. At each line on stdin:
 *   first   thread "tracer": 20 requests too large for anything, each with a size of its own, and
 *           between them blocks that take a mapping; each is written to OUT as hakstat trace
 *           should show it, without the time
 *   second  3000 requests too large
 * OUT.pid tells its pid, OUT is there after the first step.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STEPS 20
#define BURST 3000

static char text[STEPS * 300];
static size_t used;

static void *trace(void *arg)
{
	int tid = (int)syscall(SYS_gettid);

	pthread_setname_np(pthread_self(), "tracer");
	for (size_t i = 0; i < STEPS; i++) {
		volatile size_t n = (size_t)PTRDIFF_MAX + 1 + i, m = (40UL << 20) + i * 4096;
		void *p = malloc(n), *volatile kept = malloc(m);

		if (p)
			abort();
		used += (size_t)sprintf(
			text + used,
			"[%d tracer] oom(bytes=%zuB, reason=size above PTRDIFF_MAX)\n"
			"[%d tracer] mmap_fallback(bytes=%zuB, alignment=0B, "
			"reason=too large, addr=%p)\n",
			tid, n, tid, m, kept);
	}
	return arg;
}

static void write_file(const char *path, const char *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, data, n) != (ssize_t)n)
		_exit(1);
	close(fd);
}

static int line(void)
{
	char c;

	return read(STDIN_FILENO, &c, 1) == 1;
}

int main(int argc, char **argv)
{
	char path[4096], pid[16];
	pthread_t t;

	if (argc < 3)
		return 2;
	free(malloc(1));
	snprintf(path, sizeof(path), "%s.pid", argv[2]);
	write_file(path, pid, (size_t)snprintf(pid, sizeof(pid), "%d\n", getpid()));
	if (!line())
		return 0;
	pthread_create(&t, NULL, trace, NULL);
	pthread_join(t, NULL);
	write_file(argv[2], text, used);
	if (!line())
		return 0;
	for (size_t i = 0; i < BURST; i++) {
		volatile size_t n = (size_t)PTRDIFF_MAX + 1 + i;

		if (malloc(n))
			abort();
	}
	line();
	return 0;
}
