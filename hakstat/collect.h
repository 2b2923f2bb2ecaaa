/* One instant of a target: its counters, the BPF sums, and what /proc says. */
#ifndef HAKSTAT_COLLECT_H
#define HAKSTAT_COLLECT_H

#include "attach.h"

/* Per class, over all heaps. */
struct class_counts {
	uint64_t allocs, frees;
	uint64_t seen_allocs, seen_frees;
	uint64_t refills, refill_blocks, flushes, flush_blocks;
	uint64_t remote_blocks;
	uint64_t cached; /* blocks in thread caches */
};

struct sample {
	uint64_t t_ns;	      /* CLOCK_MONOTONIC */
	uint64_t counters_ns; /* of a process that has ended: when its memory was read last; else 0
			       */
	struct hak_root root;
	struct class_counts class_[HAK_CLASS_MAX];
	uint64_t large_alloc_bytes, large_free_bytes, large_hits;
	uint64_t remote_pushes, remote_blocks, remote_bytes, drains, drain_blocks;
	uint32_t heaps_live;
	uint64_t rss;
	int threads;
	bool has_bpf;
	struct bpf_sums bpf;
	int64_t events, lost, run_ns;  /* -1 if unknown */
	uint64_t watched;	       /* probes, a bit each */
	double off_s[HAK_PROBE_COUNT]; /* each probe, in all: taken off by the budget */
};

/* Every heap as it was read for the sample, in order. */
typedef void heap_fn(void *arg, const struct sample *s, const struct hak_heap_view *v);

/* 0, or a negative errno: -ESRCH when the target is gone. a and heap may be NULL. */
int collect(struct target *t, struct attachment *a, struct sample *s, heap_fn *heap, void *arg);

/*
 * Counts of allocations never go back: an operation in progress may hide for an instant one that
 * `before` has seen already (shared.h, hak_bin). A process that became another starts over.
 */
void collect_after(struct sample *s, const struct sample *before);

/* The longest waits of two samples in a row: each knows those since the one before it. */
void collect_max(struct sample *s, const struct sample *before);

/*
 * The last sample of a process that has ended since: what its probes told afterwards is added.
 * At exit the allocator flushes the main thread's caches, so that is nearly all there was.
 */
void collect_end(struct sample *s, struct attachment *a);

/* The state of a process that has not begun: all counters zero, t_ns now. */
void collect_zero(struct sample *s);
/* The same for the program a sample is of: t_ns when it began. */
void collect_zero_of(struct sample *s, const struct sample *of);

#endif
