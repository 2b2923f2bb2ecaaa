#include "model.h"

#include <string.h>

/* Counters only grow, unless the process became another program: then they start from 0. */
static uint64_t grown(uint64_t to, uint64_t from)
{
	return to >= from ? to - from : to;
}

static void class_make(struct model *m, unsigned c, const struct sample *from,
		       const struct sample *to)
{
	const struct class_counts *a = &from->class_[c], *b = &to->class_[c];
	struct class_delta *d = &m->class_[c];
	uint64_t without;

	d->block_bytes = to->root.class_bytes[c];
	d->allocs = grown(b->allocs, a->allocs);
	d->frees = grown(b->frees, a->frees);
	d->refills = grown(b->refills, a->refills);
	d->refill_blocks = grown(b->refill_blocks, a->refill_blocks);
	d->flushes = grown(b->flushes, a->flushes);
	d->flush_blocks = grown(b->flush_blocks, a->flush_blocks);
	d->remote_blocks = grown(b->remote_blocks, a->remote_blocks);
	d->live = b->allocs >= b->frees ? b->allocs - b->frees : 0;
	d->cached = b->cached;
	d->held_bytes = to->root.class_pages[c] * to->root.page_bytes[c];
	if (c == 0)
		d->held_bytes = m->large_live_bytes;
	d->unbacked_bytes = to->root.class_gone[c];
	without = d->live * d->block_bytes + d->unbacked_bytes;
	d->waste_bytes = c && d->held_bytes > without ? d->held_bytes - without : 0;
	m->allocs += d->allocs;
	m->frees += d->frees;
	if (c) {
		m->small_allocs += d->allocs;
		m->refills += d->refills;
	}
	m->seen_allocs += grown(b->seen_allocs, a->seen_allocs);
	m->seen_frees += grown(b->seen_frees, a->seen_frees);
	m->seen_refills += d->refills;
	m->seen_flushes += d->flushes;
}

uint64_t quantile(const uint64_t *hist, uint64_t total, double share, uint64_t max)
{
	uint64_t need = (uint64_t)((double)total * share), sum = 0;

	if (!total)
		return 0;
	for (unsigned i = 0; i < HIST_SLOTS; i++) {
		sum += hist[i];
		if (sum > need || sum == total) {
			uint64_t edge = i >= 63 ? UINT64_MAX : ((uint64_t)2 << i) - 1;

			return edge < max ? edge : max;
		}
	}
	return max;
}

static void lock_make(struct model *m, unsigned i, const struct sample *from,
		      const struct sample *to)
{
	const struct hak_lock_view *a = &from->root.lock[i], *b = &to->root.lock[i];
	const struct lock_sums *x = &from->bpf.lock[i], *y = &to->bpf.lock[i];
	struct lock_delta *d = &m->lock[i];
	uint64_t total = 0;

	d->waits = grown(b->waits, a->waits);
	d->wait_ns = grown(b->wait_ns, a->wait_ns);
	m->waits += d->waits;
	d->has_bpf = model_knows(m, PROBE_BIT(HAK_P_hakmem_lock_wait_done));
	if (!d->has_bpf)
		return;
	for (unsigned k = 0; k < HIST_SLOTS; k++) {
		d->hist[k] = grown(y->hist[k], x->hist[k]);
		total += d->hist[k];
	}
	d->max_ns = y->max_ns;
	d->p50_ns = quantile(d->hist, total, 0.5, d->max_ns);
	d->p99_ns = quantile(d->hist, total, 0.99, d->max_ns);
}

static void os_make(struct os_delta *d, const struct os_sums *a, const struct os_sums *b)
{
	d->calls = grown(b->calls, a->calls);
	d->bytes = grown(b->bytes, a->bytes);
	d->ns = grown(b->ns, a->ns);
}

static void bpf_make(struct model *m, const struct sample *from, const struct sample *to)
{
	for (unsigned k = 0; k < OS_KINDS; k++)
		for (unsigned r = 0; r < HAK_OS_COUNT; r++)
			os_make(&m->os[k][r], &from->bpf.os[k][r], &to->bpf.os[k][r]);
	for (unsigned r = 0; r < HAK_FALLBACK_COUNT; r++)
		os_make(&m->fallback[r], &from->bpf.fallback[r], &to->bpf.fallback[r]);
	for (unsigned r = 0; r < HAK_FALLBACK_COUNT; r++)
		for (unsigned k = 0; k < HIST_SLOTS; k++)
			m->fallback_sizes[r][k] =
				grown(to->bpf.fallback_sizes[r][k], from->bpf.fallback_sizes[r][k]);
	for (unsigned c = 0; c < HAK_CLASS_MAX; c++) {
		const struct class_sums *a = &from->bpf.class_[c], *b = &to->bpf.class_[c];

		for (unsigned s = 0; s < HAK_SOURCE_COUNT; s++)
			m->class_[c].refills_from[s] =
				grown(to->bpf.route[c][s], from->bpf.route[c][s]);
		m->bpf_allocs += grown(b->allocs, a->allocs);
		m->bpf_frees += grown(b->frees, a->frees);
		m->bpf_refills += grown(b->refills, a->refills);
		m->bpf_flushes += grown(b->flushes, a->flushes);
	}
}

