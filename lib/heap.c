/*
 * Heaps and threads. A heap is never destroyed: when its thread ends it is flushed and idle, and
 * waits for a new thread, which goes on with it and its pages. Living threads that run out of
 * blocks take pages from it, one at a time, and from each other what is mostly empty.
 *
 * A heap's pages are under its lock. Its own thread takes it in every slow operation, nearly
 * always free and in its cache; others only try it: to take a page before asking the arena for
 * one, or to empty the queue of a heap whose thread is gone or sleeps.
 */
#include "internal.h"
#include "pagemap.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

__thread struct hak_thread hak_thread __attribute__((tls_model("initial-exec"))) = {
	.heap = (struct heap *)(uintptr_t)&hak_no_heap,
	.bin_tiny = HAK_BIN_TINY,
};
static __thread uint8_t exit_rounds __attribute__((tls_model("initial-exec")));
static __thread bool thread_ended __attribute__((tls_model("initial-exec")));

static void *const no_block;

/* What threads without a heap point to: no class ever hits, and nothing is written. */
const struct heap hak_no_heap = {
	.view.bin = {[0 ... HAK_CLASS_MAX - 1] = {.top = (void **)(uintptr_t)&no_block}},
};

struct lock heaps_lock = {.id = HAK_LOCK_HEAPS};

static struct heap *idle; /* lock HEAPS: heaps without a thread, newest first */
static pthread_key_t exit_key;
static bool has_exit_key; /* else threads borrow a heap for each operation */
static uint32_t xstarted; /* 0 not, 1 being, 2 done */

#define SHRINK_PAGES 64U /* pages released in a row, without a new one */
#define TICK_OPS 4U	 /* slow operations between looks at the clock */

struct heap *heap_at(uint32_t index)
{
	uint32_t first = 0;

	for (unsigned k = 0; k < HAK_HEAP_CHUNKS; k++) {
		uint32_t n = HAK_HEAP_FIRST << k;

		if (index - first < n)
			return (struct heap *)(uintptr_t)hakmem_root.heap_chunk[k] +
			       (index - first);
		first += n;
	}
	return NULL;
}

/* A slow operation that changes counts only. */
static void begin_change(struct heap *h)
{
	poke(&h->view.seq.busy, h->view.seq.busy + 1);
	count_order();
}

static void end_change(struct heap *h)
{
	poke(&h->view.seq.changes, h->view.seq.changes + 1);
	/* release: who sees it unbusy sees what was done */
	store_release(&h->view.seq.busy, h->view.seq.busy - 1);
}

/* Only the heap's thread changes `inside`: more than 0, and it has the lock already. */
static void enter(struct heap *h)
{
	if (likely(!h->inside))
		lock_take(&h->pages);
	h->inside++;
	begin_change(h);
	if (unlikely(sample_turned(h) || h->sample_seen & 1))
		sample_follow(h);
}

static void leave(struct heap *h)
{
	end_change(h);
	if (likely(--h->inside == 0))
		lock_drop(&h->pages);
}

/* Position of a heap's chunk and the heaps before it. */
static unsigned chunk_of(uint32_t index, uint32_t *first)
{
	unsigned k = 0;

	*first = 0;
	while (index - *first >= HAK_HEAP_FIRST << k)
		*first += HAK_HEAP_FIRST << k++;
	return k;
}

/* Makes sure the chunk for the next heap is there; called without the lock. */
static bool reserve_chunk(uint32_t index)
{
	uint32_t first;
	unsigned k = chunk_of(index, &first);
	void *chunk;

	if (k >= HAK_HEAP_CHUNKS)
		return false;
	chunk = meta_alloc(sizeof(struct heap) * (HAK_HEAP_FIRST << k));
	if (!chunk)
		return false;
	lock_take(&heaps_lock);
	if (!hakmem_root.heap_chunk[k]) /* else another thread was first: ours is lost, once */
		hakmem_root.heap_chunk[k] = (uintptr_t)chunk;
	lock_drop(&heaps_lock);
	return true;
}

