/* What the BPF program adds up; one block, shared with hakstat through mmap. */
#ifndef HAK_BPF_SUMS_H
#define HAK_BPF_SUMS_H

#include "probe_ids.h"
#include "shared.h"

#define HIST_SLOTS 64 /* powers of two of ns */
#define EVENT_SLOTS 1024

/* Of one probe, by the thread's number, so that the busiest is known: of more, some share a slot.
 */
struct probe_events {
	__u64 of[EVENT_SLOTS];
};

struct class_sums {
	__u64 refills, refill_blocks;
	__u64 flushes, flush_blocks;
	__u64 allocs, frees; /* sums of the deltas both probes carry */
};

struct lock_sums {
	__u64 started; /* lock_wait_start */
	__u64 waits;   /* lock_wait_done */
	__u64 wait_ns;
	__u64 max_ns; /* since the reader last set it to 0 */
	__u64 hist[HIST_SLOTS];
};

struct os_sums {
	__u64 calls, bytes, ns;
};

enum os_kind { OS_MAP, OS_UNMAP, OS_PURGE, OS_FILL, OS_KINDS };

struct bpf_sums {
	__u64 reasons[HAK_FLUSH_COUNT]; /* blocks flushed, by reason */
	struct class_sums class_[HAK_CLASS_MAX];
	struct lock_sums lock[HAK_LOCK_MAX];
	struct os_sums os[OS_KINDS][HAK_OS_COUNT];
	struct os_sums fallback[HAK_FALLBACK_COUNT]; /* ns unused */
	/* requests by the way they took: refills of a class by source; fallbacks by reason and by
	 * log2 of the bytes requested */
	__u64 route[HAK_CLASS_MAX][HAK_SOURCE_COUNT];
	__u64 fallback_sizes[HAK_FALLBACK_COUNT][HIST_SLOTS];
	__u64 push_batches, push_blocks, push_bytes;
	__u64 drains, drain_blocks, drain_bytes;
};

#endif