static int64_t grown_known(int64_t to, int64_t from)
{
	if (to < 0)
		return -1;
	return from < 0 || to < from ? to : to - from;
}

static void process_make(struct model *m, const struct sample *from, const struct sample *to)
{
	const struct hak_os_view *a = &from->root.os, *b = &to->root.os;

	m->maps = grown(b->maps, a->maps);
	m->map_bytes = grown(b->map_bytes, a->map_bytes);
	m->unmaps = grown(b->unmaps, a->unmaps);
	m->unmap_bytes = grown(b->unmap_bytes, a->unmap_bytes);
	m->purges = grown(b->purges, a->purges);
	m->purge_bytes = grown(b->purge_bytes, a->purge_bytes);
	m->fills = grown(b->fills, a->fills);
	m->fill_bytes = grown(b->fill_bytes, a->fill_bytes);
	m->fallbacks = grown(b->fallbacks, a->fallbacks);
	m->fallback_bytes = grown(b->fallback_bytes, a->fallback_bytes);
	for (unsigned k = 0; k < HAK_SIZES; k++)
		m->over_aligned[k] = grown(to->root.over_aligned[k], from->root.over_aligned[k]);
	m->large_live_bytes = grown(to->large_alloc_bytes, to->large_free_bytes);
	m->large_bytes = grown(to->large_alloc_bytes, from->large_alloc_bytes);
	m->large_hits = grown(to->large_hits, from->large_hits);
	m->remote_pushes = grown(to->remote_pushes, from->remote_pushes);
	m->remote_blocks = grown(to->remote_blocks, from->remote_blocks);
	m->remote_bytes = grown(to->remote_bytes, from->remote_bytes);
	m->drains = grown(to->drains, from->drains);
	m->queued_blocks =
		to->remote_blocks > to->drain_blocks ? to->remote_blocks - to->drain_blocks : 0;
	m->ooms = b->ooms;
	m->misuses = b->misuses;
	m->rss = to->rss;
	m->threads = to->threads;
	m->now = to->root.now;
	m->events = grown_known(to->events, from->events);
	m->lost = grown_known(to->lost, from->lost);
	m->bpf_ns = grown_known(to->run_ns, from->run_ns);
}

uint64_t model_os_calls(const struct model *m)
{
	return m->maps + m->unmaps + m->purges + m->fills;
}

bool model_knows(const struct model *m, uint64_t probes)
{
	return m->has_bpf && !(probes & (m->off | ~m->watched));
}

static void off_make(struct model *m, const struct sample *from, const struct sample *to)
{
	m->watched = to->watched & (from->has_bpf ? from->watched : ~(uint64_t)0);
	for (int i = 0; i < HAK_PROBE_COUNT; i++) {
		double s = to->off_s[i] - from->off_s[i];

		m->off_s[i] = s > 0 ? s : 0;
		if (s > 0)
			m->off |= PROBE_BIT(i);
	}
}

void model_make(struct model *m, const struct sample *from, const struct sample *to)
{
	memset(m, 0, sizeof(*m));
	m->seconds = (double)(to->t_ns - from->t_ns) / 1e9;
	m->ended = to->counters_ns != 0;
	m->counters_seconds = m->ended ? (double)(to->counters_ns - from->t_ns) / 1e9 : m->seconds;
	m->classes = to->root.classes;
	m->has_bpf = to->has_bpf;
	off_make(m, from, to);
	process_make(m, from, to);
	for (unsigned c = 0; c < m->classes; c++)
		class_make(m, c, from, to);
	m->large_allocs = m->class_[0].allocs;
	m->large_frees = m->class_[0].frees;
	for (unsigned i = 0; i < HAK_LOCK_COUNT; i++)
		lock_make(m, i, from, to);
	if (m->has_bpf)
		bpf_make(m, from, to);
}