/* An idle heap, or a new one; NULL if the chunk for it is missing. Lock held. */
static struct heap *pick_locked(uint32_t *missing)
{
	struct heap *h = idle;
	uint32_t first;
	unsigned k;

	if (h) {
		idle = h->next;
		__atomic_store_n(&h->view.state, HAK_HEAP_LIVE, __ATOMIC_SEQ_CST);
		return h;
	}
	*missing = hakmem_root.heaps;
	k = chunk_of(*missing, &first);
	if (k >= HAK_HEAP_CHUNKS || !hakmem_root.heap_chunk[k])
		return NULL;
	h = heap_at(*missing);
	h->view.index = *missing;
	h->cursor = *missing;
	h->pages.id = HAK_LOCK_HEAP;
	cache_init(h);
	/* release: a reader that sees the count sees the heap */
	store_release(&hakmem_root.heaps, *missing + 1);
	return h;
}

static struct heap *pick(void)
{
	for (;;) {
		uint32_t missing = 0;
		struct heap *h;

		lock_take(&heaps_lock);
		h = pick_locked(&missing);
		lock_drop(&heaps_lock);
		if (h || !reserve_chunk(missing))
			return h;
	}
}

static void count_adoption(const struct heap *me, const struct heap *from, uint64_t pages,
			   uint64_t live)
{
	if (!pages)
		return;
	add_relaxed(&hakmem_root.os.adopts, 1);
	add_relaxed(&hakmem_root.os.adopted_pages, pages);
	hak_probe_hakmem_adopt(me->view.tid, (uintptr_t)from, (uint32_t)pages, live);
}

/* Blocks wait for a thread that is gone. seq_cst, as the sides that make it so. */
static bool is_left_alone(const struct heap *h)
{
	return load_seq_cst(&h->xqueue) && load_seq_cst(&h->view.state) != HAK_HEAP_LIVE;
}

#define HELP_DEPTH 8U /* heaps helped one from within the other: 0.6 KiB of stack each */

/* The lock of h is held: nobody else empties its queue. */
static void drain_other(struct heap *h)
{
	if (peek(&h->xqueue))
		hak_probe_hakmem_remote_help(peek(&h->view.tid));
	remote_drain(h);
}

/*
 * Sorts in what is on the queue of h, for a thread that is gone or does not come to it. If
 * somebody else holds the lock he will see what was pushed: the owner at his next refill, others
 * by looking again after dropping it. Both sides use seq_cst.
 */
void heap_help(struct heap *h)
{
	static __thread uint8_t depth __attribute__((tls_model("initial-exec")));

	if (depth == HELP_DEPTH)
		return; /* until somebody else has blocks for h, or takes it over */
	depth++;
	do {
		if (!lock_try(&h->pages))
			break;
		drain_other(h);
		if (peek(&h->view.state) != HAK_HEAP_LIVE)
			page_release_empty(h, HAK_FLUSH_REMOTE_FREE);
		lock_drop(&h->pages);
	} while (is_left_alone(h));
	depth--;
}

/* The lock of another heap, taken for something else: who failed in lock_try relies on us. */
static void drop_other(struct heap *h)
{
	lock_drop(&h->pages);
	if (unlikely(is_left_alone(h)))
		heap_help(h);
}

static bool steal_from(struct heap *me, struct heap *from, unsigned class)
{
	int64_t live;

	if (from == me || !(peek(&from->xavail) >> class & 1) || !lock_try(&from->pages))
		return false;
	live = page_steal(me, from, class);
	drop_other(from);
	if (live < 0)
		return false;
	count_adoption(me, from, 1, (uint64_t)live);
	return true;
}

#define SCAN_HEAPS 16U /* heaps looked at before the arena is asked */

/* A page of the class from another heap. False: none found nearby. */
bool heap_steal(struct heap *me, unsigned class)
{
	uint32_t n = load_acquire(&hakmem_root.heaps), scan = n < SCAN_HEAPS ? n : SCAN_HEAPS;

	for (uint32_t i = 0; i < scan; i++) {
		if (me->cursor >= n)
			me->cursor = 0;
		/* stays at a heap that had one: it may have more */
		if (steal_from(me, heap_at(me->cursor), class))
			return true;
		me->cursor++;
	}
	return false;
}

