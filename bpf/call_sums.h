/* What bpf/syscalls.bpf.c adds up, as its reader finds it in the maps. */
#ifndef HAK_BPF_CALL_SUMS_H
#define HAK_BPF_CALL_SUMS_H

#include <linux/types.h>

#define CALL_SITES 2048	 /* places in a program that make a system call, times calls */
#define FUTEX_WORDS 4096 /* waited for */
#define SLOTS 16384	 /* of threads, by their ids; a power of two */
#define CROWD 4096	 /* threads whose slot another one has */
#define FAST_CALLS 512	 /* numbers of system calls, a power of two */
#define WAIT_SLOTS 48	 /* powers of two of ns: up to 78 hours */

/*
 * A system call by where it was made: whether that is the allocator's place, or which library's,
 * is known to the reader, who may learn it later.
 */
struct call_key {
	__u32 number;
	__u16 program; /* becomes another by exec(3): counted from 0 */
	__u16 op;      /* of futex(2) without its flags, else 0 */
	__u64 ip;      /* where it returns to */
};

/*
 * The quick way, once it is known where the allocator's calls are made: by number, one array for
 * its calls and one for the others.
 */
struct call_sums { /* of one CPU */
	__u64 calls, errors, ns;
	__u64 max_ns, epoch; /* longest since the reader's last look */
};

struct fast_sums {
	struct call_sums n[FAST_CALLS];
};

/* Waits by futex(2), by the word waited for; word 0: those for which there was no room. */
struct wait_key {
	__u64 word, ip;
	__u32 program, op;
};

struct wait_sums {
	__u64 waits, ns;
	__u64 max_ns, epoch;
	__u32 hist[WAIT_SLOTS];
};

/* What a thread is in; by its id, in the target's pid namespace if calls.ns_ino says so. */
struct call_now {
	__u64 start;	/* ns, 0: in none */
	__u64 ip, word; /* ip 0: not the allocator's */
	__u32 number;
	__u32 op;
	__u32 tid;   /* 0: the slot is free */
	__u8 fast;   /* counted the quick way, */
	__u8 others; /* as one that the allocator did not make */
	__u64 calls; /* begun in this slot, by whichever thread had it: for the budget */
};

/* Of one CPU: how long the two programs take, by one run in CALL_TIMED. */
#define CALL_TIMED 61 /* odd: they run in turn */
struct call_spent {
	__u64 runs; /* since the last one timed */
	__u64 ns;
};

/* Shared through mmap. */
struct call_state {
	__u64 epoch;	 /* by the reader: looks so far */
	__u64 program;	 /* execs so far */
	__u64 words;	 /* entries of the map of waits */
	__u64 lost;	 /* calls without room in a map */
	__u64 call_addr; /* by the reader: where the allocator's calls return to, 0: unknown yet */
};

#endif
