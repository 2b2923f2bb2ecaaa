/*
 * Reads the counter blocks. The target's numbers are not trusted: counts
 * are bounded before they become sizes.
 */
#include "collect.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#define HEAPS_MAX 100000U /* more threads than a process can have */
#define HEAP_BYTES_MAX 65536U
#define BATCH 64U	     /* heaps a system call */
#define RETRIES 100	     /* of one heap */
#define RETRIES_ALL 5000     /* of all heaps: a few milliseconds */
#define IN_FLIGHT_MAX 65536U /* operations threads can be in the middle of */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void add_heap(struct sample *s, const struct hak_heap_view *v)
{
	for (unsigned c = 0; c < s->root.classes; c++) {
		struct class_counts *k = &s->class_[c];
		const struct hak_bin *bin = &v->bin[c];
		const struct hak_bin_stat *st = &v->stat[c];

		k->allocs += hak_bin_allocs(bin, st);
		k->frees += bin->frees;
		k->seen_allocs += st->seen_allocs;
		k->seen_frees += st->seen_frees;
		k->refills += st->refills;
		k->refill_blocks += st->refill_blocks;
		k->flushes += st->flushes;
		k->flush_blocks += st->flush_blocks;
		k->remote_blocks += st->remote_blocks;
		k->cached += hak_bin_length(bin);
	}
	s->large_alloc_bytes += v->large_alloc_bytes;
	s->large_free_bytes += v->large_free_bytes;
	s->large_hits += v->large_cache_hits;
	s->remote_pushes += v->remote_pushes;
	s->remote_blocks += v->remote_blocks;
	s->remote_bytes += v->remote_bytes;
	s->drains += v->drains;
	s->drain_blocks += v->drain_blocks;
	s->heaps_live += v->state == HAK_HEAP_LIVE;
}

/* One heap as read: the sequence numbers around it tell whether it was at rest. */
struct copy {
	struct hak_heap_seq before;
	struct hak_heap_view view;
	struct hak_heap_seq after;
};

static bool at_rest(const struct copy *c)
{
	return !c->before.busy && !c->after.busy && c->before.changes == c->after.changes;
}

static int read_copies(const struct target *t, const struct hak_root *root, struct copy *buf,
		       uint32_t first, uint32_t n)
{
	struct iovec to[BATCH * 3], from[BATCH * 3];
	ssize_t want = (ssize_t)(n * sizeof(*buf)), got;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t at = hak_heap_addr(root, first + i);
		void *seq = (void *)(uintptr_t)(at + offsetof(struct hak_heap_view, seq));

		to[3 * i] = (struct iovec){&buf[i].before, sizeof(buf->before)};
		from[3 * i] = (struct iovec){seq, sizeof(buf->before)};
		to[3 * i + 1] = (struct iovec){&buf[i].view, sizeof(buf->view)};
		from[3 * i + 1] = (struct iovec){(void *)(uintptr_t)at, sizeof(buf->view)};
		to[3 * i + 2] = (struct iovec){&buf[i].after, sizeof(buf->after)};
		from[3 * i + 2] = (struct iovec){seq, sizeof(buf->after)};
	}
	got = target_readv(t->reader, to, from, (size_t)n * 3);
	if (got != want)
		return got < 0 ? (int)got : -EIO;
	return 0;
}

/*
 * Heaps caught in a slow operation are read again, for a while: those take microseconds, unless
 * their thread is stopped or waits for a CPU. Then its counts may lag behind by a batch.
 */
static int read_batch(const struct target *t, struct sample *s, struct copy *buf, uint32_t first,
		      uint32_t n, unsigned *retries, heap_fn *heap, void *arg)
{
	int r = read_copies(t, &s->root, buf, first, n);

	for (uint32_t i = 0; !r && i < n; i++) {
		for (int k = 0; !r && k < RETRIES && *retries && !at_rest(&buf[i]); k++, --*retries)
			r = read_copies(t, &s->root, &buf[i], first + i, 1);
		if (r)
			break;
		add_heap(s, &buf[i].view);
		if (heap)
			heap(arg, s, &buf[i].view);
	}
	return r;
}

static int read_heaps(const struct target *t, struct sample *s, heap_fn *heap, void *arg)
{
	unsigned retries = RETRIES_ALL;
	struct copy *buf;
	int r = 0;

	if (s->root.heaps > HEAPS_MAX || s->root.heap_bytes > HEAP_BYTES_MAX ||
	    s->root.heap_bytes < sizeof(buf->view) || s->root.classes > HAK_CLASS_MAX)
		return -EPROTO;
	buf = malloc(BATCH * sizeof(*buf));
	if (!buf)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->root.heaps && !r; i += BATCH)
		r = read_batch(t, s, buf, i, s->root.heaps - i < BATCH ? s->root.heaps - i : BATCH,
			       &retries, heap, arg);
	free(buf);
	return r;
}

void collect_zero(struct sample *s)
{
	memset(s, 0, sizeof(*s));
	s->t_ns = now_ns();
	s->events = s->lost = s->run_ns = -1;
}

void collect_zero_of(struct sample *s, const struct sample *of)
{
	collect_zero(s);
	if (of->root.start_ns < s->t_ns)
		s->t_ns = of->root.start_ns;
}

