/*
 * What libhakmem lays open to readers outside the process: names of codes, and the counter
 * blocks in their binary form. Included by lib/, bpf/ and hakstat/; no libc here.
 *
 * A reader finds `struct hak_root` through the ELF note of owner "hakmem", type HAK_NOTE_ROOT
 * (desc: u64 link-time address of the root, u32 abi, u32 0) or through the symbol hakmem_root.
 * From there everything is plain memory, to be read with process_vm_readv(2):
 *
 *   hak_root.heap_chunk[k] -> HAK_HEAP_FIRST << k heaps of hak_root.heap_bytes bytes each,
 *   every heap beginning with struct hak_heap_view. hak_root.heaps of them are in use, in order.
 *
 * hak_root.layout leads to pages and segments, by offsets: their structures differ between builds.
 *
 * Counters only grow, for the life of the process: a heap outlives its thread, and the next
 * thread that gets it counts on. So a sum over all heaps is exact at every instant, and the
 * difference of two sums is what happened in between.
 */
#ifndef HAK_SHARED_H
#define HAK_SHARED_H

#include <linux/types.h>

#define HAK_ABI 9U
#define HAK_MAGIC "hakmem\n" /* with its final NUL: 8 bytes */
#define HAK_NOTE_OWNER "hakmem"
#define HAK_NOTE_ROOT 1
/* every system call the library makes */
#define HAK_CALLS(X)   \
	X(futex)       \
	X(getpid)      \
	X(getrandom)   \
	X(gettid)      \
	X(madvise)     \
	X(mmap)        \
	X(mprotect)    \
	X(mremap)      \
	X(msync)       \
	X(munmap)      \
	X(prlimit64)   \
	X(sched_yield) \
	X(sysinfo)     \
	X(write)
#define HAK_NOTE_CALL 2 /* desc: u64 link-time address where every system call of ours returns */

#define HAK_SIZES 64	 /* of arrays by the binary logarithm of a size */
#define HAK_CLASS_MAX 64 /* length of per-class arrays; hak_root.classes are in use */
#define HAK_LOCK_MAX 8
#define HAK_HEAP_FIRST 4U   /* heaps in the first chunk; each next chunk has twice as many */
#define HAK_HEAP_CHUNKS 20U /* 4 << 20 heaps in all */

/* Lists of codes: X(IDENTIFIER, "text"), numbered from 0 in this order, append only. */

#define HAK_SOURCES(X)                                                   \
	X(PAGE, "page")	       /* a page this thread already had */      \
	X(REMOTE, "remote")    /* blocks other threads sent back */      \
	X(FRESH, "fresh page") /* a page taken from the arena, reused */ \
	X(ADOPTED, "adopted")  /* a page of an exited thread */          \
	X(ARENA, "arena")      /* a page never used before */            \
	X(OS, "os")	       /* the arena had to grow for it */

#define HAK_FLUSH_REASONS(X)                                               \
	X(OVERFLOW, "overflow")	      /* the cache was full */             \
	X(EXIT, "exit")		      /* the thread ended */               \
	X(TRIM, "trim")		      /* idle cache, or malloc_trim(3) */  \
	X(BUDGET, "budget")	      /* another class needed the bytes */ \
	X(REMOTE_FREE, "remote free") /* blocks came back by queue */

/* and what it protects */
#define HAK_LOCKS(X)                                   \
	X(ARENA, "arena", "segments and their slices") \
	X(HEAPS, "heaps", "heaps without a thread")    \
	X(LARGE, "large", "reuse cache of mappings")   \
	X(META, "meta", "memory for metadata")         \
	X(HEAP, "heap", "pages of one heap")           \
	X(MARKS, "marks", "sampled blocks and sites")  \
	X(TRANSFER, "transfer", "blocks that change threads")

#define HAK_FALLBACK_REASONS(X)                                                 \
	X(TOO_LARGE, "too large")	    /* above what a segment can hold */ \
	X(OVER_ALIGNED, "over-aligned")	    /* alignment above a slice */       \
	X(CACHE_MISS, "reuse cache missed") /* mappings kept, none fit */       \
	X(ARENA_EXHAUSTED, "arena exhausted")

#define HAK_OS_REASONS(X)                                           \
	X(ARENA, "arena")     /* a chunk of segments */             \
	X(LARGE, "large")     /* a mapping for one block */         \
	X(META, "meta")	      /* allocator metadata */              \
	X(DECAY, "decay")     /* unused for the decay time */       \
	X(LIMIT, "limit")     /* more unused memory than allowed */ \
	X(TRIM, "trim")	      /* malloc_trim(3) */                  \
	X(REALLOC, "realloc") /* a mapping grew or shrank */

