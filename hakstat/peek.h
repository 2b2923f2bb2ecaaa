/*
 * Memory of other processes by BPF, with CAP_BPF and CAP_PERFMON where process_vm_readv(2) would
 * need CAP_SYS_PTRACE. Linux 6.1 and later.
 */
#ifndef HAKSTAT_PEEK_H
#define HAKSTAT_PEEK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/*
 * Reads all of it, or returns a negative errno: -EPERM where this cannot be done, -ESRCH without
 * the thread, -EFAULT where some of it is not there. to and from: of the same lengths.
 */
int peek_memory(pid_t tid, const struct iovec *to, const struct iovec *from, size_t n);

/*
 * The same of the kernel's memory: what cannot be read is zeroes. pgd: where the thread's page
 * tables begin, 0 if it has no memory any more.
 */
int peek_kernel(pid_t tid, const struct iovec *to, const struct iovec *from, size_t n,
		uint64_t *pgd);

#endif
