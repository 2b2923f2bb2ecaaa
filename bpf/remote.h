/* What the program of remote frees adds up: by pair of threads, and by owner. */
#ifndef HAK_BPF_REMOTE_H
#define HAK_BPF_REMOTE_H

#include <linux/types.h>

#define REMOTE_PAIRS_MAX 65536 /* of more, `dropped` counts the batches */
#define REMOTE_OWNERS_MAX 16384
#define REMOTE_HIST 64 /* powers of two of ns */
#define REMOTE_NAME 16

struct remote_pair {
	__u32 from, to; /* freeing thread, owning thread */
};

struct pair_sums {
	__u64 batches, blocks, bytes;
};

struct owner_sums {
	__u64 pushed_blocks, pushed_bytes;		     /* onto its queue, by anybody */
	__u64 drained_blocks, drained_bytes, drains, helped; /* helped: by another thread */
	__u64 before; /* blocks that were there already when we came, known after the first drain */
	__u64 since_ns; /* when a push found the queue empty; 0: it has been taken since */
	__u64 waits, wait_ns, max_ns; /* from such a push to the drain */
	__u64 hist[REMOTE_HIST];
};

struct last_name {
	char text[REMOTE_NAME];
};

#endif
