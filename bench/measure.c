/*
 * Runs a command and tells what it cost, as lines "name value" in a file: real and CPU seconds,
 * page faults served without input (minor), with input (major), peak resident KiB.
 *
 * usage: measure FILE PRELOAD COMMAND [ARGUMENT...]
 * PRELOAD: a library for LD_PRELOAD of the command, or "" for none. The exit status is that of
 * the command; 128 + signal when it was killed.
 */
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "bench.h"

extern char **environ;

static double in_seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static int write_report(const char *path, double wall, const struct rusage *u)
{
	FILE *f = fopen(path, "w");

	if (!f) {
		perror(path);
		return 1;
	}
	fprintf(f,
		"wall_s %.6f\ncpu_s %.6f\nminor_faults %ld\nmajor_faults %ld\npeak_rss_kib %ld\n",
		wall, in_seconds(u->ru_utime) + in_seconds(u->ru_stime), u->ru_minflt, u->ru_majflt,
		u->ru_maxrss);
	return fclose(f) != 0;
}

int main(int argc, char **argv)
{
	struct rusage use;
	double start, wall;
	int status, error;
	pid_t pid;

	if (argc < 4) {
		fprintf(stderr, "usage: measure FILE PRELOAD COMMAND [ARGUMENT...]\n");
		return 2;
	}
	if (argv[2][0])
		setenv("LD_PRELOAD", argv[2], 1);
	else
		unsetenv("LD_PRELOAD");
	start = bench_now();
	error = posix_spawnp(&pid, argv[3], NULL, NULL, argv + 3, environ);
	if (error) {
		fprintf(stderr, "measure: %s: %s\n", argv[3], strerror(error));
		return 127;
	}
	if (wait4(pid, &status, 0, &use) < 0) {
		perror("measure: wait4");
		return 1;
	}
	wall = bench_now() - start;
	if (write_report(argv[1], wall, &use))
		return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