/*
 * What is unused beyond its limit goes back to the system; no lock held. seq_cst: somebody may have
 * left it to us because we had a lock; and whose word we take away, his memory we see.
 */
static void purge_excess(void)
{
	if (likely(!load_seq_cst(&arena_xover)))
		return;
	__atomic_exchange_n(&arena_xover, 0, __ATOMIC_SEQ_CST);
	large_purge(0, HAK_OS_LIMIT);
	arena_purge(0, HAK_OS_LIMIT);
}

/*
 * The thread leaves its heap. A sender may have looked at the state before we changed it, and
 * left its blocks to us: either it sees the new state or we see the blocks.
 */
static void give_back(struct heap *h)
{
	cache_flush_all(h, HAK_FLUSH_EXIT);
	cache_next_thread(h);
	remote_drain(h);
	page_release_empty(h, HAK_FLUSH_EXIT);
	hak_probe_hakmem_thread_exit(h->view.tid, (uintptr_t)h);
	leave(h);
	lock_take(&heaps_lock);
	h->next = idle;
	idle = h;
	__atomic_store_n(&h->view.state, HAK_HEAP_IDLE, __ATOMIC_SEQ_CST);
	lock_drop(&heaps_lock);
	if (load_seq_cst(&h->xqueue))
		heap_help(h);
}

/*
 * Destructors of other keys may run after ours and use the allocator: ours asks for another
 * round as long as the C library grants one, but for the last, where sanitizers tear down what
 * they know of the thread. What runs after that borrows a heap per call.
 */
static void on_thread_exit(void *arg)
{
	struct heap *h = arg;

	if (++exit_rounds < PTHREAD_DESTRUCTOR_ITERATIONS - 1 && !pthread_setspecific(exit_key, h))
		return;
	hak_thread.heap = (struct heap *)(uintptr_t)&hak_no_heap;
	thread_ended = true;
	enter(h);
	give_back(h);
	purge_excess();
}

/* Once per process, before its first allocation. */
static void start(void)
{
	uint32_t fresh = 0;

	if (likely(load_acquire(&xstarted) == 2))
		return;
	if (!__atomic_compare_exchange_n(&xstarted, &fresh, 1, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_ACQUIRE)) {
		while (load_acquire(&xstarted) != 2)
			os_yield();
		return;
	}
	os_check_page();
	options_read();
	secret_init();
	root_init();
	pagemap_init();
	sample_start();
	has_exit_key = !pthread_key_create(&exit_key, on_thread_exit);
	store_release(&xstarted, 2);
}

/* True if requests are not to go to the thread cache right away. */
bool heap_start(void)
{
	start();
	return peek(&hak_xdetour) != 0;
}

static struct heap *begin(void)
{
	struct heap *h;

	start();
	h = pick();
	if (!h)
		return NULL;
	count_set(&h->view.tid, os_tid());
	count_add(&h->view.starts, 1);
	hak_probe_hakmem_thread_start(h->view.tid, (uintptr_t)h);
	h->sample_seen = 0; /* as far as a new thread is */
	/* nobody would take it from the thread at its end: borrowed for one operation */
	if (unlikely(thread_ended || !has_exit_key))
		return h;
	hak_thread.heap = h;
	/* these may allocate, which works from here on */
	if (unlikely(pthread_setspecific(exit_key, h)))
		hak_thread.heap = (struct heap *)(uintptr_t)&hak_no_heap;
	fork_init();
	return h;
}

/* The thread's heap for a slow operation, locked; NULL when out of memory. errno is kept. */
struct heap *heap_enter(void)
{
	struct heap *h = hak_thread.heap;
	int saved;

