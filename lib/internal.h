/*
 * Every function that crosses a file of lib/, in layer order: a file calls only what is listed
 * below its own heading (and base, lock, probes, root, die from anywhere).
 */
#ifndef HAK_INTERNAL_H
#define HAK_INTERNAL_H

#include "class.h"
#include "lock.h"
#include "probes.h"
#include "types.h"

extern struct hak_root hakmem_root; /* root.c */

/* options.c */
struct options {
#define X(name, env, def, min, max, unit, meaning) uint64_t name;
#include "options.def"
#undef X
};
extern struct options hak_options;
void options_read(void);

/* free.c: pointers that are not a plain hit */
void *alloc_slow(size_t bytes, struct hak_bin *bin);
void *alloc_aside(size_t bytes, unsigned class);
void *alloc_aligned_aside(size_t alignment, size_t bytes);
void *alloc_large(size_t bytes, size_t alignment);
void *alloc_large_zeroed(size_t bytes);
void *alloc_if_easy(size_t bytes);
void *alloc_at(size_t bytes, const char *site);
void resized_large(struct page *pg, const void *was, size_t bytes);
void *alloc_sampled_large(size_t bytes, size_t alignment);
void free_slow(void *p);
size_t usable_size(const void *p);

/* heap.c: heaps and the threads that use them */
/* bin_tiny: what hak_bin_tiny of class.h says, where the hit path finds it without an address. */
struct hak_thread {
	struct heap *heap; /* &hak_no_heap before the thread's first call and after its end */
	uint16_t bin_tiny[HAK_TINY_STEPS];
};
extern __thread struct hak_thread hak_thread __attribute__((tls_model("initial-exec")));
extern const struct heap hak_no_heap;
extern struct lock heaps_lock;
bool heap_start(void);
struct heap *heap_enter(void);
void heap_leave(struct heap *h);
struct heap *heap_enter_light(void);
void heap_leave_light(struct heap *h);
struct heap *heap_at(uint32_t index);
bool heap_steal(struct heap *me, unsigned class);
void heap_help(struct heap *h);
void heap_fork_before(void);
void heap_fork_parent(void);
void heap_fork_named(void);
void heap_fork_child(void);
bool heap_trim(struct heap *h);
void heap_relieve(void);
unsigned heap_check(void);

/* sample.c: heap samples: when one is due, and who is told */
/* Reasons for requests to leave the hit paths; changes with the switch of sampling. */
#define HAK_DETOUR_SECURE 1U
#define HAK_DETOUR_SAMPLE 2U
extern uint32_t hak_xdetour;
void sample_start(void);
void sample_follow(struct heap *h);
void sample_draw(struct heap *h);
uint64_t sample_due(struct heap *h, size_t bytes);
void sample_taken(void *p, struct mark *m, uint64_t weight);
void sample_freed(const void *p, const struct mark *m);

/* HAKMEM_PROFILE; beside the semaphores, for one cache line. */
extern unsigned short hak_sample_always;

/* Whether anybody wants samples now. The system changes it, hence looked at in slow operations. */
HAK_INLINE bool sample_wanted(void)
{
	return hak_watched(otel_memory, alloc) | hak_sample_always;
}

/* The switch was turned, and this thread has not followed yet. */
HAK_INLINE bool sample_turned(const struct heap *h)
{
	return sample_wanted() != (h->sample_seen & 1);
}

/* Sampling is on. False: this request is one to be sampled; nothing was counted. */
HAK_INLINE bool sample_counts_down(struct heap *h, size_t bytes)
{
	int64_t left = h->sample_left - (int64_t)(bytes ? bytes : 1);

	if (unlikely(left <= 0))
		return false;
	h->sample_left = left;
	return true;
}

/* secure.c: what HAKMEM_SECURE=1 does in place of the thread caches */
void *secure_alloc(size_t bytes, size_t alignment);
void secure_free(void *p);
void *secure_realloc(void *p, size_t bytes);
size_t secure_usable(const void *p);
void secure_flush(struct heap *h);

/* Requests do not go to the thread cache right away. The options are read with the first heap. */
HAK_INLINE bool is_detour(void)
{
	return unlikely(peek(&hak_xdetour)) ||
	       (unlikely(hak_thread.heap == &hak_no_heap) && heap_start());
}

/* cache.c: thread caches */
bool cache_find_page(struct heap *h, unsigned class, enum hak_source *source);
void cache_count_alloc(struct heap *h, unsigned class, enum hak_source source);
void cache_count_free(struct heap *h, unsigned class);
void cache_count_given(struct heap *h, unsigned class, enum hak_flush_reason reason);
bool cache_unhurry(struct heap *h, unsigned class);
void cache_hurry(struct heap *h);
bool cache_was_fresh(unsigned class);
void *cache_refill_alloc(struct heap *h, unsigned class);
void cache_free_full(struct heap *h, void *p, unsigned class);
void cache_init(struct heap *h);
void cache_flush_all(struct heap *h, enum hak_flush_reason reason);
void cache_next_thread(struct heap *h);
void cache_flush_idle(struct heap *h);
void cache_flush_shrinking(struct heap *h);
void cache_large_alloc(struct heap *h, size_t bytes, bool hit);
void cache_large_free(struct heap *h, size_t bytes);
unsigned cache_check(const struct heap *h);

