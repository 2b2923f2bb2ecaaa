/* /proc/PID/stat, which a thread has too. */
#ifndef HAKSTAT_PROC_STAT_H
#define HAKSTAT_PROC_STAT_H

#include <stdbool.h>
#include <sys/types.h>

#define PROC_COMM_BYTES 16
#define PROC_KERNEL_THREAD 0x00200000UL /* of flags: PF_KTHREAD of the kernel's sched.h */
#define PROC_EXITING 0x00000004UL	/* PF_EXITING */

struct proc_stat {
	char comm[PROC_COMM_BYTES]; /* as it is: not safe to print */
	char state;
	unsigned long flags, threads, pending; /* pending: signals of this thread alone */
	unsigned long long started;	       /* ticks after the boot */
};

bool proc_stat_read(pid_t pid, struct proc_stat *s);

#endif