#define HAK_OOM_REASONS(X)                        \
	X(TOO_LARGE, "size above PTRDIFF_MAX")    \
	X(NO_MEMORY, "the system gave no memory") \
	X(NO_METADATA, "the system gave no memory for metadata")

#define HAK_MISUSES(X)                                                       \
	X(DOUBLE_FREE, "double free")                                        \
	X(FOREIGN, "pointer was not allocated here")                         \
	X(MISALIGNED, "pointer is not the start of a block")                 \
	X(NOT_LIVE, "block is not allocated")                                \
	X(CORRUPT, "free list is corrupt: something wrote to a freed block") \
	X(OVERFLOW, "something wrote behind the end of the block")           \
	X(AFTER_FREE, "something wrote to the block after it was freed")

#define HAK_CODE_(id, text) id,
#define HAK_SOURCE_(id, text) HAK_SOURCE_##id,
#define HAK_FLUSH_(id, text) HAK_FLUSH_##id,
#define HAK_LOCK_(id, text, protects) HAK_LOCK_##id,
#define HAK_FALLBACK_(id, text) HAK_FALLBACK_##id,
#define HAK_OS_(id, text) HAK_OS_##id,
#define HAK_OOM_(id, text) HAK_OOM_##id,
#define HAK_MISUSE_(id, text) HAK_MISUSE_##id,
enum hak_source { HAK_SOURCES(HAK_SOURCE_) HAK_SOURCE_COUNT };
enum hak_flush_reason { HAK_FLUSH_REASONS(HAK_FLUSH_) HAK_FLUSH_COUNT };
enum hak_lock_id { HAK_LOCKS(HAK_LOCK_) HAK_LOCK_COUNT };
enum hak_fallback_reason { HAK_FALLBACK_REASONS(HAK_FALLBACK_) HAK_FALLBACK_COUNT };
enum hak_os_reason { HAK_OS_REASONS(HAK_OS_) HAK_OS_COUNT };
enum hak_oom_reason { HAK_OOM_REASONS(HAK_OOM_) HAK_OOM_COUNT };
enum hak_misuse { HAK_MISUSES(HAK_MISUSE_) HAK_MISUSE_COUNT };

/* Heap states, as seen in hak_heap_view.state. */
enum hak_heap_state {
	HAK_HEAP_LIVE, /* a thread uses it */
	HAK_HEAP_IDLE, /* no thread; it may still have pages, which others take one by one */
};

/*
 * The thread cache of one class, written by its thread only: a stack of free blocks. Slot 0 of
 * the stack holds NULL for ever, so that an empty cache needs no test of its own.
 *
 *   length = top - slots                                   (in slots)
 *   allocs = hak_bin_stat.base + frees - length            (allocations of this class, ever)
 *   live blocks of a class = sum over all heaps of (allocs - frees)
 *
 * Class 0 stands for large blocks (above the largest class): nothing is cached there, its length
 * is 0 and its base counts along. `top` moves before `frees`, and before `base` grows, so who
 * reads while the thread works may find allocs too small for an instant, never too large: the
 * highest value read so far is right as soon as the thread pauses.
 */
struct hak_bin {
	void **top;   /* slot of the block freed last */
	void **limit; /* a free is a hit while top < limit; who sets it to 0 makes the next one none
		       */
	__u64 frees;  /* frees of this class by this heap's threads, ever */
	void **slots; /* slot 0 */
};

/* What happened to the cache of one class on its slow path; same writer. */
struct hak_bin_stat {
	__u64 seen_allocs;   /* hak_bin.allocs as of the last refill or flush probe */
	__u64 seen_frees;    /* hak_bin.frees as of then */
	__u64 refills;	     /* times the refill probe fired */
	__u64 refill_blocks; /* sum of its `got` */
	__u64 flushes;	     /* times the flush probe fired */
	__u64 flush_blocks;  /* sum of its `given` */
	__u64 remote_blocks; /* blocks of this class sent to other owners */
	__s64 base;	     /* blocks that came by refill, less those that left by flush */
	__u32 limit;	     /* most blocks the cache may hold now */
	__u32 batch;	     /* blocks the next refill asks for */
};

