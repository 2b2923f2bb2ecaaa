/* Two samples and what lies between them: every number a view can show. */
#ifndef HAKSTAT_MODEL_H
#define HAKSTAT_MODEL_H

#include "collect.h"

struct class_delta {
	uint64_t block_bytes;			 /* 0: large blocks */
	uint64_t refills_from[HAK_SOURCE_COUNT]; /* by BPF */
	uint64_t allocs, frees, refills, refill_blocks, flushes, flush_blocks, remote_blocks;
	uint64_t live, cached, held_bytes, waste_bytes, unbacked_bytes;
};

struct lock_delta {
	uint64_t waits, wait_ns;
	bool has_bpf; /* what follows is known */
	uint64_t max_ns, p50_ns, p99_ns;
	uint64_t hist[HIST_SLOTS]; /* powers of two of ns */
};

struct os_delta {
	uint64_t calls, bytes, ns;
};

/* What sources collect for views of their own (source.h); each in the header of its view. */
struct threads;
struct remotes;
struct memory_map;
struct stacks;
struct heap_profile;
struct syscalls;
struct processes;

struct model {
	const struct target *target;	  /* the watch's; its comm is safe to print */
	const struct threads *threads_of; /* NULL, as those that follow: nobody collected it */
	const struct remotes *remotes;
	const struct memory_map *memory;
	const struct stacks *stacks;
	const struct heap_profile *heap;
	const struct syscalls *syscalls;
	const char *recorded;	 /* of a recording: when and where, for people; else NULL */
	uint64_t from_ns, to_ns; /* likewise: CLOCK_REALTIME */
	const struct processes *processes;
	const void *own; /* what the rows of a command's own table are of */
	double seconds;
	double counters_seconds; /* until the counters were read last: less if it ended by itself */
	bool ended;
	unsigned classes;
	struct class_delta class_[HAK_CLASS_MAX];
	struct lock_delta lock[HAK_LOCK_COUNT];
	bool has_bpf;
	struct os_delta os[OS_KINDS][HAK_OS_COUNT];			    /* by BPF */
	struct os_delta fallback[HAK_FALLBACK_COUNT];			    /* by BPF */
	uint64_t fallback_sizes[HAK_FALLBACK_COUNT][HIST_SLOTS];	    /* likewise, by log2 */
	uint64_t maps, map_bytes, unmaps, unmap_bytes, purges, purge_bytes; /* by counters */
	uint64_t fills, fill_bytes;
	uint64_t fallbacks, fallback_bytes;
	uint64_t over_aligned[HAK_SIZES]; /* by log2: mapped, or served by such a mapping again */
	uint64_t large_allocs, large_frees, large_live_bytes, large_hits, large_bytes;
	uint64_t remote_pushes, remote_blocks, remote_bytes, drains;
	uint64_t queued_blocks;		 /* in queues now */
	uint64_t ooms, misuses;		 /* since it began */
	uint64_t allocs, frees, refills; /* over all classes, large included; refills of classes */
	uint64_t small_allocs, waits;
	uint64_t rss;
	int threads;
	struct hak_gauges now;
	int64_t events, lost, bpf_ns; /* within the interval, -1 if unknown */
	/* For how much of the interval the budget kept each probe off, and which those are. */
	double off_s[HAK_PROBE_COUNT];
	uint64_t off;
	uint64_t watched; /* all others nobody looked at */
	/* the two sources beside each other: sums BPF made of probe arguments, and the counters
	 * as of each thread's last probe */
	uint64_t bpf_allocs, bpf_frees, bpf_refills, bpf_flushes;
	uint64_t seen_allocs, seen_frees, seen_refills, seen_flushes;
};

/* Upper edge of the slot, of a histogram by powers of two, that holds that share; at most max. */
uint64_t quantile(const uint64_t *hist, uint64_t total, double share, uint64_t max);

/* Do we have all events of these probes, a bit each? */
bool model_knows(const struct model *m, uint64_t probes);
uint64_t model_os_calls(const struct model *m); /* by counters */

/* `from` may be all zero (collect_zero): then everything since the process began. */
void model_make(struct model *m, const struct sample *from, const struct sample *to);

#endif
