/*
 * Heaps and threads. A heap is never destroyed: when its thread ends it is flushed and waits,
 * with its pages, for a new thread (which goes on with it) or for a living one that runs out of
 * blocks or frees into it (which merges its pages into its own heap).
 *
 *   LIVE -> ABANDONED (pages) or IDLE (none) -> LIVE by a new thread
 *                                            -> CLAIMED -> IDLE by a merge
 */
#include "internal.h"
#include "pagemap.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

__thread struct hak_thread hak_thread __attribute__((tls_model("initial-exec"))) = {
	.heap = (struct heap *)(uintptr_t)&hak_no_heap,
	.bin_tiny = HAK_BIN_TINY,
};
static __thread bool thread_ended __attribute__((tls_model("initial-exec")));

static void *const no_block;

/* What threads without a heap point to: no class ever hits, and nothing is written. */
const struct heap hak_no_heap = {
	.view.bin = {[0 ... HAK_CLASS_MAX - 1] = {.top = (void **)(uintptr_t)&no_block}},
};

struct lock heaps_lock = {.id = HAK_LOCK_HEAPS};

static struct heap *waiting[2]; /* lock HEAPS: abandoned, idle */
static uint32_t xabandoned;	/* heaps in waiting[0] */
static pthread_key_t exit_key;
static uint32_t xstarted; /* 0 not, 1 being, 2 done */

#define SHRINK_PAGES 64U /* pages released in a row, without a new one */
#define TICK_OPS 64U	 /* slow operations between looks at the clock */

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

static void wait_push(struct heap *h)
{
	bool idle = h->npages == 0;
	struct heap **list = &waiting[idle];

	__atomic_store_n(&h->view.state, idle ? HAK_HEAP_IDLE : HAK_HEAP_ABANDONED,
			 __ATOMIC_SEQ_CST);
	h->prev = NULL;
	h->next = *list;
	if (h->next)
		h->next->prev = h;
	*list = h;
	if (!idle)
		add_relaxed(&xabandoned, 1);
}

