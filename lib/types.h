/*
 * The design in one header: words, sizes, structures, who owns what, what always holds.
 *
 * Words
 *   block         what malloc returns. Free blocks hold a link in their first words while they
 *                 are in a queue, and nothing of ours in a cache or while free in their page.
 *   size class    a block size; small requests are rounded up to one (class.h). Class 0 means
 *                 "no class": blocks above HAK_SMALL_MAX.
 *   slice         64 KiB of address space, aligned; the grain of everything below.
 *   page          a run of slices cut into blocks of one class, or holding one large block.
 *                 (The kernel's pages are called "OS pages" here. HAK_OS_PAGE is the largest
 *                 that this build runs on; on smaller ones everything is only coarser.)
 *   segment       64 slices, aligned to their 4 MiB; its state is two 64-bit masks.
 *   arena         all segments; grows by chunks of 1, 2, 4 ... segments.
 *   thread cache  per thread and class: a stack of free blocks of any page, own or not.
 *   heap          a thread's caches plus the pages it owns. It outlives its thread: idle, it
 *                 waits for a new one, while living threads help themselves to its pages.
 *   remote free   a block freed by a thread that does not own its page; it travels in a batch
 *                 on the owner's queue.
 *   transfer cache  per class of 2 to 64 KiB: blocks on their way to their owners, for whoever
 *                 needs such meanwhile.
 *   dirty         unused but backed by memory; clean slices have none, and read as zero.
 *
 * Ownership tags on fields
 *   const:  set before the structure becomes visible, then only read
 *   own:    the owning heap's thread only, inside a slow operation
 *   pages:  under the heap's lock `pages`, which its thread holds in every slow operation and
 *           which others try when its blocks pile up on the queue or its pages are of use
 *   lock:   under the lock named
 *   x       (prefix) atomic, any thread
 *
 * Metadata is never next to user memory. A pointer is decoded by the pagemap alone.
 */
#ifndef HAK_TYPES_H
#define HAK_TYPES_H

#include "base.h"
#include "lock.h"
#include "shared.h"

#define HAK_ALIGN 16U /* alignment of every block */
#define HAK_SLICE_SHIFT 16U
#define HAK_SLICE ((size_t)1 << HAK_SLICE_SHIFT) /* 64 KiB */
#define HAK_SEGMENT_SLICES 64U
#define HAK_SEGMENT (HAK_SLICE * HAK_SEGMENT_SLICES) /* 4 MiB */
#define HAK_HALF_SLICES (HAK_SEGMENT_SLICES / 2)     /* of a segment */
#define HAK_HALF (HAK_SLICE * HAK_HALF_SLICES)	     /* 2 MiB: as long as a huge page */
#define HAK_SMALL_MAX ((size_t)524288)		     /* 512 KiB: largest class */
#define HAK_LARGE_MAX (HAK_SEGMENT / 2)		     /* 2 MiB: largest run inside a segment */
#ifdef HAK_OS_PAGE_BYTES			     /* make OS_PAGE= */
#define HAK_OS_PAGE ((size_t)HAK_OS_PAGE_BYTES)
#elif defined(__x86_64__)
#define HAK_OS_PAGE ((size_t)4096)
#else
#define HAK_OS_PAGE ((size_t)65536) /* works where they are 4 or 16 KiB, too */
#endif
#define HAK_OS_PAGE_LEAST ((size_t)4096) /* of any system: mappings begin at multiples of it */
#define HAK_PAGE_BLOCKS_MAX 4096U	 /* 64 KiB / 16 B */
#define HAK_PAGE_WORDS (HAK_PAGE_BLOCKS_MAX / 64) /* 64 */
#define HAK_PAGE_SLICES_MAX 8U			  /* 512 KiB: 8 blocks of 64 KiB */
#define HAK_GROW_LEVELS 5U			  /* chunks of 4, 8, 16, 32, 64 MiB */
#define HAK_START_SLOTS 512U			  /* of a heap's caches before they grow */
#define HAK_RUN_BINS 7U /* longest free run 1, 2-3, 4-7 ... 32-63, 64 slices */

_Static_assert(HAK_PAGE_BLOCKS_MAX *HAK_ALIGN == HAK_SLICE, "smallest blocks fill one slice");
_Static_assert(HAK_SMALL_MAX < HAK_LARGE_MAX, "layers follow each other");
/* NOLINTNEXTLINE(misc-redundant-expression): the two differ elsewhere */
_Static_assert(HAK_OS_PAGE >= HAK_OS_PAGE_LEAST && HAK_OS_PAGE <= HAK_SLICE &&
		       !(HAK_OS_PAGE & (HAK_OS_PAGE - 1)),
	       "slices are mapped and purged one by one");

