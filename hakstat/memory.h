/* The memory of a process, or what a core file kept of it. */
#ifndef HAKSTAT_MEMORY_H
#define HAKSTAT_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct span {
	uint64_t addr, bytes, offset;
	bool written; /* the process could write there */
};

struct memory {
	pid_t reader; /* 0: a core file */
	int fd;
	struct span *spans; /* of the core, as far as the file goes */
	size_t nspans;
	bool truncated;
	uint64_t bytes; /* what it has of memory, about */
};

/* 0, or a negative errno with the reason in err. */
int memory_of_core(struct memory *m, const char *path, char *err, size_t errlen);
void memory_close(struct memory *m);

/* All of it or nothing. */
bool memory_read(const struct memory *m, uint64_t addr, void *buf, size_t bytes);

/*
 * As memory_read, of anonymous memory that may be mostly untouched: what was never written to is
 * told by the page map of the kernel and not read, since reading makes it part of the target's RSS.
 */
bool memory_read_written(const struct memory *m, uint64_t addr, void *buf, size_t bytes);

/* The address of hak_root in a core, 0 if there is none. Told by itself: no other file is read. */
uint64_t memory_find_root(const struct memory *m);

#endif