	if (likely(h != &hak_no_heap)) {
		enter(h);
		return h;
	}
	saved = errno;
	h = begin();
	errno = saved;
	if (!h)
		return NULL;
	enter(h);
	count_adoption(h, h, h->npages, h->out);
	return h;
}

/* This thread, or the process, has been giving memory back for a while. */
static bool shrinking(const struct heap *h)
{
	return peek(&h->released) >= SHRINK_PAGES || peek(&h->shrinks) != peek(&arena_xshrinks);
}

/* Looked at once in TICK_OPS operations. */
static bool is_due(struct heap *h)
{
	h->slow_ops = os_now_ms() < h->next_tick_ms ? 0 : TICK_OPS;
	return h->slow_ops != 0;
}

/* Of heaps without a thread, one after the other. */
static void thin_one_idle(void)
{
	static uint32_t xnext; /* a lost count does no harm */
	uint32_t next = peek(&xnext), n = load_acquire(&hakmem_root.heaps);
	struct heap *h = heap_at(next % n);

	poke(&xnext, next + 1);
	if (peek(&h->view.state) != HAK_HEAP_IDLE || !lock_try(&h->pages))
		return;
	thin_all(h, HAK_OS_DECAY);
	drop_other(h);
}

/* Decay: what was not used for a while goes one layer down. When that was. */
static uint64_t tick(struct heap *h)
{
	uint64_t now = os_now_ms();

	h->next_tick_ms = now + hak_options.decay_ms;
	if (peek(&h->xqueue))
		remote_drain(h);
	cache_flush_idle(h);
	transfer_tick(h, now);
	page_release_empty(h, HAK_FLUSH_TRIM);
	thin_all(h, HAK_OS_DECAY);
	thin_one_idle();
	return now;
}

/*
 * The same for an operation that does not touch the heap's pages: without its lock. Only for a
 * thread that has a heap: NULL otherwise.
 */
struct heap *heap_enter_light(void)
{
	struct heap *h = hak_thread.heap;

	if (unlikely(h == &hak_no_heap))
		return NULL;
	begin_change(h);
	return h;
}

void heap_leave_light(struct heap *h)
{
	end_change(h);
	if (unlikely(shrinking(h) || (++h->slow_ops >= TICK_OPS && is_due(h)))) {
		enter(h);
		heap_leave(h);
	} else {
		purge_excess();
	}
}

void heap_leave(struct heap *h)
{
	uint64_t ticked = 0;

	if (unlikely(shrinking(h))) {
		cache_flush_shrinking(h);
		page_release_empty(h, HAK_FLUSH_TRIM);
		poke(&h->shrinks, peek(&arena_xshrinks));
		poke(&h->released, 0);
	}
	if (unlikely(++h->slow_ops >= TICK_OPS) && is_due(h))
		ticked = tick(h);
	if (unlikely(h != hak_thread.heap))
		give_back(h);
	else
		leave(h);
	if (unlikely(ticked)) {
		large_purge(ticked, HAK_OS_DECAY);
		arena_purge(ticked, HAK_OS_DECAY);
	}
	purge_excess();
}

bool heap_trim(struct heap *h)
{
	bool any;

	cache_flush_all(h, HAK_FLUSH_TRIM);
	transfer_trim(h);
	for (uint32_t i = 0, n = load_acquire(&hakmem_root.heaps); i < n; i++) {
		struct heap *other = heap_at(i);

		if (other == h || !lock_try(&other->pages))
			continue;
		drain_other(other);
		page_release_empty(other, HAK_FLUSH_TRIM);
		thin_all(other, HAK_OS_TRIM);
		drop_other(other);
	}
	remote_drain(h);
	page_release_empty(h, HAK_FLUSH_TRIM);
	thin_all(h, HAK_OS_TRIM);
	any = large_purge(0, HAK_OS_TRIM);
	os_settle(UINT_MAX);
	return arena_purge(0, HAK_OS_TRIM) || any;
}

/* The system refuses memory: what is unused goes back to it, with its address space. */
void heap_relieve(void)
{
	struct heap *h = heap_enter();

	if (h) {
		heap_trim(h);
		heap_leave(h);
	}
	arena_unmap_unused();
}

