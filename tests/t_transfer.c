/* A block in the transfer cache is others': what they do with it before its giver goes on. */
#include "hakmem.h"
#include "internal.h"
#include "pagemap.h"
#include "test.h"

#include <pthread.h>

#define BYTES 5000
#define MADE 24
#define OTHERS 20000 /* more than fill a page */

static pthread_barrier_t gate;
static void *block;
static bool armed;

uint32_t __real_transfer_give(struct page *pg, void **blocks, uint32_t n, uint32_t *sent);
uint32_t __wrap_transfer_give(struct page *pg, void **blocks, uint32_t n, uint32_t *sent);

/* Its page is gone, and there is another in its place, when the giver comes back. */
uint32_t __wrap_transfer_give(struct page *pg, void **blocks, uint32_t n, uint32_t *sent)
{
	uint32_t done = __real_transfer_give(pg, blocks, n, sent);

	if (armed && blocks[0] == block) {
		armed = false;
		CHECK_EQ(done, 1);
		pthread_barrier_wait(&gate);
		pthread_barrier_wait(&gate);
	}
	return done;
}

static void *owner(void *arg)
{
	static void *p[MADE], *q[OTHERS];
	const struct page *pg;
	int n = 0;

	for (int i = 0; i < MADE; i++)
		p[i] = hak_malloc(BYTES);
	block = p[MADE / 2];
	pg = pagemap_page(block);
	for (int i = 0; i < MADE; i++)
		if (p[i] != block)
			hak_free(p[i]);
	hak_trim();
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	hak_trim(); /* it comes home */
	do
		q[n] = hak_malloc(300);
	while (pagemap_page(q[n]) != pg && ++n < OTHERS);
	CHECK(n < OTHERS);
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	return arg;
}

static int64_t bytes_waiting(void)
{
	int64_t n = 0;

	for (uint32_t i = 0; i < hakmem_root.heaps; i++)
		n += (int64_t)(heap_at(i)->view.remote_bytes - heap_at(i)->view.drain_bytes);
	return n;
}

static void counted_by_the_class_it_was_of(void)
{
	void *ballast = hak_malloc(32U << 20); /* an eighth of what is in use may be on its way */
	const struct hak_bin_stat *st;
	uint64_t before;
	pthread_t t;

	pthread_barrier_init(&gate, NULL, 2);
	pthread_create(&t, NULL, owner, NULL);
	pthread_barrier_wait(&gate);
	st = &hak_thread.heap->view.stat[class_of(BYTES)];
	before = st->remote_blocks;
	armed = true;
	hak_free(block);
	CHECK(!armed);
	CHECK_EQ(st->remote_blocks - before, 1);
	CHECK_EQ(bytes_waiting(), 0);
	pthread_barrier_wait(&gate);
	pthread_join(t, NULL);
	CHECK_EQ(hak_check(), 0);
	hak_free(ballast);
}

int main(void)
{
	alarm(60);
	RUN(counted_by_the_class_it_was_of);
	return test_done();
}
