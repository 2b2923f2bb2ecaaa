/* Threads as the target numbers them. */
#ifndef HAK_BPF_THREAD_H
#define HAK_BPF_THREAD_H

#include "args.h"

/* The target's PID namespace, as stat(2) of /proc/PID/ns/pid tells; 0: as we see it. */
const volatile __u64 pid_ns_dev, pid_ns_ino;

/* The thread's number in the target's own PID namespace: the one the allocator knows. */
static __always_inline __u32 own_tid(void)
{
	struct bpf_pidns_info ns = {};

	if (pid_ns_ino && !bpf_get_ns_current_pid_tgid(pid_ns_dev, pid_ns_ino, &ns, sizeof(ns)))
		return ns.pid;
	return (__u32)bpf_get_current_pid_tgid();
}

#endif
