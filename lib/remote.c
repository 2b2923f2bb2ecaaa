/*
 * Remote frees. Blocks leaving a cache are sorted by owning heap: own blocks go into their pages,
 * the others into a small outbox, one batch per owner, and every batch reaches its owner's queue
 * by one compare-exchange. The owner takes the whole queue by one exchange.
 *
 * A batch is a chain of letters: free blocks that carry the addresses of others, as many as they
 * have room for. So most blocks travel without anybody touching them, and who drains the queue
 * does not fetch them from another core's cache one after the other. Neighbours in a page travel
 * as two words, the address of the first and a mask like those of the page, and arrive at once.
 *
 * Pushers only push, and the drainer takes everything: there is no ABA.
 */
#include "internal.h"
#include "pagemap.h"

#include <string.h>

#define PENDING_MAX \
	((uint64_t)128 << 10) /* 128 KiB unread: the sender sorts the blocks in itself */
#define BLOCK_WORK 240U	      /* sorting a block in counts as so many bytes: 50 us at most */
#define OUTBOX_SLOTS 8U	      /* 2^3 owners gathered at once; a clash sends early */
#define LETTER_MAX 30U	      /* addresses in a letter: 4 cache lines */
#define COUNT_BITS 8U	      /* of their number, in a word with a checksum */
#define MASK ((uintptr_t)1)   /* in an address: the next word is a mask */
#define FIRST ((uintptr_t)1)  /* in `next`: this letter begins a batch */

struct batch {
	struct heap *owner;
	struct letter *first, *last; /* the first is being written */
	uint32_t room, filled;	     /* addresses the first can take, and has */
	uint64_t bytes;
	uint64_t work;	 /* of them, those that travel: as they count in xpending */
	uint32_t blocks; /* 0: the batch is not in use */
	uint32_t class;	 /* of all blocks, 0 if mixed */
};

struct outbox {
	struct batch slot[OUTBOX_SLOTS];
	bool home; /* straight: nobody may take them on the way */
	bool on;   /* they left their senders before: nothing is counted */
};

/* Addresses a block of that size carries. */
static uint32_t room_in(uint32_t block_bytes)
{
	uint32_t words = block_bytes / sizeof(uintptr_t) - 2;

	return words == 0 ? 1 : words < LETTER_MAX ? words : LETTER_MAX;
}

static uintptr_t *addresses(struct letter *l, uint32_t room)
{
	return room > 1 ? l->word + 1 : l->word;
}

/*
 * What is written into a letter lies in a free block, where a program may write by mistake, or be
 * made to: every word is mixed with a key, and the count of them carries a checksum.
 */
static uintptr_t next_of(const struct letter *l)
{
	return l->next ^ hak_letter_key ^ (uintptr_t)l;
}

static void set_next(struct letter *l, uintptr_t next)
{
	l->next = next ^ hak_letter_key ^ (uintptr_t)l;
}

static uint64_t checksum(const struct letter *l, const uintptr_t *words, uint64_t n)
{
	uint64_t x = (uintptr_t)l + n;

	for (uint64_t i = 0; i < n; i++)
		x = (x ^ words[i]) * 0x9E3779B97F4A7C15U;
	return (x ^ x >> 32) << COUNT_BITS;
}

static void seal(struct batch *b)
{
	struct letter *l = b->first;

	if (b->room > 1)
		l->word[0] = (checksum(l, l->word + 1, b->filled) | b->filled) ^ hak_letter_key;
	else if (!b->filled)
		l->word[0] = hak_letter_key;
}

/* The words of a letter, as they were meant; how many, more than LETTER_MAX if it was changed. */
static uint64_t read_letter(struct letter *l, uint32_t room, void **words)
{
	uint64_t n = 1, head = l->word[0] ^ hak_letter_key;
	const uintptr_t *from = addresses(l, room);

	if (room > 1) {
		n = head & ((1U << COUNT_BITS) - 1);
		if (n > room || head - n != checksum(l, from, n))
			return LETTER_MAX + 1;
	} else if (!head) {
		return 0;
	}
	for (uint64_t i = 0; i < n; i++)
		words[i] = (void *)(from[i] ^ hak_letter_key); /* NOLINT: addresses */
	return n;
}

static void begin_letter(struct batch *b, void *p, uint32_t block_bytes)
{
	struct letter *l = p;

	if (b->first)
		seal(b);
	else
		b->last = l;
	set_next(l, (uintptr_t)b->first);
	b->first = l;
	b->room = room_in(block_bytes);
	b->filled = 0;
}

