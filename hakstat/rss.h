/* Where the resident memory of a process is: every byte the kernel counts, in one line each. */
#ifndef HAKSTAT_RSS_H
#define HAKSTAT_RSS_H

#include "source.h"

/* X(ID, "name", "what it is"); the sum of all is RSS. Recordings have them in this order. */
#define MEMORY_LINES(X)                                                                           \
	X(LIVE, "live", "blocks the program has allocated")                                       \
	X(CACHED, "thread caches", "free blocks the next allocation of a thread gets")            \
	X(QUEUED, "queues", "freed by other threads, not yet taken by their owner")               \
	X(FREE, "free in pages", "free blocks between live ones: fragmentation")                  \
	X(ENDS, "page ends", "too short for one more block")                                      \
	X(UNUSED, "unused", "free pages of segments, going back after HAKMEM_DECAY_MS")           \
	X(KEPT, "reuse cache", "freed spans above 2 MiB, likewise")                               \
	X(PURGED, "purged", "address space of segments and of free blocks, without memory")       \
	X(META, "metadata", "of the allocator")                                                   \
	X(STACKS, "stacks", "of threads, those kept by libc included")                            \
	X(FILES, "files", "programs, libraries with their data, mapped files")                    \
	X(SHARED, "shared memory", "not of a file that has a name on disk")                       \
	X(BRK, "brk heap", "of another allocator")                                                \
	X(OTHER, "other anonymous", "mapped by others than libhakmem: other allocators, buffers") \
	X(KERNEL, "kernel", "vdso and the like")                                                  \
	X(DIFFERENCE, "difference", "RSS less all lines: what changed between two looks")         \
	X(HUGE, "huge pages", "of hugetlbfs: no part of RSS; how much of them below")
#define MEMORY_(id, name, what) MEMORY_##id,
enum memory_line { MEMORY_LINES(MEMORY_) MEMORY_LINE_COUNT };

struct memory_sum {
	int64_t resident; /* only the difference may be negative */
	uint64_t bytes;	  /* address space; of blocks: their size together */
	uint64_t count;	  /* blocks, spans, mappings; 0: makes no sense */
};

struct memory_class {
	uint64_t pages, held, resident; /* of its pages, bytes */
	struct memory_sum live, cached, queued, free, ends;
	struct memory_sum gone; /* free, or ends, but without memory by the allocator's account */
};

struct memory_page {
	uint64_t start, bytes, resident;
	uint32_t class_, block_bytes, capacity, live, cached;
	uint32_t owner_tid;
};

#define MEMORY_PAGES 20 /* least used pages that are listed */

struct memory_map {
	uint64_t rss;  /* by smaps */
	uint64_t huge; /* beside that: in huge pages of hugetlbfs */
	struct memory_sum line[MEMORY_LINE_COUNT];
	struct memory_class class_[HAK_CLASS_MAX];
	unsigned classes;
	struct memory_page page[MEMORY_PAGES]; /* least used first */
	int pages;
	bool estimated;	 /* which pages are in memory is not known, only how many of a mapping */
	char error[256]; /* not empty: nothing is known, for this reason */
};

extern const struct source source_memory;

#endif
