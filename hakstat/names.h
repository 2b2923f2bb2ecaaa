/* Names of a target's threads, by their numbers in its own PID namespace. */
#ifndef HAKSTAT_NAMES_H
#define HAKSTAT_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define THREAD_NAME_BYTES 16 /* of comm, with its NUL */

struct thread_name {
	uint32_t tid;
	bool alive; /* as of the last names_read */
	char name[THREAD_NAME_BYTES];
};

/* Begin with {0}. Names of threads that are gone stay. */
struct names {
	struct thread_name *of; /* by tid */
	size_t n, room;
	int alive;
};

/* Every thread there is now. */
void names_read(struct names *s, pid_t pid);
/* One more name, as somebody else learned it; made safe for a terminal. */
void names_set(struct names *s, uint32_t tid, const char *name);
/* NULL: not known. Valid until the next names_read or names_set. */
const char *names_get(const struct names *s, uint32_t tid);
void names_free(struct names *s);

/* The target's PID namespace for bpf/thread.h; both 0 if it cannot be told. */
void pid_namespace(pid_t pid, uint64_t *dev, uint64_t *ino);

#endif