/* Returns whether the queue was empty. */
static bool push(struct heap *to, struct batch *b)
{
	struct letter *head = peek(&to->xqueue);
	uintptr_t first = b->first == b->last ? FIRST : 0;

	seal(b);
	b->first->next ^= FIRST;
	do
		set_next(b->last, (uintptr_t)head | first);
	/* release: the chain is visible to the taker; seq_cst: see heap.c:give_back */
	while (!__atomic_compare_exchange_n(&to->xqueue, &head, b->first, true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED));
	return head == NULL;
}

static void count_push(struct heap *me, const struct batch *b, bool was_empty)
{
	count_add(&me->view.remote_pushes, 1);
	count_add(&me->view.remote_blocks, b->blocks);
	count_add(&me->view.remote_bytes, b->bytes);
	hak_probe_hakmem_remote_push(peek(&b->owner->view.tid), b->class, b->blocks, b->bytes,
				     was_empty);
}

static void send(struct heap *me, const struct outbox *box, struct batch *b)
{
	struct heap *to = b->owner;
	bool travels = b->first != NULL, was_empty = travels && push(to, b);

	if (!box->on)
		count_push(me, b, was_empty);
	if (travels && !was_empty)
		add_relaxed(&to->xpending, b->work);
	b->first = NULL;
	b->blocks = 0;
	/* the owner is gone, or sleeps */
	if (unlikely(travels && (load_seq_cst(&to->view.state) != HAK_HEAP_LIVE ||
				 peek(&to->xpending) > PENDING_MAX)))
		heap_help(to);
}

static void outbox_send_all(struct heap *me, struct outbox *box)
{
	for (unsigned i = 0; i < OUTBOX_SLOTS; i++)
		if (box->slot[i].blocks)
			send(me, box, &box->slot[i]);
}

/* By the address alone: the owner writes all over its heap. */
static struct batch *slot_for(struct outbox *box, const struct heap *owner)
{
	return &box->slot[((uintptr_t)owner >> 6) * 0x9E3779B97F4A7C15U >> 61];
}

static void write_word(struct batch *b, uintptr_t word)
{
	addresses(b->first, b->room)[b->filled++] = word ^ hak_letter_key;
}

/* A word in the letter being written, or the next letter. */
static void write_block(struct batch *b, const struct page *pg, void *p)
{
	if (likely(b->first && b->filled < b->room))
		write_word(b, (uintptr_t)p);
	else
		begin_letter(b, p, pg->block_bytes);
}

/* Blocks k + i of a page where bit i of mask is set; bit 0 is. */
static void write_group(struct batch *b, const struct page *pg, size_t k, uint64_t mask)
{
	while (mask) {
		uint32_t left = b->first ? b->room - b->filled : 0;
		char *p = pg->start + (k + (size_t)__builtin_ctzll(mask)) * pg->block_bytes;

		if (left >= 2 && mask & (mask - 1)) {
			write_word(b, (uintptr_t)p | MASK);
			write_word(b, mask);
			return;
		}
		write_block(b, pg, p);
		mask &= mask - 1;
	}
}

/* HAK_MISUSE_COUNT: p is a block, *k its index. moving: the page's in the transfer cache. */
static enum hak_misuse why_not_sent(const struct page *pg, const void *p, uint64_t moving,
				    size_t *k)
{
	if (unlikely(!page_index(pg, p, k)))
		return HAK_MISUSE_MISALIGNED;
	return unlikely(moving >> *k % 64 & 1) ? HAK_MISUSE_DOUBLE_FREE : HAK_MISUSE_COUNT;
}

static uint32_t write_one(struct batch *b, const struct page *pg, void *p)
{
	size_t k;
	enum hak_misuse why = why_not_sent(pg, p, peek(&pg->xmoving), &k);

	if (unlikely(why != HAK_MISUSE_COUNT)) {
		hak_misuse(p, why, "free");
		return 0;
	}
	write_block(b, pg, p);
	return 1;
}

/*
 * Blocks of a page, those of a word of its mask that come one after the other as a group. Returns
 * how many.
 */
static uint32_t write_several(struct batch *b, const struct page *pg, void **blocks, uint32_t n)
{
	uint64_t mask = 0, moving = peek(&pg->xmoving);
	uint32_t wrong = 0;
	size_t word = 0;

	for (uint32_t i = 0; i < n; i++) {
		size_t k;
		enum hak_misuse why = why_not_sent(pg, blocks[i], moving, &k);

		if (unlikely(why != HAK_MISUSE_COUNT)) {
			hak_misuse(blocks[i], why, "free");
			wrong++;
			continue;
		}
		if (k / 64 != word || mask >> k % 64 & 1) {
			write_group(b, pg, word * 64, mask);
			mask = 0;
			word = k / 64;
		}
		mask |= (uint64_t)1 << k % 64;
	}
	write_group(b, pg, word * 64, mask);
	return n - wrong;
}