static void wait_remove(struct heap *h, enum hak_heap_state state)
{
	bool idle = h->view.state == HAK_HEAP_IDLE;

	if (h->prev)
		h->prev->next = h->next;
	else
		waiting[idle] = h->next;
	if (h->next)
		h->next->prev = h->prev;
	if (!idle)
		sub_relaxed(&xabandoned, 1);
	__atomic_store_n(&h->view.state, state, __ATOMIC_SEQ_CST);
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

/* A heap that waits, or a new one; NULL if the chunk for it is missing. Lock held. */
static struct heap *pick_locked(uint32_t *missing)
{
	struct heap *h = waiting[0] ? waiting[0] : waiting[1];
	uint32_t first;
	unsigned k;

	if (h) {
		wait_remove(h, HAK_HEAP_LIVE);
		return h;
	}
	*missing = hakmem_root.heaps;
	k = chunk_of(*missing, &first);
	if (k >= HAK_HEAP_CHUNKS || !hakmem_root.heap_chunk[k])
		return NULL;
	h = heap_at(*missing);
	h->view.index = *missing;
	cache_init(h);
	/* release: a reader that sees the count sees the heap */
	store_release(&hakmem_root.heaps, *missing + 1);
	return h;
}

static struct heap *pick(void)
{
	for (;;) {
		uint32_t missing;
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

/*
 * A heap that was given back goes to the list; blocks that arrived while we did so are ours to
 * fetch, since the sender may have looked at the state before we changed it. Both sides use
 * seq_cst: either the sender sees the new state or we see its blocks.
 */
static void put_waiting(struct heap *h)
{
	for (;;) {
		lock_take(&heaps_lock);
		wait_push(h);
		lock_drop(&heaps_lock);
		if (!__atomic_load_n(&h->xqueue, __ATOMIC_SEQ_CST))
			return;
		lock_take(&heaps_lock);
		if (h->view.state != HAK_HEAP_ABANDONED && h->view.state != HAK_HEAP_IDLE) {
			lock_drop(&heaps_lock);
			return; /* taken already: its new user drains it */
		}
		wait_remove(h, HAK_HEAP_CLAIMED);
		lock_drop(&heaps_lock);
		remote_drain(h);
	}
}

static void merge(struct heap *me, struct heap *from)
{
	uint64_t pages, live;

	cache_flush_all(from, HAK_FLUSH_EXIT); /* only after a fork is anything left in it */
	pages = from->npages;
	live = from->out;
	page_move_all(me, from);
	count_adoption(me, from, pages, live);
	if (peek(&from->xqueue))
		remote_drain(from); /* its blocks are ours now: they come to our queue */
	put_waiting(from);
}

bool heap_adopt_any(struct heap *me)
{
	struct heap *from;

	if (likely(!peek(&xabandoned)))
		return false;
	lock_take(&heaps_lock);
	from = waiting[0];
	if (from)
		wait_remove(from, HAK_HEAP_CLAIMED);
	lock_drop(&heaps_lock);
	if (!from)
		return false;
	merge(me, from);
	if (peek(&me->xqueue))
		remote_drain(me);
	return true;
}

/* Blocks were sent to a heap without a thread: its pages and its queue become ours. */
void heap_rescue(struct heap *me, struct heap *from)
{
	bool ours;

	lock_take(&heaps_lock);
	ours = from != me &&
	       (from->view.state == HAK_HEAP_ABANDONED || from->view.state == HAK_HEAP_IDLE);
	if (ours)
		wait_remove(from, HAK_HEAP_CLAIMED);
	lock_drop(&heaps_lock);
	if (ours)
		merge(me, from);
}

static void give_back(struct heap *h)
{
	cache_flush_all(h, HAK_FLUSH_EXIT);
	remote_drain(h);
	page_release_empty(h, HAK_FLUSH_EXIT);
	hak_probe_hakmem_thread_exit(h->view.tid, (uintptr_t)h);
	poke(&h->xbusy, 0);
	put_waiting(h);
}

static void on_thread_exit(void *arg)
{
	struct heap *h = arg;

	hak_thread.heap = (struct heap *)(uintptr_t)&hak_no_heap;
	thread_ended = true;
	poke(&h->xbusy, 1);
	give_back(h);
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
			sched_yield();
		return;
	}
	options_read();
	root_init();
	pagemap_init();
	pthread_key_create(&exit_key, on_thread_exit);
	store_release(&xstarted, 2);
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
	count_adoption(h, h, h->npages, h->out);
	if (thread_ended) /* its destructors have run: borrowed for one operation */
		return h;
	hak_thread.heap = h;
	/* these may allocate, which works from here on */
	pthread_setspecific(exit_key, h);
	fork_init();
	return h;
}

/* The thread's heap for a slow operation, NULL when out of memory. errno is kept. */
struct heap *heap_enter(void)
{
	struct heap *h = hak_thread.heap;
	int saved = errno;

	if (unlikely(h == &hak_no_heap))
		h = begin();
	errno = saved;
	if (h)
		poke(&h->xbusy, h->xbusy + 1);
	return h;
}

/* This thread, or the process, has been giving memory back for a while. */
static bool shrinking(const struct heap *h)
{
	return h->released >= SHRINK_PAGES || h->shrinks != peek(&arena_xshrinks);
}

void heap_leave(struct heap *h)
{
	if (unlikely(shrinking(h))) {
		cache_flush_shrinking(h);
		page_release_empty(h, HAK_FLUSH_TRIM);
		h->shrinks = peek(&arena_xshrinks);
		h->released = 0;
	}
	if (unlikely(++h->slow_ops >= TICK_OPS))
		heap_tick(h);
	if (unlikely(h != hak_thread.heap)) {
		give_back(h);
		return;
	}
	poke(&h->xbusy, h->xbusy - 1);
}

/* Decay: what was not used for a while goes one layer down, and from there to the system. */
void heap_tick(struct heap *h)
{
	uint64_t now = os_now_ms();

	h->slow_ops = 0;
	if (now < h->next_tick_ms)
		return;
	h->next_tick_ms = now + hak_options.decay_ms;
	if (peek(&h->xqueue))
		remote_drain(h);
	cache_flush_idle(h);
	page_release_empty(h, HAK_FLUSH_TRIM);
	large_purge(now, HAK_OS_DECAY);
	arena_purge(now, HAK_OS_DECAY);
}

bool heap_trim(struct heap *h)
{
	bool any;

	while (heap_adopt_any(h))
		;
	remote_drain(h);
	cache_flush_all(h, HAK_FLUSH_TRIM);
	remote_drain(h);
	page_release_empty(h, HAK_FLUSH_TRIM);
	any = large_purge(0, HAK_OS_TRIM);
	return arena_purge(0, HAK_OS_TRIM) || any;
}

/*
 * In the child only the forking thread exists. Heaps of the others are abandoned, except those
 * caught in the middle of a slow operation: what they hold stays, unused. Locks are free.
 */
void heap_fork_child(void)
{
	struct heap *me = hak_thread.heap;

	waiting[0] = waiting[1] = NULL;
	xabandoned = 0;
	hakmem_root.pid = os_tid();
	if (me != &hak_no_heap)
		count_set(&me->view.tid, os_tid());
	for (uint32_t i = 0; i < hakmem_root.heaps; i++) {
		struct heap *h = heap_at(i);

		if (h == me)
			continue;
		if (h->view.state == HAK_HEAP_CLAIMED || h->xbusy)
			continue;
		wait_push(h);
	}
}

unsigned heap_check(void)
{
	struct heap *me = hak_thread.heap;
	unsigned bad = 0;

	if (me != &hak_no_heap)
		bad += page_check(me) + cache_check(me);
	lock_take(&heaps_lock);
	for (int i = 0; i < 2; i++)
		for (const struct heap *h = waiting[i]; h; h = h->next)
			bad += page_check(h) + cache_check(h);
	lock_drop(&heaps_lock);
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
	if (h == &hak_no_heap || peek(&h->xbusy))
		return;
	h = heap_enter();
	cache_flush_all(h, HAK_FLUSH_EXIT);
	heap_leave(h);
}
