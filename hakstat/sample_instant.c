#include "sample_instant.h"

#include <stddef.h>
#include <string.h>

/* Append only; -1 of what may be unknown stays -1. */
#define SCALARS(X)           \
	X(t_ns)              \
	X(counters_ns)       \
	X(root.abi)          \
	X(root.classes)      \
	X(root.heaps)        \
	X(root.start_ns)     \
	X(large_alloc_bytes) \
	X(large_free_bytes)  \
	X(large_hits)        \
	X(remote_pushes)     \
	X(remote_blocks)     \
	X(remote_bytes)      \
	X(drains)            \
	X(drain_blocks)      \
	X(heaps_live)        \
	X(rss)               \
	X(threads)           \
	X(has_bpf)           \
	X(events)            \
	X(lost)              \
	X(run_ns)            \
	X(bpf.push_batches)  \
	X(bpf.push_blocks)   \
	X(bpf.push_bytes)    \
	X(bpf.drains)        \
	X(bpf.drain_blocks)  \
	X(bpf.drain_bytes)   \
	X(watched)

#define COUNT_(field) +1
#define SCALAR_COUNT (0 SCALARS(COUNT_))

/* Parts that are words in memory already, little-endian. A row grows at its end only. */
#define WORDS(type) (sizeof(type) / 8)
static const struct part {
	enum section_id id;
	bool bpf; /* left out where there is none */
	size_t at, bytes, per;
} parts[] = {
#define PART_(id, bpf, field, per)                                 \
	{                                                          \
		SECTION_##id, bpf, offsetof(struct sample, field), \
			sizeof(((struct sample *)0)->field), per   \
	}
	PART_(CLASS_BYTES, false, root.class_bytes, HAK_CLASS_MAX / 2),
	PART_(PAGE_BYTES, false, root.page_bytes, HAK_CLASS_MAX / 2),
	PART_(CLASS_PAGES, false, root.class_pages, 1),
	PART_(CLASS_GONE, false, root.class_gone, 1),
	PART_(OVER_ALIGNED, false, root.over_aligned, 1),
	PART_(LOCKS, false, root.lock, WORDS(struct hak_lock_view)),
	PART_(OS, false, root.os, WORDS(struct hak_os_view)),
	PART_(GAUGES, false, root.now, WORDS(struct hak_gauges)),
	PART_(CLASSES, false, class_, WORDS(struct class_counts)),
	PART_(BPF_REASONS, true, bpf.reasons, 1),
	PART_(BPF_CLASSES, true, bpf.class_, WORDS(struct class_sums)),
	PART_(BPF_LOCKS, true, bpf.lock, WORDS(struct lock_sums)),
	PART_(BPF_OS, true, bpf.os, HAK_OS_COUNT *WORDS(struct os_sums)),
	PART_(BPF_FALLBACK, true, bpf.fallback, WORDS(struct os_sums)),
	PART_(BPF_ROUTE, true, bpf.route, HAK_SOURCE_COUNT),
	PART_(BPF_SIZES, true, bpf.fallback_sizes, HIST_SLOTS),
#undef PART_
};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

bool sample_save(const struct sample *s, struct instant *f)
{
	uint64_t *w = instant_add(f, SECTION_SCALARS, 1, SCALAR_COUNT);

	if (!w)
		return false;
#define PUT_(field) *w++ = (uint64_t)s->field;
	SCALARS(PUT_)
#undef PUT_
	for (size_t i = 0; i < PARTS; i++) {
		const struct part *p = &parts[i];

		if (p->bpf && !s->has_bpf)
			continue;
		w = instant_add(f, p->id, p->bytes / 8 / p->per, p->per);
		if (!w)
			return false;
		memcpy(w, (const char *)s + p->at, p->bytes);
	}
	w = s->has_bpf ? instant_add(f, SECTION_PROBES_OFF, HAK_PROBE_COUNT, 1) : NULL;
	for (int i = 0; w && i < HAK_PROBE_COUNT; i++)
		w[i] = (uint64_t)(s->off_s[i] * 1e9);
	return w || !s->has_bpf;
}

bool sample_load(struct sample *s, const struct instant *f)
{
	const struct section *scalars = instant_get(f, SECTION_SCALARS);
	uint64_t w[SCALAR_COUNT], *at = w;

	memset(s, 0, sizeof(*s));
	if (!scalars || !scalars->rows)
		return false;
	section_row(scalars, 0, w, SCALAR_COUNT);
#define GET_(field) s->field = (__typeof__(s->field))*at++;
	SCALARS(GET_)
#undef GET_
	for (size_t i = 0; i < PARTS; i++) {
		const struct part *p = &parts[i];
		const struct section *from = instant_get(f, p->id);

		for (size_t row = 0; row < p->bytes / 8 / p->per; row++)
			section_row(from, row,
				    (uint64_t *)(void *)((char *)s + p->at) + row * p->per, p->per);
	}
	for (size_t i = 0; i < HAK_PROBE_COUNT; i++) {
		section_row(instant_get(f, SECTION_PROBES_OFF), i, w, 1);
		s->off_s[i] = (double)w[0] / 1e9;
	}
	if (s->threads < 0)
		s->threads = 0; /* unknown */
	return s->root.classes <= HAK_CLASS_MAX;
}