/* remote.c: blocks on their way home */
void remote_give(struct heap *h, void **blocks, uint64_t n, enum hak_flush_reason why);
void remote_send_home(struct heap *h, void **blocks, uint64_t n);
unsigned remote_drain(struct heap *h);

/* transfer.c: blocks that others than their owners may take on the way */
#define HAK_TRANSFER_LEAST 2048U /* bytes: smaller blocks travel by the letter for less */
uint32_t transfer_give(struct page *pg, void **blocks, uint32_t n, uint32_t *sent);
uint32_t transfer_take(struct heap *h, unsigned class, uint32_t want, void **out);
void transfer_tick(struct heap *h, uint64_t now_ms);
void transfer_trim(struct heap *h);
void transfer_each_lock(void (*visit)(struct lock *l));
unsigned transfer_check(void);

/* page.c: pages of a heap */
/* True if p, which lies in the page, is the start of a block; *k its index. */
HAK_INLINE bool page_index(const struct page *pg, const void *p, size_t *k)
{
	*k = (size_t)(((uint64_t)((const char *)p - pg->start) * pg->reciprocal) >> 32);
	return *k < pg->capacity && pg->start + *k * pg->block_bytes == (const char *)p;
}
bool page_new(struct heap *h, unsigned class, enum hak_source *source);
unsigned page_take(struct heap *h, unsigned class, unsigned want, void **out, bool *clean);
void *page_take_any(struct heap *h, unsigned class, uint64_t luck);
void page_give(struct heap *h, struct page *pg, void **blocks, uint32_t n,
	       enum hak_flush_reason why);
bool page_give_mask(struct heap *h, struct page *pg, size_t word, uint64_t mask,
		    enum hak_flush_reason why);
void page_release_empty(struct heap *h, enum hak_flush_reason why);
int64_t page_steal(struct heap *to, struct heap *from, unsigned class);
unsigned page_check(const struct heap *h);

/* thin.c: memory of free blocks in pages in use */
void thin_begin(struct heap *h, struct page *pg, bool clean);
void thin_join(struct heap *h, const struct page *pg);
void thin_leave(struct heap *h, const struct page *pg);
void thin_touch(struct heap *h, struct page *pg, size_t first, size_t last);
void thin_all(struct heap *h, enum hak_os_reason why);
void thin_for_page(struct heap *h);
unsigned thin_check(const struct heap *h);

/* run.c: blocks that are runs of slices */
#define HAK_RUNS_MAX 16U /* at once */
unsigned run_take(unsigned class, unsigned want, void **out, enum hak_source *source, bool *clean);
unsigned run_give(void **blocks, uint64_t n, enum hak_flush_reason why);

/* marked.c: pages of blocks whose frees are looked at */
void *marked_take(unsigned class, const struct mark *m, enum hak_source *source);
bool marked_claim(struct page *pg, void *p, struct mark *m);
void marked_give(struct page *pg, void *p);
size_t marked_usable(const struct page *pg, const void *p);
bool marked_set_large(struct page *pg, const struct mark *m);
bool marked_clear_large(struct page *pg, struct mark *m);
void marked_record(struct page *pg, const void *p, uint32_t record);
unsigned marked_check(void);
extern struct lock marks_lock;

/* profile.c: the sampled blocks that live, for readers outside; site.c: counts by site */
uint32_t profile_add(const void *p, uint64_t bytes, uint64_t weight);
void profile_remove(uint32_t record);
uint16_t site_alloc(const char *name, size_t bytes);
uint16_t site_again(uint16_t site, size_t bytes);
HAK_INLINE bool site_watched(void)
{
	return hak_watched(hakmem, watch_sites) || hak_options.profile;
}
void site_free(uint16_t site, size_t bytes);

/* guarded.c: spans between guard pages, for secure.c */
struct page *guarded_alloc(size_t bytes, size_t alignment);
void guarded_free(struct page *pg);
bool guarded_purge(void);

/* large.c: blocks above HAK_SMALL_MAX */
struct page *large_alloc(size_t bytes, size_t alignment, bool *hit);
void large_free(struct page *pg);
bool large_resize(struct page *pg, size_t bytes);
char *large_map(size_t need, size_t alignment);
bool large_purge(uint64_t now_ms, enum hak_os_reason why);
extern struct lock large_lock;

/* arena.c: segments and runs of slices */
unsigned arena_alloc(unsigned slices, unsigned want, struct page **out, enum hak_source *source,
		     bool *zero);
