/* The cgroup of a process, shortened to what people call it: a container, a pod, a unit. */
#ifndef HAKSTAT_CGROUP_H
#define HAKSTAT_CGROUP_H

#include <stddef.h>
#include <sys/types.h>

#define CGROUP_BYTES 80

/* Empty: not known, or the root. Safe to print. */
void cgroup_name(pid_t pid, char *out, size_t len);

/* Its path, as /proc/PID/cgroup has it. Not safe to print. */
void cgroup_path(pid_t pid, char *out, size_t len);

/* The name for the path of a cgroup. */
void cgroup_shorten(const char *path, char *out, size_t len);

#endif
