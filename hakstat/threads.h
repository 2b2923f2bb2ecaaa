/* Counts by thread, from the counters of its heap, and its waits, by BPF. */
#ifndef HAKSTAT_THREADS_H
#define HAKSTAT_THREADS_H

#include "names.h"
#include "source.h"

struct thread_row {
	uint32_t tid;		      /* 0: all those that have ended */
	uint32_t threads;	      /* whose counts these are: a heap may have had several */
	char name[THREAD_NAME_BYTES]; /* empty: not known */
	uint64_t allocs, frees, cached_allocs, refills; /* cached_allocs: of classes, not large */
	uint64_t cached_blocks, cached_bytes;
	uint64_t out_blocks, out_bytes; /* to other threads' heaps */
	uint64_t in_blocks, in_bytes;	/* from them */
	uint64_t waits, wait_ns;
};

struct threads {
	struct thread_row *row;
	int n;
	bool has_waits;
	int without; /* threads of the process that have not used the allocator */
};

extern const struct source source_threads;

#endif
