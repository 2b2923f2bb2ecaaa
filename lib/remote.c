/*
 * Remote frees. Blocks leaving a cache are sorted by owning heap: own blocks go into
 * their pages, the others into a small outbox, one batch per owner, and every batch reaches its
 * owner's queue by one compare-exchange. The owner takes the whole queue by one exchange.
 *
 * A batch is a chain of blocks; its first block also holds the number of blocks, so the drain
 * can tell batches apart. Two stacks of batches never mix: only the owner, or whoever claimed
 * an abandoned heap, takes; pushers only push, so there is no ABA.
 */
#include "internal.h"
#include "pagemap.h"

#define PENDING_MAX \
	((uint64_t)128 << 10) /* 128 KiB unread: the sender sorts the blocks in itself */
#define BLOCK_WORK 240U	      /* sorting a block in counts as so many bytes: 50 us at most */
#define OUTBOX_SLOTS 8U	      /* owners gathered at once; a clash sends early */

struct batch {
	struct heap *owner;
	struct block *first, *last;
	uint64_t bytes;
	uint32_t blocks;
	uint32_t class; /* of all blocks, 0 if mixed */
};

struct outbox {
	struct batch slot[OUTBOX_SLOTS];
};

static void send(struct heap *me, struct batch *b)
{
	struct heap *to = b->owner;
	struct block *head = peek(&to->xqueue);
	uint64_t bytes = b->bytes, blocks = b->blocks;

	b->first->batch = b->blocks;
	do
		b->last->next = head;
	/* release: the chain is visible to the taker; seq_cst: see heap_leave's last look */
	while (!__atomic_compare_exchange_n(&to->xqueue, &head, b->first, true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED));
	count_add(&me->view.remote_pushes, 1);
	count_add(&me->view.remote_blocks, b->blocks);
	count_add(&me->view.remote_bytes, b->bytes);
	hak_probe_hakmem_remote_push(peek(&to->view.tid), b->class, b->blocks, b->bytes,
				     head == NULL);
	b->blocks = 0;
	if (head)
		add_relaxed(&to->xpending, bytes + blocks * BLOCK_WORK);
	/* the owner is gone, or sleeps */
	if (unlikely(__atomic_load_n(&to->view.state, __ATOMIC_SEQ_CST) != HAK_HEAP_LIVE ||
		     peek(&to->xpending) > PENDING_MAX))
		heap_help(to);
}

static void outbox_send_all(struct heap *me, struct outbox *box)
{
	for (unsigned i = 0; i < OUTBOX_SLOTS; i++)
		if (box->slot[i].blocks)
			send(me, &box->slot[i]);
}

static void outbox_add(struct heap *me, struct outbox *box, struct heap *owner, struct page *pg,
		       struct block *b)
{
	struct batch *slot = &box->slot[peek(&owner->view.index) % OUTBOX_SLOTS];

	if (slot->blocks && slot->owner != owner)
		send(me, slot);
	if (!slot->blocks) {
		*slot = (struct batch){.owner = owner, .last = b, .class = pg->class};
		b->next = NULL;
	} else {
		b->next = slot->first;
		if (slot->class != pg->class)
			slot->class = 0;
	}
	slot->first = b;
	slot->blocks++;
	slot->bytes += pg->block_bytes;
	count_add(&me->view.stat[pg->class].remote_blocks, 1);
}

static void give_one(struct heap *h, struct outbox *box, struct block *b, enum hak_flush_reason why)
{
	struct page *pg = pagemap_page(b);
	struct heap *owner;

	if (unlikely(!pg || peek(&pg->kind) != PAGE_SMALL)) {
		hak_misuse(b, HAK_MISUSE_DOUBLE_FREE, "free");
		return;
	}
	owner = peek(&pg->xowner);
	if (owner == h)
		page_give(h, pg, b, why);
	else
		outbox_add(h, box, owner, pg, b);
}

/* Every one of n blocks goes home. */
void remote_give(struct heap *h, void **blocks, uint64_t n, enum hak_flush_reason why)
{
	struct outbox box = {0};

	for (uint64_t i = 0; i < n; i++)
		give_one(h, &box, blocks[i], why);
	outbox_send_all(h, &box);
}

static uint32_t block_bytes_of(const struct block *b)
{
	const struct page *pg = pagemap_page(b);

	return pg && pg->kind == PAGE_SMALL ? pg->block_bytes : 0;
}

/*
 * Takes h's whole queue. Blocks whose page changed owner meanwhile are sent on.
 * Returns the number of blocks.
 */
unsigned remote_drain(struct heap *h)
{
	/* acquire: pairs with the release of send() */
	struct block *b = swap_acq_rel(&h->xqueue, NULL);
	struct outbox box = {0};
	uint32_t blocks = 0, batches = 0;
	uint64_t bytes = 0;

	if (!b)
		return 0;
	poke(&h->xpending, 0);
	while (b) {
		uint64_t n = b->batch;

		batches++;
		for (; n && b; n--) {
			struct block *next = b->next;

			bytes += block_bytes_of(b);
			give_one(h, &box, b, HAK_FLUSH_REMOTE_FREE);
			blocks++;
			b = next;
		}
	}
	count_add(&h->view.drains, 1);
	count_add(&h->view.drain_blocks, blocks);
	count_add(&h->view.drain_bytes, bytes);
	hak_probe_hakmem_remote_drain(blocks, bytes, batches);
	outbox_send_all(h, &box);
	return blocks;
}