/* The batch for a page's owner. */
HAK_INLINE struct batch *batch_for(struct heap *me, struct outbox *box, const struct page *pg)
{
	struct heap *owner = peek(&pg->xowner);
	struct batch *b = slot_for(box, owner);

	if (b->blocks && b->owner != owner)
		send(me, box, b);
	if (!b->blocks)
		*b = (struct batch){.owner = owner, .class = pg->class};
	if (b->class != pg->class)
		b->class = 0;
	return b;
}

/* Blocks of a class are in the batch, or are told with it. */
static void count_sent(struct heap *me, const struct outbox *box, struct batch *b, unsigned class,
		       uint32_t blocks, bool travel)
{
	uint64_t bytes = (uint64_t)blocks * hak_class_bytes[class];

	b->blocks += blocks;
	b->bytes += bytes;
	if (travel)
		b->work += bytes + blocks * BLOCK_WORK;
	if (!box->on)
		count_add(&me->view.stat[class].remote_blocks, blocks);
}

/* No block either. */
static bool is_group(const void *word)
{
	return (uintptr_t)word & MASK;
}

static bool lies_in(const struct page *pg, const void *p)
{
	return (uintptr_t)p - (uintptr_t)pg->start < pg->bytes;
}

static void count_arrived(struct heap *h, uint64_t blocks, uint64_t bytes)
{
	count_add(&h->view.drain_blocks, blocks);
	count_add(&h->view.drain_bytes, bytes);
}

/* Blocks of a page of another heap. Returns how many. */
HAK_INLINE uint32_t give_others(struct heap *h, struct outbox *box, struct page *pg, void **blocks,
				uint32_t n)
{
	struct batch *b = batch_for(h, box, pg);
	unsigned class = pg->class; /* once others may take its blocks the page may be gone */
	/* what a thread that ended has left is given back, or taken over, by whole pages */
	bool home = box->home || peek(&b->owner->view.state) != HAK_HEAP_LIVE;
	uint32_t sent, done = 0;

	if (!home && pg->block_bytes >= HAK_TRANSFER_LEAST)
		done = transfer_give(pg, blocks, n, &sent);
	if (done) {
		count_sent(h, box, b, class, sent, false);
		return done;
	}
	sent = n == 1 ? write_one(b, pg, blocks[0]) : write_several(b, pg, blocks, n);
	count_sent(h, box, b, class, sent, true);
	return n;
}

/*
 * The first of n blocks and those after it that are of the same page go there. Returns how many:
 * 0 if the first is not in a page or a run of a class. *block_bytes: of each; the page may be gone
 * by then.
 */
HAK_INLINE uint32_t give_run(struct heap *h, struct outbox *box, void **blocks, uint64_t n,
			     enum hak_flush_reason why, uint32_t *block_bytes)
{
	struct page *pg = pagemap_page(blocks[0]);
	uint32_t run = 1;

	if (unlikely(!pg || peek(&pg->kind) != PAGE_SMALL)) {
		*block_bytes = pg ? pg->block_bytes : 0;
		return run_give(blocks, n, why);
	}
	*block_bytes = pg->block_bytes;
	while (run < n && lies_in(pg, blocks[run]) && !is_group(blocks[run]))
		run++;
	if (peek(&pg->xowner) != h)
		return give_others(h, box, pg, blocks, run);
	page_give(h, pg, blocks, run, why);
	if (box->on)
		count_arrived(h, run, (uint64_t)run * *block_bytes);
	return run;
}

/* Why a block of a cache is none, or none that is live. */
static enum hak_misuse why_not_home(const void *p)
{
	const struct page *pg = pagemap_page(p);

	return pg && peek(&pg->kind) == PAGE_RUN && pg->start != p ? HAK_MISUSE_MISALIGNED
								   : HAK_MISUSE_DOUBLE_FREE;
}

static void give_all(struct heap *h, struct outbox *box, void **blocks, uint64_t n,
		     enum hak_flush_reason why)
{
	uint32_t block_bytes;

	for (uint64_t i = 0; i < n;) {
		uint32_t run = give_run(h, box, blocks + i, n - i, why, &block_bytes);

		if (unlikely(!run)) {
			hak_misuse(blocks[i], why_not_home(blocks[i]), "free");
			run = 1;
		}
		i += run;
	}
	outbox_send_all(h, box);
}

/* Every one of n blocks goes home, or at least on its way. */
void remote_give(struct heap *h, void **blocks, uint64_t n, enum hak_flush_reason why)
{
	struct outbox box = {.home = why != HAK_FLUSH_OVERFLOW && why != HAK_FLUSH_BUDGET};

	give_all(h, &box, blocks, n, why);
}

