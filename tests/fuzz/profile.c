/*
 * A fuzz target for profiles that others wrote: read, made a tree and a flame graph. An input is
 * the file.
 */
#include "flame.h"
#include "profile.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *out;
	static int fd = -1;
	struct profile p = {0};
	char path[64], err[512];

	if (fd < 0) {
		fd = memfd_create("profile", MFD_CLOEXEC);
		out = fopen("/dev/null", "we");
	}
	if (fd < 0 || !out || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!profile_read(&p, path, err, sizeof(err))) {
		flame_write(out, &p, &p, PROFILE_INUSE_SPACE, "fuzz");
		for (size_t i = 0; i < p.n; i++)
			profile_print_folded(out, "fuzz", &p.stack[i], PROFILE_ALLOC_SPACE);
	}
	profile_free(&p);
	return 0;
}