struct heap;
struct mark;
struct segment;

/*
 * A free block on its way to its page's owner. It carries the addresses of others, which are not
 * touched: word[0] how many words, with a checksum, then as many: addresses, or with bit 0 set an
 * address and a mask of its neighbours in the page. A block of 16 bytes carries one in word[0], or
 * 0. All of it is mixed with a secret: who writes to a freed block cannot say what it becomes.
 */
struct letter {
	uintptr_t next; /* letter; bit 0: the first of a batch */
	uintptr_t word[];
};

/*
 * Invariants of a small page
 *   nfree = number of set bits in bits[0 .. capacity - 1]
 *   capacity - nfree = blocks live, cached by any thread, or travelling
 *   xmoving: those of them in the transfer cache; its bits and those of bits[] exclude each other
 *   on owner's avail list of the class <=> nfree > 0;  otherwise on its full list
 *   gone: grains without memory; every block in them is free
 * Threads that do not hold the owner's lock send blocks back, they never set bits.
 */
struct page {
	/* a line that others may read without making the owner's writes slower */
	char *start;		 /* const: first byte */
	size_t bytes;		 /* usable bytes of a large block; heap bytes of a small page */
	size_t map_bytes;	 /* PAGE_MAPPED, PAGE_CACHED: length of the span, in whole slices;
				    PAGE_SMALL: bytes at the end that cannot be touched */
	struct heap *xowner;	 /* changes under the old and the new owner's lock `pages` */
	struct segment *segment; /* const: NULL for PAGE_MAPPED */
	union {
		uint64_t freed_ms;  /* lock LARGE: when it entered the reuse cache */
		struct mark *marks; /* lock MARKS: PAGE_MARKED: one a block; of a live large block
				       NULL, or one if it is marked */
	};
	uint32_t block_bytes; /* const: PAGE_SMALL, and PAGE_RUN with a class */
	uint32_t reciprocal;  /* const: ceil(2^32 / block_bytes) */
	uint16_t capacity;    /* const: blocks */
	uint16_t slices;      /* const: length */
	uint8_t class;	      /* const */
	uint8_t kind;	      /* enum hak_page_kind; set by who takes the page or gives it back */
	uint8_t zero;	      /* const: memory was zero when the page was made; enum slices_are of a
				 run on its way back */
	uint8_t slice;	      /* const: index of the first slice in its segment */
	struct page *next     /* pages: list of the class, or of the reuse cache (lock: LARGE) */
		__attribute__((aligned(HAK_CACHE_LINE)));
	struct page *prev;
	uint16_t nfree;		       /* pages: bits set */
	uint16_t hint;		       /* pages: no bit is set in words below this one */
	uint16_t fresh;		       /* pages: blocks from this one on were never handed out */
	bool idle;		       /* pages: no block came or went since the last tick */
	uint8_t ahead;		       /* pages: grains to get memory for before they are needed */
	bool xfilled;		       /* pages to write: its blocks are taken to be written to */
	uint8_t span_pages;	       /* PAGE_MAPPED, PAGE_CACHED: enum span_pages, as the system
					  was told */
	uint64_t gone;		       /* pages: grains without memory, see thin.c */
	uint64_t xmoving;	       /* lock TRANSFER to write: blocks in the transfer cache */
	uint64_t bits[HAK_PAGE_WORDS]; /* pages: 1 = free */
};

/* What is known of a marked block: one that is sampled, or counted by site. lock: MARKS */
struct mark {
	uint64_t bytes;	 /* requested */
	uint32_t record; /* of the profile, plus 1; 0 none */
	uint16_t site;	 /* in the table of sites, plus 1; 0 none */
	uint8_t live;	 /* false: free, or about to be */
	uint8_t sampled;
};

/*
 * lock: ARENA for every field but the const ones.
 *   zero is a subset of dirty, dirty is a subset of free
 *   listed in run bin b <=> longest run of set bits in `free` is in [2^b, 2^(b+1))
 *   on a dirty queue <=> dirty != 0
 *   on that of whole halves <=> all of a half is free, and some of it dirty
 */
