/* A process that runs on libhakmem: where its library, its counters and its probes are. */
#ifndef HAKSTAT_TARGET_H
#define HAKSTAT_TARGET_H

#include "contract.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum link_kind { LINK_PRELOAD, LINK_SHARED, LINK_STATIC, LINK_UNKNOWN };
extern const char *const link_names[];

struct probe_site {
	uint64_t offset;    /* in the file */
	uint64_t semaphore; /* likewise; 0: none, it fires whether somebody listens or not */
	bool found;
	uint64_t semaphore_addr; /* link-time address of its 16 bits */
};

struct target {
	pid_t pid;
	pid_t reader; /* a thread that still has the memory: the first one may have ended */
	char comm[64];
	char exe[PATH_MAX];
	char lib[PATH_MAX];	  /* path as the target sees it */
	char open_path[PATH_MAX]; /* path we can open */
	char map_path[64];	  /* the mapping, which leads there as long as it runs; for root */
	enum link_kind link;
	char build_id[48]; /* hex, empty if it has none */
	char version[24];
	uint32_t abi;
	uint64_t bias;	       /* runtime address = link-time address + bias */
	uint64_t root_addr;    /* runtime address of struct hak_root */
	uint64_t call_addr;    /* where every system call of the library returns to, 0: not told */
	uint64_t start_ns;     /* of the root */
	unsigned copies;       /* of libhakmem in the process, of which this one serves it */
	uint64_t allocs;       /* of several, by this one so far */
	char other[PATH_MAX];  /* of the others, the one that has made the most: as lib */
	uint64_t other_allocs; /* how many */
	bool closed;	       /* its file cannot be opened: counters alone, no probes */
	struct probe_site site[HAK_PROBE_COUNT];
};

struct mapping {
	unsigned long start, end, offset;
	unsigned int major, minor;
	unsigned long inode; /* 0: not of a file */
	bool code;	     /* executable */
	char path[PATH_MAX];
};

/*
 * Opens a file to read, if it is one: nothing else is opened. inode: 0, or that of the only file
 * meant. A file descriptor or a negative errno, -EINVAL if it is something else.
 */
int open_regular(const char *path, unsigned long inode);

/* One line of /proc/PID/maps; false if it is not of a file. */
bool parse_mapping(char *line, struct mapping *m);
/*
 * Opens what is really mapped: the mapping itself, else a path that leads to the same inode.
 * A file descriptor with the path in path[PATH_MAX], or a negative errno.
 */
int open_mapping(pid_t pid, const struct mapping *m, char *path);

/*
 * 0, or a negative errno with the reason in err: -ESRCH no such process, -ENOENT no hakmem in
 * it, -EAGAIN it is mapped but has not started, -EPERM privilege.
 */
int target_open(struct target *t, pid_t pid, char *err, size_t errlen);
/* Gives one that is just becoming another program, or is about to start, time to do so. */
int target_await(struct target *t, pid_t pid, char *err, size_t errlen);

/* The probes of a library file that no process maps yet; the rest of *t is zero. */
int target_from_file(struct target *t, const char *path, char *err, size_t errlen);

/* Why a library is closed. */
extern const char target_closed[];
/* What a negative errno of target_open and target_each means. */
const char *target_reason(int error);

int target_threads(pid_t pid); /* 0 if unknown */
uint64_t target_rss(pid_t pid);
/* Of that: of files and shared memory, which others may have as well. */
uint64_t target_shared(pid_t pid);  /* bytes, 0 if unknown */
uint64_t target_started(pid_t pid); /* ticks after the boot, 0 if unknown */
bool target_alive(pid_t pid);
bool thread_runs(pid_t tid);   /* alive, and neither at its end nor killed */
bool thread_sleeps(pid_t tid); /* for something that is no page of a file */

/* The first thread, or one that still runs if that has ended. */
pid_t target_reader(pid_t pid);
/*
 * Another way to read memory, for when ptrace(2) access is missing: all of it, or a negative errno.
 * NULL: there is none.
 */
extern int (*target_peek)(pid_t tid, const struct iovec *to, const struct iovec *from, size_t n);
/* As process_vm_readv, or by target_peek; bytes read, or a negative errno. */
ssize_t target_readv(pid_t tid, const struct iovec *to, const struct iovec *from, size_t n);
/* Reads the memory of a thread's process; bytes read, or a negative errno. */
ssize_t target_read(pid_t tid, uint64_t addr, void *buf, size_t bytes);

/* Text from the target, made safe for a terminal, in place. */
void sanitize(char *text);

/* Files known not to be libhakmem: who looks at many processes reads each file once. */
struct strangers;
struct strangers *strangers_new(void); /* NULL, which is fine: slower */
void strangers_free(struct strangers *s);
/* As target_open, without a message. */
int target_look(struct target *t, pid_t pid, struct strangers *s);

/*
 * Calls fn for every process with hakmem; stops when fn returns false. 0, or a negative errno: some
 * could not be looked at, for a reason that is not theirs.
 */
int target_each(bool (*fn)(const struct target *t, void *arg), void *arg);

#endif
