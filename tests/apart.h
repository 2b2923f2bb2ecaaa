/* Cases that run in a process of their own, since they are about memory never used before. */
#ifndef TESTS_APART_H
#define TESTS_APART_H

#include "test.h"

#include <sys/wait.h>

static void (*apart)(void);

static void run_apart(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		apart();
		_exit(test_bad != 0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

#define RUN_APART(fn) (apart = (fn), test_run(#fn, run_apart))

#endif