static inline __u64 hak_bin_length(const struct hak_bin *bin)
{
	return ((__u64)bin->top - (__u64)bin->slots) / sizeof(void *);
}

static inline __u64 hak_bin_allocs(const struct hak_bin *bin, const struct hak_bin_stat *st)
{
	return (__u64)st->base + bin->frees - hak_bin_length(bin);
}

/*
 * Around slow operations, which change several counts at once. A reader that finds busy 0 and
 * the same numbers before and after has one consistent state; see hak_bin for the hit paths.
 */
struct hak_heap_seq {
	__u32 busy;    /* slow operations in progress, one in another included */
	__u32 changes; /* slow operations finished, ever */
};

/* First part of every heap. */
struct hak_heap_view {
	struct hak_bin bin[HAK_CLASS_MAX];
	struct hak_bin_stat stat[HAK_CLASS_MAX];
	__u32 tid;		 /* thread that uses it, or used it last */
	__u32 state;		 /* enum hak_heap_state */
	__u32 index;		 /* position among all heaps */
	__u32 starts;		 /* threads that have used it so far */
	__u64 large_alloc_bytes; /* usable bytes of large blocks allocated, ever */
	__u64 large_free_bytes;
	__u64 large_cache_hits; /* large blocks served without the system */
	__u64 remote_pushes;	/* times the remote_push probe fired */
	__u64 remote_blocks;	/* sum of its `blocks` */
	__u64 remote_bytes;	/* sum of its `bytes` */
	__u64 drains;		/* times the remote_drain probe fired */
	__u64 drain_blocks;	/* that came by queue, or were taken on their way to others */
	__u64 drain_bytes;
	struct hak_heap_seq seq;
};

/* Contention of one lock, or of all heaps' locks; atomic but for max_ns. */
struct hak_lock_view {
	__u64 waits; /* times it was found held by another thread */
	__u64 wait_ns;
	__u64 max_ns; /* longest wait, ever */
	__u64 spins;
};

/* Counts of what the allocator asked of the system; atomic. */
struct hak_os_view {
	__u64 maps, map_bytes;
	__u64 unmaps, unmap_bytes;
	__u64 purges, purge_bytes;
	__u64 fills, fill_bytes;
	__u64 fallbacks, fallback_bytes; /* requests of the mmap_fallback probe */
	__u64 ooms;
	__u64 misuses;
	__u64 adopts, adopted_pages;
	__u64 grows;
};

/* Gauges: bytes now; atomic, used_bytes and dirty_bytes under the arena lock. */
struct hak_gauges {
	__u64 arena_bytes;    /* address space held for segments */
	__u64 used_bytes;     /* of it, in pages of classes and in large blocks, or being purged */
	__u64 dirty_bytes;    /* of it, unused but still backed by memory */
	__u64 large_bytes;    /* mappings handed out for single blocks */
	__u64 cached_bytes;   /* mappings kept for reuse */
	__u64 meta_bytes;     /* metadata mapped */
	__u64 returned_bytes; /* counted as used, in fact dirty: on the way back to the arena */
};

/*
 * Where the fields are that a reader of pages, segments and heaps needs: X(STRUCT, NAME, field),
 * append only. hak_layout.at[HAK_AT_STRUCT_NAME] is the offset in struct page, segment or heap.
 */
#define HAK_FIELDS(X)                                                                  \
	X(page, START, start)		  /* u64: address of its first byte */         \
	X(page, BYTES, bytes)		  /* u64: usable bytes of a large block */     \
	X(page, MAP_BYTES, map_bytes)	  /* u64: length of a mapping of its own */    \
	X(page, OWNER, xowner)		  /* u64: address of the heap */               \
	X(page, BLOCK_BYTES, block_bytes) /* u32 */                                    \
	X(page, CAPACITY, capacity)	  /* u16: blocks */                            \
	X(page, SLICES, slices)		  /* u16: length */                            \
	X(page, CLASS, class)		  /* u8 */                                     \
	X(page, KIND, kind)		  /* u8: enum hak_page_kind */                 \
	X(page, NFREE, nfree)		  /* u16: bits set */                          \
	X(page, BITS, bits)		  /* u64[]: 1 = free */                        \
	X(page, GONE, gone)		  /* u64: mask of grains without memory */     \
	X(segment, BASE, base)		  /* u64: address */                           \
	X(segment, FREE, free)		  /* u64: mask of slices not in a page */      \
	X(segment, DIRTY, dirty)	  /* u64: of them, those that may hold data */ \
	X(segment, NEXT, all_next)	  /* u64: address of the next segment */       \
	X(segment, PAGES, pages)	  /* descriptors, one per slice */             \
	X(heap, LOCK, pages.xword)	  /* u32: not 0 while held */                  \
	X(heap, QUEUE, xqueue)		  /* u64: not 0 while blocks wait */           \
	X(heap, NPAGES, npages)		  /* u64 */                                    \
	X(heap, OUT, out)		  /* u64: sum of capacity - nfree of pages */  \
	X(heap, WAITING, waiting)	  /* u64: address of a table, or 0 */

