/*
 * hakmem: a malloc one can see inside while it runs.
 *
 * Every function is safe to call from any thread. Names with hak_ do what the standard function
 * of the same name does and may be mixed with it freely: there is one heap.
 */
#ifndef HAKMEM_H
#define HAKMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HAKMEM_VERSION "0.1.0"

/* Version of the library in use, "major.minor.patch". */
const char *hak_version(void);

/* malloc(3) and relatives. NULL with errno ENOMEM when out of memory. Sizes in bytes. */
void *hak_malloc(size_t bytes) __attribute__((malloc, alloc_size(1)));
void *hak_calloc(size_t count, size_t bytes) __attribute__((malloc, alloc_size(1, 2)));
void *hak_realloc(void *block, size_t bytes) __attribute__((alloc_size(2)));
void hak_free(void *block);
/* alignment: a power of two, else NULL with errno EINVAL. */
void *hak_aligned_alloc(size_t alignment, size_t bytes) __attribute__((malloc, alloc_size(2)));
/* Bytes the block really has, at least those asked for; 0 for NULL. */
size_t hak_usable_size(const void *block);

/*
 * Allocation and free with a name for the place. site: a string that stays for ever, shown
 * by heap profiles; the allocator never copies it.
 */
void *hak_alloc_at(size_t bytes, const char *site) __attribute__((malloc, alloc_size(1)));
void hak_free_at(void *block, const char *site);

/*
 * Returns to the system what is not in use: this thread's cache, pages of exited threads, and
 * every unused page. True if anything was returned.
 */
bool hak_trim(void);

#define HAK_SNAPSHOT_CLASSES 64

struct hak_class_snapshot {
	size_t block_bytes; /* 0 for class 0: blocks above the largest class */
	uint64_t allocs;    /* since the process started */
	uint64_t frees;
	uint64_t refills;	/* times a thread cache was empty */
	uint64_t flushes;	/* times a thread cache gave blocks back */
	uint64_t live_blocks;	/* allocs - frees */
	uint64_t cached_blocks; /* free, in thread caches */
	uint64_t held_bytes;	/* in pages of the class */
};

struct hak_snapshot {
	uint32_t classes; /* entries of class[] in use */
	uint32_t heaps;	  /* heaps made, with or without a thread */
	struct hak_class_snapshot class_[HAK_SNAPSHOT_CLASSES];
	uint64_t live_bytes;	   /* usable bytes of all live blocks */
	uint64_t large_live_bytes; /* of them, in blocks of class 0 */
	uint64_t cached_bytes;	   /* free blocks in thread caches */
	uint64_t mapped_bytes;	   /* address space obtained from the system and not returned */
	uint64_t dirty_bytes;	   /* unused, still backed by memory */
	uint64_t meta_bytes;	   /* metadata mapped */
	uint64_t remote_blocks;	   /* blocks sent to the heap that owns them */
	uint64_t lock_waits;
	uint64_t lock_wait_ns;
	uint64_t os_calls; /* map, unmap and purge calls */
	uint64_t mmap_fallbacks;
};

/*
 * Fills the counters. Those of the calling thread are exact; those of threads that allocate
 * meanwhile are each exact for some moment within the call. Never allocates.
 */
void hak_snapshot(struct hak_snapshot *out);

/*
 * Walks the heap and validates it: segments, pages, and the caches of the calling thread and of
 * heaps without a thread. Returns the number of broken invariants, 0 if all hold; each is
 * reported on stderr with one line. Other threads may go on allocating.
 */
unsigned hak_check(void);

#ifdef __cplusplus
}
#endif
#endif