void arena_free(struct page **pages, unsigned n);
bool arena_purge(uint64_t now_ms, enum hak_os_reason why);
bool arena_unmap_unused(void);
bool arena_is_over(void);
bool arena_lock_to_purge(struct lock *l, enum hak_os_reason why);
void arena_purge_begins(void);
void arena_purge_ends(void);
void arena_fork_before(void);
unsigned arena_check(void);
extern struct lock arena_lock;
/* Times unused memory exceeded its limit: the process is shrinking, caches should follow. */
extern uint32_t arena_xshrinks;
/* Unused memory exceeded its limit, and nobody has given it back since. */
extern uint32_t arena_xover;
/*
 * Bytes in use that have no memory: what is gone of pages, see thin.c, and of each block that is a
 * run half a slice: so much is left over at its end, on average, which nobody touches.
 */
extern uint64_t arena_xuntouched;
extern struct segment *arena_segments; /* lock ARENA: every one, by all_next */

/* limit.c; any thread, bytes */
size_t limit_in_use(void);
size_t limit_excess(unsigned quarters);
bool limit_parts_too(unsigned quarters);
size_t limit_room(void);
void limit_note_given(size_t bytes);
void limit_note_taken(size_t bytes);
void limit_ease(uint64_t now_ms, enum hak_os_reason why);

/* huge.c */
bool huge_begin(const struct segment *s, unsigned first, unsigned slices, unsigned *at);
bool huge_fill(struct segment *s, unsigned at);
void huge_end(void);
void huge_note_given(size_t bytes);
void huge_leave(struct segment *s, uint64_t slices);
void huge_forget(struct segment *s);
bool huge_wanted(void);
bool huge_is_dense(const char *p, size_t bytes);
bool huge_heap_grows(void);

/* span.c */
enum span_pages { SPAN_ANY, SPAN_HUGE, SPAN_PLAIN };
void span_mapped(struct page *pg);
void span_grown(struct page *pg, size_t part, const char *from);
void span_freed(const struct page *pg);
void span_cut(const struct page *pg);
void span_gone(char *start, size_t bytes);
size_t span_alignment(size_t bytes);

/* segment.c: the masks of a segment; arena lock held */
int segment_find_in(uint64_t mask, unsigned slices);
int segment_find(const struct segment *s, unsigned slices);
int segment_bin(uint64_t mask);
HAK_INLINE uint64_t segment_mask(unsigned first, unsigned slices)
{
	return ~(uint64_t)0 >> (HAK_SEGMENT_SLICES - slices) << first;
}

/* pagemap.c (and pagemap.h): address -> class, page */

/* meta.c: memory for metadata, never returned */
void *meta_alloc(size_t bytes);
struct page *meta_page_new(void);
void meta_page_free(struct page *pg);
extern struct lock meta_lock;

/* os.c: the only file that makes system calls; no policy; errno is kept */
void os_check_page(void);
void *os_map(size_t bytes, enum hak_os_reason why);
size_t os_ram_bytes(void);
size_t os_space_limit(void);
void *os_reserve(size_t bytes);
bool os_commit(void *p, size_t bytes);
void *os_map_at(void *hint, size_t bytes, enum hak_os_reason why);
void *os_map_guarded(size_t bytes, enum hak_os_reason why);
void os_unmap_guarded(void *p, size_t bytes, enum hak_os_reason why);
bool os_guard(void *p, size_t bytes);
void os_hide(void *p, size_t bytes);
void os_unmap(void *p, size_t bytes, enum hak_os_reason why);
void os_settle(unsigned most);
bool os_fill(void *p, size_t bytes, enum hak_os_reason why);
bool os_may_fill(void);
void os_huge(void *p, size_t bytes);
void os_plain(void *p, size_t bytes);
void os_split(void *p);
bool os_purge(void *p, size_t bytes, enum hak_os_reason why);
bool os_move(void *from, size_t old_bytes, void *to, size_t new_bytes, bool *to_is_gone);
uint64_t os_random(void);
long os_write(int fd, const void *text, size_t bytes);
void os_yield(void);
uint64_t os_now_ns(void);
uint64_t os_now_ms(void);
uint32_t os_tid(void);
uint32_t os_pid(void);
void os_futex(uint32_t *word, int op, uint32_t value);
bool os_can_read(const void *p);
bool os_holds_data(const void *p);

/* syscall.c: the way into the kernel; what it returns, a negative errno where it refuses */
long os_call(long number, long a, long b, long c, long d, long e, long f);

/* secret.c: what nobody outside the process can guess */
extern uint64_t hak_secret, hak_letter_key;
void secret_init(void);
/* A number that looks random to who does not know the secret. */
HAK_INLINE uint64_t secret_of(const void *p)
{
	uint64_t x = ((uintptr_t)p ^ hak_secret) * 0x9E3779B97F4A7C15U;

	x ^= x >> 32;
	x *= 0xD6E8FEB86659FD93U;
	return x ^ x >> 29;
}

/* root.c: what outside readers start from */
void root_init(void);

/* fork.c */
void fork_init(void);

/* die.c: one line on stderr by write(2), then abort */
void hak_misuse(const void *p, enum hak_misuse kind, const char *who);
void hak_say(const char *text, uint64_t number, const char *more);
void *hak_oom(size_t bytes, enum hak_oom_reason why);

HAK_INLINE void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
