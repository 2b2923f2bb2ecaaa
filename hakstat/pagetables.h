/*
 * Which pages of a process are in memory, by its page tables, read by BPF: for who may not open
 * /proc/PID/pagemap. x86-64.
 */
#ifndef HAKSTAT_PAGETABLES_H
#define HAKSTAT_PAGETABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct chunk; /* what one table of the lowest level says: pages of 2 MiB */

struct pagetables {
	struct chunk *chunk; /* in order, those with a page in memory */
	size_t n, room;
};

/* 0 or a negative errno: -EPERM where that cannot be done. pagetables_free in any case. */
int pagetables_read(struct pagetables *t, pid_t tid);
void pagetables_free(struct pagetables *t);

/* Which pages from `start` on are in memory: in[i] for each. Pages of zeroes are not. */
void pagetables_resident(const struct pagetables *t, uint64_t start, size_t pages, bool *in);

#endif