struct segment {
	char *base;				 /* const */
	uint64_t free;				 /* slices not in a page */
	uint64_t dirty;				 /* of them, slices that have memory */
	uint64_t zero;				 /* of those, slices that read as zero */
	uint64_t freed_ms;			 /* last time a slice became dirty */
	struct segment *next, *prev;		 /* run bin */
	struct segment *dirty_next, *dirty_prev; /* dirty queue */
	struct segment *all_next; /* every segment, for hak_check; or the spare ones */
	int8_t bin;		  /* run bin it is in, -1 for none */
	int8_t queue;		  /* dirty queue it is on, -1 for none */
	uint8_t xhuge;		  /* bit i is set: half i got its memory at once; bit i + 2: it
				     did once; see huge.c */
	struct page pages[HAK_SEGMENT_SLICES]; /* descriptor of the page starting at a slice */
};

/*
 * `view` comes first: the counters readers outside the process see, and the hot part of the
 * cache at its beginning. Only `xqueue` is written by other threads while the heap is live.
 */
struct heap {
	struct hak_heap_view view;
	struct page *avail[HAK_CLASS_MAX]; /* pages: with free blocks */
	struct page *full[HAK_CLASS_MAX];  /* pages: without */
	uint64_t left_zero; /* own: bit c is set <=> most blocks of the last refill of c went to
			       calloc, clean */
	uint64_t xavail;    /* pages to write: bit c is set <=> avail[c] */
	uint32_t zeroes[HAK_CLASS_MAX];	   /* own: clean blocks calloc got since its last probe */
	uint64_t seen_full[HAK_CLASS_MAX]; /* own: allocs when the cache was last full */
	uint64_t fresh_at[HAK_CLASS_MAX];  /* own: frees + 1 when all cached blocks were clean, else
					      0 */
	uint32_t flushed[HAK_CLASS_MAX];   /* own: blocks flushed and not missed yet */
	uint32_t regret[HAK_CLASS_MAX];	   /* own: blocks flushed, then missed */
	uint8_t full_again[HAK_CLASS_MAX]; /* own: times it was full since, with no alloc */
	uint64_t seen_shrink[HAK_CLASS_MAX]; /* own: allocs when the arena last shrank */
	uint64_t seen_tick[HAK_CLASS_MAX];   /* own: allocs + frees at the last tick */
	uint64_t seen_end[HAK_CLASS_MAX];    /* own: allocs when the last thread left */
	uint64_t npages;		     /* pages */
	uint64_t out;			     /* pages: sum over pages of capacity - nfree */
	uint64_t out_bytes;		     /* pages: the same in bytes */
	uint64_t held, gone;		     /* pages: bytes of pages; of them, without memory */
	uint64_t thin_least;	 /* pages: bytes of free blocks below which thin.c does not look */
	uint64_t budget_used[2]; /* own: sum over small, big classes of limit * block bytes */
	uint64_t next_tick_ms;	 /* own */
	uint32_t released;	 /* lock: pages released since the last new page or shrink */
	uint32_t slow_ops;	 /* own: slow operations since the clock was read */
	uint32_t victim;	 /* own: class whose limit is cut next */
	uint32_t shrinks;	 /* own: arena_xshrinks as last seen */
	bool cramped[2]; /* own: no small, big class could give up anything since the last tick */
	bool missed[HAK_CLASS_MAX];    /* own: flushed blocks were missed since the last tick */
	uint32_t slots[HAK_CLASS_MAX]; /* own: of the class's stack, without slot 0 */
	void **slot_map;   /* own: stacks that outgrew start_slots; NULL before the first */
	size_t map_used;   /* own: slots of it */
	struct heap *next; /* lock HEAPS: list of idle heaps */
	struct lock pages;
	/* see sample.c; own */
	int64_t sample_left;  /* bytes before the one that is sampled, and it */
	uint64_t sample_mean; /* the binary logarithm of the mean that sample_left was drawn by */
	uint64_t sample_luck; /* state of the random numbers */
	/* HAKMEM_SECURE, see secure.c; own */
	void **waiting; /* freed blocks, NULL before the first */
	uint32_t nwaiting;
	uint64_t waiting_bytes;
	uint64_t luck;	      /* steps of the random numbers */
	uint32_t sample_seen; /* own: turns of the switch that this thread followed */
	uint32_t inside;      /* own: slow operations in progress that hold `pages` */
	uint32_t cursor;      /* own: heap to look at next for a page */
	struct letter *xqueue __attribute__((aligned(HAK_CACHE_LINE))); /* remote frees */
	uint64_t xpending; /* weight of what was pushed on a queue that was not empty, see remote.c
			    */
	void *start_slots[HAK_START_SLOTS] __attribute__((aligned(HAK_CACHE_LINE))); /* own */
} __attribute__((aligned(HAK_CACHE_LINE)));

_Static_assert(offsetof(struct heap, view) == 0, "readers and hot paths rely on it");

#endif