#define HAK_AT_(type, id, field) HAK_AT_##type##_##id,
enum hak_field { HAK_FIELDS(HAK_AT_) HAK_AT_COUNT };
#define HAK_AT_MAX 32

/* What a page descriptor stands for. */
enum hak_page_kind {
	PAGE_UNUSED, /* descriptor not in use */
	PAGE_SMALL,  /* blocks of a class */
	PAGE_RUN,    /* one block, slices of a segment; it has a class, or is large */
	PAGE_MAPPED, /* one large block, mapped for it */
	PAGE_CACHED, /* a span in the reuse cache */
	PAGE_MARKED, /* as PAGE_SMALL, of no heap: blocks that are sampled, or counted by site */
};

/* The way to everything that is not a counter; const once the magic is written. */
struct hak_layout {
	__u64 root;		  /* address of the root itself: a copy elsewhere is none */
	__u64 segments;		  /* address of the address of the first segment */
	__u64 pagemap;		  /* address of 2^16 addresses, one per 4 GiB, of leaves: */
				  /* 2^16 addresses of page descriptors, one per slice */
	__u64 class_map;	  /* address of the address of a table, one byte per slice */
	__u64 class_mask;	  /* address of its length - 1, 0 before it is there */
	__u64 options;		  /* address of u64 values, in the order of lib/options.def */
	__u64 lock[HAK_LOCK_MAX]; /* address of its u32, not 0 while held; 0: see the heaps */
	__u32 options_count;
	__u32 page_bytes; /* size of a page descriptor */
	__u32 segment_bytes;
	__u32 slice_bytes;
	__u16 at[HAK_AT_MAX]; /* HAK_AT_COUNT are in use */
};

/* The misuse found last; os.misuses says whether there was any. */
struct hak_last_misuse {
	__u64 addr;
	__u32 kind; /* enum hak_misuse */
	__u32 tid;
};

/*
 * HAKMEM_PROFILE=1: the sampled blocks that live, so that who attaches later knows them and can
 * unwind the stacks that allocated them. hak_sampling.record leads to hak_sampling.records of them,
 * each hak_sampling.record_bytes long; of these the first hak_sampling.used were ever in use.
 *
 * A record is read whole: if `version` was even, and is the same after, it is of one block.
 */
#define HAK_SAMPLE_REGS 33 /* 17 on x86-64, 33 on aarch64 */
struct hak_sample {
	__u32 version;		    /* odd while it is written */
	__u32 tid;		    /* who allocated it */
	__u64 ptr;		    /* the block, 0: not in use */
	__u64 size;		    /* bytes requested */
	__u64 weight;		    /* bytes it stands for */
	__u64 time_ns;		    /* CLOCK_MONOTONIC */
	__u32 bytes;		    /* of the slice */
	__u32 whole;		    /* 1: the slice ends where the stack does */
	__u64 reg[HAK_SAMPLE_REGS]; /* by DWARF number, what a callee keeps and the instruction
				       pointer (16 on x86-64, 32 on aarch64); others are 0 */
	__u8 slice[];		    /* the stack from the stack pointer on */
};

/* What hak_alloc_at was called with: all of it, since somebody watches sites. */
struct hak_site {
	__u64 name;		   /* address of the text; 0: not in use */
	__u64 allocs, alloc_bytes; /* bytes as requested */
	__u64 frees, free_bytes;   /* live blocks = allocs - frees, live bytes likewise */
};

/* The mean distance of two samples, in bytes, as its binary logarithm. */
#define HAK_MEAN_USUAL 19U /* 512 KiB */
#define HAK_MEAN_LEAST \
	12U /* 4 KiB: also what is seen for a moment while its bits are attached to */
#define HAK_MEAN_MOST 31U