static uint32_t n_forked; /* lock HEAPS: heaps whose locks are held over a fork */

/* In the middle of a slow operation (fork from a signal handler) its lock is not ours to drop. */
static bool is_forked(const struct heap *h)
{
	return h != hak_thread.heap || !h->inside;
}

/* All heaps' locks: nobody is caught in a slow operation, but for those on large blocks. */
void heap_fork_before(void)
{
	lock_hold_over_fork(&heaps_lock);
	n_forked = hakmem_root.heaps;
	for (uint32_t i = 0; i < n_forked; i++)
		if (is_forked(heap_at(i)))
			lock_hold_over_fork(&heap_at(i)->pages);
}

void heap_fork_parent(void)
{
	uint32_t n = n_forked;

	lock_drop_after_fork(&heaps_lock);
	for (uint32_t i = 0; i < n; i++) {
		struct heap *h = heap_at(i);

		if (!is_forked(h))
			continue;
		lock_drop_after_fork(&h->pages);
		if (is_left_alone(h))
			heap_help(h);
	}
}

/*
 * A heap whose thread is not in the child. It may have been in the middle of a free or an
 * operation on a large block; what that leaves unsaid is whether cached blocks are clean.
 */
static void adopt_in_child(struct heap *h)
{
	lock_reset(&h->pages);
	h->inside = 0;
	poke(&h->view.seq.busy, 0);
	memset(h->fresh_at, 0, sizeof(h->fresh_at));
	h->next = idle;
	idle = h;
	poke(&h->view.state, HAK_HEAP_IDLE);
}

/* The child is another process, its thread another thread. */
void heap_fork_named(void)
{
	struct heap *me = hak_thread.heap;

	hakmem_root.pid = os_tid();
	if (me != &hak_no_heap)
		count_set(&me->view.tid, os_tid());
}

/* In the child only the forking thread exists: the heaps of the others are idle. */
void heap_fork_child(void)
{
	struct heap *me = hak_thread.heap;

	lock_reset(&heaps_lock);
	idle = NULL;
	for (uint32_t i = 0; i < hakmem_root.heaps; i++)
		if (heap_at(i) != me)
			adopt_in_child(heap_at(i));
	if (me == &hak_no_heap)
		return;
	if (is_forked(me))
		lock_reset(&me->pages);
	for (uint32_t i = 0; i < hakmem_root.heaps; i++)
		if (is_left_alone(heap_at(i)))
			heap_help(heap_at(i));
}

/* Heaps in use by others right now are left out; caches only of heaps without a thread. */
unsigned heap_check(void)
{
	struct heap *me = hak_thread.heap;
	unsigned bad = 0;

	lock_take(&heaps_lock); /* no idle heap gets a thread meanwhile */
	for (uint32_t i = 0; i < hakmem_root.heaps; i++) {
		struct heap *h = heap_at(i);

		if (!lock_try(&h->pages))
			continue;
		bad += page_check(h) + thin_check(h);
		if (h == me || h->view.state == HAK_HEAP_IDLE)
			bad += cache_check(h);
		drop_other(h);
	}
	lock_drop(&heaps_lock);
	bad += transfer_check();
	if (bad)
		hak_say("check: heaps break invariants: ", bad, "");
	return bad;
}

__attribute__((constructor(101))) static void at_load(void)
{
	struct heap *h = heap_enter();

	if (h)
		heap_leave(h);
}

/*
 * The main thread's caches go home at exit: a block freed twice that nobody asked for again is
 * found now, and the sums of the flush probes are complete. The heap stays usable for what runs
 * after us.
 */
__attribute__((destructor)) static void at_exit(void)
{
	struct heap *h = hak_thread.heap;

	/* busy: exit was called from a signal handler, in the middle of a slow operation */
	if (h == &hak_no_heap || peek(&h->view.seq.busy))
		return;
	h = heap_enter();
	cache_flush_all(h, HAK_FLUSH_EXIT);
	heap_leave(h);
}
