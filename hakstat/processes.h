/* Processes as a whole, one row each: those of a host, or the one that is watched. */
#ifndef HAKSTAT_PROCESSES_H
#define HAKSTAT_PROCESSES_H

#include "cgroup.h"
#include "model.h"
#include "title.h"

struct process_row {
	pid_t pid;
	char comm[64], cgroup[CGROUP_BYTES]; /* safe to print; cgroup empty: not known */
	char title[TITLE_BYTES];	     /* likewise */
	double seconds;			     /* of the interval; 0: there has been none yet */
	uint64_t rss, shared;		     /* shared: of rss, what others may have as well */
	int threads;
	uint64_t allocs, frees, small_allocs, refills, flushes; /* in the interval */
	uint64_t remote_blocks, waits, wait_ns, os_calls, fallbacks;
	uint64_t live_blocks, live_bytes, held_bytes, cached_blocks, queued_blocks; /* now */
	uint64_t ooms, misuses; /* since it began */
	struct hak_gauges now;
};

struct processes {
	struct process_row *row;
	int n;
	uint64_t shared;  /* of all together: counted in each */
	int closed;	  /* processes that may not be looked into */
	double cpu_share; /* what looking takes of a CPU; negative: not known */
};

/* Everything but pid, comm, cgroup, title and shared. */
void process_row_make(struct process_row *r, const struct model *m);

#endif
