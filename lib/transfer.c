/*
 * Transfer cache: blocks freed by threads that do not own them, for any thread that needs such.
 *
 * A big block goes home only if nobody asks for it on the way. Else a thread whose blocks others
 * free takes new pages while it waits, and who freed them fills pages of its own: each heap grows
 * to its own peak, and memory that is still warm is not used again.
 *
 * One stack a class, last in first out, under a lock that is only tried: who finds it held sends
 * home, or looks elsewhere. Room has to be earned: it is for a few blocks, and for more as some are
 * taken. What nobody took between two looks goes home, oldest first, and all if nobody took any: a
 * block that waits here keeps its page from the system. What a thread leaves behind at its end goes
 * straight home.
 *
 * A block in here has its bit set in `xmoving` of its page, so that a second free is seen to be
 * one.
 */
#include "internal.h"
#include "pagemap.h"

#include <string.h>

#define ROOM 2048U /* most blocks of a class */
#define ROOM_FIRST 8U
#define PORTION 256U /* that leave at once */
#define USED_PART 8U /* of the memory in use, that all blocks in here may have */

enum { FIRST = HAK_CLASS_OF(HAK_TRANSFER_LEAST), CLASSES = HAK_FIRST_RUN - FIRST };

struct stack {
	struct lock lock;
	uint32_t n;	 /* looked at without the lock, as a hint */
	uint32_t least;	 /* since the last look */
	uint32_t earned; /* room beyond the first; as a hint, too */
	bool taken;	 /* any, since the last look */
} __attribute__((aligned(HAK_CACHE_LINE)));

static struct stack stacks[CLASSES] = {[0 ... CLASSES - 1] = {.lock.id = HAK_LOCK_TRANSFER}};
static void *slots[CLASSES][ROOM];
static uint64_t xbytes; /* in here */
static uint64_t xlook_ms;

static uint32_t room_of(const struct stack *s)
{
	uint32_t room = ROOM_FIRST + peek(&s->earned);

	return room < ROOM ? room : ROOM;
}

/* NULL: blocks of the class go home. */
static struct stack *stack_of(unsigned class)
{
	return class >= FIRST && class < HAK_FIRST_RUN ? &stacks[class - FIRST] : NULL;
}

static void **blocks_of(const struct stack *s)
{
	return slots[s - stacks];
}

static bool fits(uint64_t bytes)
{
	return peek(&xbytes) + bytes <= limit_in_use() / USED_PART;
}

/* One way or the other; lock held. */
static void set_moving(struct page *pg, size_t k, bool moving)
{
	uint64_t bit = (uint64_t)1 << k;

	poke(&pg->xmoving, moving ? pg->xmoving | bit : pg->xmoving & ~bit);
}

/* Lock held. HAK_MISUSE_COUNT: there is nothing wrong with it. */
static enum hak_misuse push(struct stack *s, struct page *pg, void *p)
{
	size_t k;

	if (unlikely(!page_index(pg, p, &k)))
		return HAK_MISUSE_MISALIGNED;
	if (unlikely((pg->xmoving | peek(&pg->bits[0])) >> k & 1))
		return HAK_MISUSE_DOUBLE_FREE;
	set_moving(pg, k, true);
	blocks_of(s)[s->n] = p;
	poke(&s->n, s->n + 1);
	return HAK_MISUSE_COUNT;
}

/*
 * Some of n freed blocks, all of this page; how many, 0 if there is no room or this is not the way
 * for them. *sent: of these, the ones that are in here. The page may be gone then.
 */
uint32_t transfer_give(struct page *pg, void **blocks, uint32_t n, uint32_t *sent)
{
	struct stack *s = stack_of(pg->class);
	enum hak_misuse wrong = HAK_MISUSE_COUNT;
	uint32_t done = 0;

	if (!s || pg->capacity > 64 || hak_options.secure || peek(&s->n) + n > room_of(s) ||
	    !fits((uint64_t)n * pg->block_bytes) || !lock_try(&s->lock))
		return 0;
	while (done < n && s->n < ROOM && wrong == HAK_MISUSE_COUNT)
		wrong = push(s, pg, blocks[done++]);
	*sent = done - (wrong != HAK_MISUSE_COUNT);
	add_relaxed(&xbytes, (uint64_t)*sent * pg->block_bytes);
	lock_drop(&s->lock);
	if (unlikely(wrong != HAK_MISUSE_COUNT))
		hak_misuse(blocks[done - 1], wrong, "free");
	return done;
}