/* Those that nobody took on the way do, to the end. */
void remote_send_home(struct heap *h, void **blocks, uint64_t n)
{
	struct outbox box = {.home = true, .on = true};

	give_all(h, &box, blocks, n, HAK_FLUSH_REMOTE_FREE);
}

struct drained {
	uint64_t bytes;
	uint32_t blocks, batches;
};

static void drained(struct drained *d, uint32_t blocks, uint32_t block_bytes)
{
	d->blocks += blocks;
	d->bytes += (uint64_t)blocks * block_bytes;
}

/* A group of blocks that came by queue; false if there is no such group. */
static bool take_group(struct heap *h, struct outbox *box, const char *first, uint64_t mask,
		       struct drained *d)
{
	struct page *pg = pagemap_page(first);
	uint32_t n = (uint32_t)__builtin_popcountll(mask);
	struct batch *b;
	size_t k;

	if (unlikely(!pg || peek(&pg->kind) != PAGE_SMALL || !page_index(pg, first, &k)))
		return false;
	drained(d, n, pg->block_bytes);
	if (peek(&pg->xowner) == h)
		return page_give_mask(h, pg, k / 64, mask, HAK_FLUSH_REMOTE_FREE);
	b = batch_for(h, box, pg);
	write_group(b, pg, k & ~(size_t)63, mask);
	count_sent(h, box, b, pg->class, n, true);
	return true;
}

/*
 * Some of the n words of a letter, whose blocks are now free. Returns how many, 0 if they make no
 * sense. A page may have changed owner meanwhile: those are sent on.
 */
static uint64_t take_some(struct heap *h, struct outbox *box, void **words, uint64_t n,
			  struct drained *d)
{
	uint32_t block_bytes = 0, run;

	if (!is_group(words[0])) {
		run = give_run(h, box, words, n, HAK_FLUSH_REMOTE_FREE, &block_bytes);
		drained(d, run, block_bytes);
		return run;
	}
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	return n >= 2 && take_group(h, box, (char *)((uintptr_t)words[0] & ~MASK),
				    (uintptr_t)words[1], d)
		       ? 2
		       : 0;
}

static void take_in(struct heap *h, struct outbox *box, void **words, uint64_t n, struct drained *d)
{
	for (uint64_t i = 0; i < n;) {
		uint64_t taken = take_some(h, box, words + i, n - i, d);

		if (unlikely(!taken)) {
			hak_misuse(words[i], HAK_MISUSE_CORRUPT, "free");
			taken = 1;
		}
		i += taken;
	}
}

/* One letter and what it carries; the next letter. */
static struct letter *open_letter(struct heap *h, struct outbox *box, struct letter *l,
				  struct drained *d)
{
	const struct page *pg = pagemap_page(l);
	void *words[LETTER_MAX];
	struct letter *next;
	uint64_t n;
	size_t k;

	if (unlikely(!pg || peek(&pg->kind) != PAGE_SMALL || !page_index(pg, l, &k) ||
		     (n = read_letter(l, room_in(pg->block_bytes), words)) > LETTER_MAX)) {
		hak_misuse(l, HAK_MISUSE_CORRUPT, "free");
		return NULL;
	}
	next = (struct letter *)(next_of(l) & ~FIRST); /* NOLINT(performance-no-int-to-ptr) */
	__builtin_prefetch(next);
	d->batches += next_of(l) & FIRST;
	if (unlikely(hak_options.secure))
		memset(l, 0,
		       (LETTER_MAX + 2) * sizeof(uintptr_t) < pg->block_bytes
			       ? (LETTER_MAX + 2) * sizeof(uintptr_t)
			       : pg->block_bytes);
	take_in(h, box, words, n, d);
	take_in(h, box, (void **)&l, 1, d); /* last: it may become a letter to somebody else */
	return next;
}

/* Takes h's whole queue. Returns the number of blocks. */
unsigned remote_drain(struct heap *h)
{
	/* acquire: pairs with the release of push() */
	struct letter *l = swap_acq_rel(&h->xqueue, NULL);
	struct outbox box = {.home = true}; /* they have been on offer, or are not to be */
	struct drained d = {0};

	if (!l)
		return 0;
	poke(&h->xpending, 0);
	while (l)
		l = open_letter(h, &box, l, &d);
	count_add(&h->view.drains, 1);
	count_arrived(h, d.blocks, d.bytes);
	hak_probe_hakmem_remote_drain(d.blocks, d.bytes, d.batches);
	outbox_send_all(h, &box);
	return d.blocks;
}
