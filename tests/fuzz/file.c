/*
 * A fuzz target for what hakstat reads of files it does not trust: core files (hakstat/memory.c,
 * and dump.c behind it) and the notes of programs and libraries (hakstat/target.c).
 * An input is the file.
 */
#include "dump.h"
#include "target.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_core(const char *path)
{
	static struct dump d;
	struct memory m;
	struct dump_block b;
	char err[256];
	uint64_t root;

	if (!memory_of_core(&m, path, err, sizeof(err))) {
		root = memory_find_root(&m);
		if (root) {
			if (!dump_read(&d, &m, root, NULL))
				dump_block(&d, root, &b);
			dump_free(&d);
		}
	}
	memory_close(&m);
}

static void as_library(const char *path)
{
	static struct target t;
	char err[256];

	if (!target_from_file(&t, path, err, sizeof(err)) &&
	    strnlen(t.build_id, sizeof(t.build_id)) == sizeof(t.build_id))
		__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64];
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd >= 0 && write(fd, data, size) == (ssize_t)size) {
		as_core(path);
		as_library(path);
	}
	close(fd);
	return 0;
}