void collect_after(struct sample *s, const struct sample *before)
{
	for (unsigned c = 0; c < HAK_CLASS_MAX; c++) {
		uint64_t most = before->class_[c].allocs, *now = &s->class_[c].allocs;

		if (*now < most && most - *now <= IN_FLIGHT_MAX)
			*now = most;
	}
}

static uint64_t since(uint64_t end, uint64_t then)
{
	return end >= then ? end - then : 0;
}

static void raise_to(uint64_t *v, uint64_t total)
{
	if (total > *v)
		*v = total;
}

static void end_classes(struct sample *s, const struct bpf_sums *end)
{
	for (unsigned c = 0; c < HAK_CLASS_MAX; c++) {
		const struct class_sums *e = &end->class_[c], *b = &s->bpf.class_[c];
		struct class_counts *k = &s->class_[c];

		raise_to(&k->allocs, k->seen_allocs + since(e->allocs, b->allocs));
		raise_to(&k->frees, k->seen_frees + since(e->frees, b->frees));
		k->refills += since(e->refills, b->refills);
		k->refill_blocks += since(e->refill_blocks, b->refill_blocks);
		k->flushes += since(e->flushes, b->flushes);
		k->flush_blocks += since(e->flush_blocks, b->flush_blocks);
		k->seen_allocs += since(e->allocs, b->allocs);
		k->seen_frees += since(e->frees, b->frees);
	}
}

static void end_os(struct sample *s, const struct bpf_sums *end)
{
	struct hak_os_view *o = &s->root.os;
	const struct bpf_sums *b = &s->bpf;

	for (unsigned r = 0; r < HAK_OS_COUNT; r++) {
		o->maps += since(end->os[OS_MAP][r].calls, b->os[OS_MAP][r].calls);
		o->map_bytes += since(end->os[OS_MAP][r].bytes, b->os[OS_MAP][r].bytes);
		o->unmaps += since(end->os[OS_UNMAP][r].calls, b->os[OS_UNMAP][r].calls);
		o->unmap_bytes += since(end->os[OS_UNMAP][r].bytes, b->os[OS_UNMAP][r].bytes);
		o->purges += since(end->os[OS_PURGE][r].calls, b->os[OS_PURGE][r].calls);
		o->purge_bytes += since(end->os[OS_PURGE][r].bytes, b->os[OS_PURGE][r].bytes);
		o->fills += since(end->os[OS_FILL][r].calls, b->os[OS_FILL][r].calls);
		o->fill_bytes += since(end->os[OS_FILL][r].bytes, b->os[OS_FILL][r].bytes);
	}
	for (unsigned r = 0; r < HAK_FALLBACK_COUNT; r++) {
		o->fallbacks += since(end->fallback[r].calls, b->fallback[r].calls);
		o->fallback_bytes += since(end->fallback[r].bytes, b->fallback[r].bytes);
	}
}

void collect_max(struct sample *s, const struct sample *before)
{
	for (unsigned i = 0; i < HAK_LOCK_MAX; i++)
		if (before->bpf.lock[i].max_ns > s->bpf.lock[i].max_ns)
			s->bpf.lock[i].max_ns = before->bpf.lock[i].max_ns;
}

void collect_end(struct sample *s, struct attachment *a)
{
	static struct sample end;
	struct bpf_sums *e = &end.bpf;
	const struct bpf_sums *b = &s->bpf;

	attach_read(a, e);
	collect_max(&end, s);
	end_classes(s, e);
	end_os(s, e);
	for (unsigned i = 0; i < HAK_LOCK_MAX; i++) {
		s->root.lock[i].waits += since(e->lock[i].waits, b->lock[i].waits);
		s->root.lock[i].wait_ns += since(e->lock[i].wait_ns, b->lock[i].wait_ns);
	}
	s->remote_pushes += since(e->push_batches, b->push_batches);
	s->remote_blocks += since(e->push_blocks, b->push_blocks);
	s->remote_bytes += since(e->push_bytes, b->push_bytes);
	s->drains += since(e->drains, b->drains);
	s->drain_blocks += since(e->drain_blocks, b->drain_blocks);
	attach_cost(a, &s->events, &s->lost, &s->run_ns);
	attach_time_off(a, s->off_s);
	s->watched = attach_wanted();
	s->bpf = *e;
	s->counters_ns = s->t_ns;
	s->t_ns = now_ns();
}

int collect(struct target *t, struct attachment *a, struct sample *s, heap_fn *heap, void *arg)
{
	ssize_t n;
	int r;

	collect_zero(s);
	n = target_read(t->reader, t->root_addr, &s->root, sizeof(s->root));
	if (n < 0) { /* its thread may have ended */
		t->reader = target_reader(t->pid);
		n = target_read(t->reader, t->root_addr, &s->root, sizeof(s->root));
	}
	if (n != sizeof(s->root))
		return n < 0 && n != -EFAULT ? (int)n : -ESRCH;
	if (memcmp(s->root.magic, HAK_MAGIC, sizeof(s->root.magic)) != 0 || s->root.abi != HAK_ABI)
		return -EPROTO;
	r = read_heaps(t, s, heap, arg);
	if (r)
		return r == -EFAULT ? -ESRCH : r;
	if (a) {
		attach_read(a, &s->bpf);
		attach_cost(a, &s->events, &s->lost, &s->run_ns);
		attach_time_off(a, s->off_s);
		s->watched = attach_wanted();
		s->has_bpf = true;
	}
	s->rss = target_rss(t->reader);
	s->threads = target_threads(t->pid);
	return 0;
}