/* n blocks have left; lock held. */
static void left(const struct stack *s, void *const *blocks, uint32_t n)
{
	uint64_t bytes = (uint64_t)n * hak_class_bytes[FIRST + (s - stacks)];

	for (uint32_t i = 0; i < n; i++) {
		struct page *pg = pagemap_page(blocks[i]);
		size_t k;

		if (page_index(pg, blocks[i], &k))
			set_moving(pg, k, false);
	}
	sub_relaxed(&xbytes, bytes);
}

/* Says whose blocks were taken. */
static void tell(unsigned class, void *const *blocks, uint32_t n)
{
	for (uint32_t i = 0, first; i < n;) {
		const struct heap *owner = peek(&pagemap_page(blocks[i])->xowner);

		for (first = i++; i < n && peek(&pagemap_page(blocks[i])->xowner) == owner;)
			i++;
		hak_probe_hakmem_remote_take(peek(&owner->view.tid), class, i - first,
					     (uint64_t)(i - first) * hak_class_bytes[class]);
	}
}

/* Up to `want` blocks of the class; how many. The one freed last is out[]'s last. */
uint32_t transfer_take(struct heap *h, unsigned class, uint32_t want, void **out)
{
	struct stack *s = stack_of(class);
	uint32_t n;

	if (!s || !peek(&s->n) || !lock_try(&s->lock))
		return 0;
	n = s->n < want ? s->n : want;
	poke(&s->n, s->n - n);
	if (s->n < s->least)
		s->least = s->n;
	s->taken = true;
	if (s->earned < ROOM)
		poke(&s->earned, s->earned + 2 * n);
	memcpy(out, blocks_of(s) + s->n, n * sizeof(*out));
	left(s, out, n);
	lock_drop(&s->lock);
	count_add(&h->view.drain_blocks, n);
	count_add(&h->view.drain_bytes, (uint64_t)n * hak_class_bytes[class]);
	tell(class, out, n);
	return n;
}

static uint32_t portion(uint32_t n)
{
	return n < PORTION ? n : PORTION;
}

/* The n oldest, at most, go home. */
static void send_home(struct heap *h, struct stack *s, uint32_t n)
{
	void *blocks[PORTION], **all = blocks_of(s);
	uint32_t some;

	for (; n; n -= some) {
		lock_take(&s->lock);
		some = portion(n < s->n ? n : s->n);
		memcpy(blocks, all, some * sizeof(*blocks));
		memmove(all, all + some, (s->n - some) * sizeof(*blocks));
		poke(&s->n, s->n - some);
		s->least = s->n;
		left(s, blocks, some);
		lock_drop(&s->lock);
		if (!some)
			return;
		remote_send_home(h, blocks, some);
	}
}

/* What was not needed since the last look; lock held. */
static uint32_t not_needed(struct stack *s)
{
	uint32_t n = s->taken ? s->least : s->n;

	if (!s->taken)
		poke(&s->earned, 0);
	s->taken = false;
	s->least = s->n;
	return n;
}

/* Once per decay time, whoever comes. */
void transfer_tick(struct heap *h, uint64_t now_ms)
{
	if (now_ms < peek(&xlook_ms))
		return;
	poke(&xlook_ms, now_ms + hak_options.decay_ms);
	for (struct stack *s = stacks; s < stacks + CLASSES; s++) {
		uint32_t n;

		if (!lock_try(&s->lock))
			continue;
		n = not_needed(s);
		lock_drop(&s->lock);
		send_home(h, s, n);
	}
}

/* All of them go home, but for what comes meanwhile. */
void transfer_trim(struct heap *h)
{
	for (struct stack *s = stacks; s < stacks + CLASSES; s++)
		send_home(h, s, ROOM);
}

void transfer_each_lock(void (*visit)(struct lock *l))
{
	for (struct stack *s = stacks; s < stacks + CLASSES; s++)
		visit(&s->lock);
}

/* Every block is one of its class, and marked as moving; returns what is broken. */
unsigned transfer_check(void)
{
	unsigned bad = 0;

	for (struct stack *s = stacks; s < stacks + CLASSES; s++) {
		lock_take(&s->lock);
		bad += s->least > s->n;
		for (uint32_t i = 0; i < s->n; i++) {
			const struct page *pg = pagemap_page(blocks_of(s)[i]);
			size_t k;

			bad += !pg || pg->class != FIRST + (s - stacks) ||
			       !page_index(pg, blocks_of(s)[i], &k) || !(pg->xmoving >> k & 1);
		}
		lock_drop(&s->lock);
	}
	return bad;
}