/* That of a process whose HAKMEM_PROFILE has this value, unless who watches asks for another. */
static inline __u32 hak_mean_of_profile(__u64 value)
{
	__u32 log2 = 0;

	if (value <= 1)
		return HAK_MEAN_USUAL;
	while (value >>= 1)
		log2++;
	return log2 < HAK_MEAN_LEAST ? HAK_MEAN_LEAST : log2 > HAK_MEAN_MOST ? HAK_MEAN_MOST : log2;
}

struct hak_sampling {
	__u64 turns;	    /* odd: on, as far as a thread has noticed */
	__u64 samples;	    /* allocations sampled, ever; atomic */
	__u64 sample_frees; /* of them, freed by now; atomic */
	__u64 record;	    /* address of the first hak_sample, 0 without HAKMEM_PROFILE */
	__u32 record_bytes;
	__u32 records;
	__u32 used;	  /* records that were ever in use */
	__u32 live;	  /* that are */
	__u64 lost;	  /* samples for which no record was left */
	__u64 site;	  /* address of the first hak_site, 0 before the first */
	__u32 sites;	  /* entries of the table, not all in use */
	__u32 site_bytes; /* of an entry */
	__u64 site_lost;  /* calls of hak_alloc_at that found the table full */
};

struct hak_root {
	char magic[8];			  /* HAK_MAGIC, written when the rest is valid */
	__u32 abi;			  /* HAK_ABI */
	__u32 root_bytes;		  /* sizeof(struct hak_root) */
	__u32 heap_bytes;		  /* distance from one heap to the next in a chunk */
	__u32 classes;			  /* classes in use, class 0 included */
	char version[24];		  /* library version, NUL-terminated */
	__u32 pid;			  /* process that wrote this (a forked child corrects it) */
	__u32 heaps;			  /* heaps made so far */
	__u32 class_bytes[HAK_CLASS_MAX]; /* block size; 0 for class 0 */
	__u32 page_bytes[HAK_CLASS_MAX];  /* size of a page of the class */
	__u64 heap_chunk[HAK_HEAP_CHUNKS]; /* addresses */
	__u64 class_pages[HAK_CLASS_MAX];  /* pages each class holds now; atomic */
	__u64 class_gone[HAK_CLASS_MAX];   /* bytes of them that have no memory; atomic */
	__u64 grain_bytes; /* of the parts in which that is known, twice that above 64 of them */
	struct hak_lock_view lock[HAK_LOCK_MAX];
	struct hak_os_view os;
	struct hak_gauges now;
	__u64 start_ns; /* CLOCK_MONOTONIC when it began: another after an exec, not after fork */
	struct hak_last_misuse misuse;
	struct hak_layout layout;
	struct hak_sampling sampling;
	/* Requests that got a mapping of their own for being aligned to more than a slice, by the
	 * binary logarithm of their bytes, whether mapped anew or kept from another; atomic. */
	__u64 over_aligned[HAK_SIZES];
};

/* Address of a heap, 0 if there can be none of that index. */
static inline __u64 hak_heap_addr(const struct hak_root *r, __u32 index)
{
	__u32 first = 0;

	for (unsigned k = 0; k < HAK_HEAP_CHUNKS; k++) {
		__u32 n = HAK_HEAP_FIRST << k;

		if (index - first < n)
			return r->heap_chunk[k] + (__u64)(index - first) * r->heap_bytes;
		first += n;
	}
	return 0;
}

#define HAK_SHARED_SIZE(type, bytes) \
	_Static_assert(sizeof(type) == (bytes), "layout of " #type " is the contract")
HAK_SHARED_SIZE(struct hak_bin, 32);
HAK_SHARED_SIZE(struct hak_bin_stat, 72);
HAK_SHARED_SIZE(struct hak_heap_view, 64 * (32 + 72) + 16 + 10 * 8);
HAK_SHARED_SIZE(struct hak_lock_view, 32);
HAK_SHARED_SIZE(struct hak_layout, 6 * 8 + 64 + 4 * 4 + 64);
HAK_SHARED_SIZE(struct hak_sample, 48 + 8 * HAK_SAMPLE_REGS);
HAK_SHARED_SIZE(struct hak_site, 40);
HAK_SHARED_SIZE(struct hak_sampling, 80);
HAK_SHARED_SIZE(struct hak_root,
		56 + 2 * 256 + 160 + 512 + 256 + 15 * 8 + 56 + 8 + 16 + 192 + 520 + 80 + 512);

#endif
