/*
 * Heap samples. While they are taken, an allocation of S bytes is sampled with the probability
 * 1 - exp(-S / mean): as if every byte were marked with the probability 1 / mean, and allocations
 * that hold a marked byte were sampled. Each heap counts the bytes down to its next marked one, by
 * a distance drawn anew after each sample. Stands for: S / probability bytes.
 *
 * The switch is the semaphore of otel_memory:alloc. No hit path looks at it: who finds it turned
 * in a slow operation turns malloc's tables, so that requests find a bin that is always empty
 * (HAK_ASIDE) and come to alloc_aside, which counts their bytes. The table of sizes above 1 KiB is
 * the process's; the one below is the thread's, who turns it in his next slow operation. So that
 * this is soon, the limits of all caches are set to nothing: their next free is a slow one.
 */
#include "internal.h"
#include "pagemap.h"

#include <string.h>

uint32_t hak_xdetour;
unsigned short hak_sample_always __attribute__((section(".probes"), visibility("hidden")));

static const uint16_t bin_tiny[HAK_TINY_STEPS] = HAK_BIN_TINY;

/* The binary logarithm of the mean, as the switch says. */
static unsigned mean_now(void)
{
	unsigned bits = (unsigned)hak_watched(hakmem, sample_bit0) |
			(unsigned)hak_watched(hakmem, sample_bit1) << 1 |
			(unsigned)hak_watched(hakmem, sample_bit2) << 2 |
			(unsigned)hak_watched(hakmem, sample_bit3) << 3 |
			(unsigned)hak_watched(hakmem, sample_bit4) << 4;

	if (!bits)
		return hak_mean_of_profile(hak_options.profile);
	return bits < HAK_MEAN_LEAST ? HAK_MEAN_LEAST : bits;
}

/* ln x, 0 < x <= 1. Within 1e-10: the bits give the power of two, a series the rest. */
static double logarithm(double x)
{
	uint64_t bits;
	double m, s, s2;
	int e;

	memcpy(&bits, &x, sizeof(bits));
	e = (int)(bits >> 52) - 1023;
	bits = (bits & 0xFFFFFFFFFFFFFU) | (uint64_t)1023 << 52;
	memcpy(&m, &bits, sizeof(m));
	if (m > 1.4142135623730951) {
		m /= 2;
		e++;
	}
	s = (m - 1) / (m + 1);
	s2 = s * s;
	return e * 0.6931471805599453 +
	       2 * s *
		       (1 + s2 * (1.0 / 3 +
				  s2 * (1.0 / 5 + s2 * (1.0 / 7 + s2 * (1.0 / 9 + s2 / 11)))));
}

/* 1 - exp(-x), x > 0 */
static double probability(double x)
{
	unsigned halved = 0;
	double p;

	if (x > 40)
		return 1;
	while (x > 0.25) {
		x /= 2;
		halved++;
	}
	p = x * (1 - x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5 * (1 - x / 6 * (1 - x / 7))))));
	/* 1 - (1 - p)^2 */
	while (halved--)
		p *= 2 - p;
	return p;
}

static uint64_t luck(struct heap *h)
{
	uint64_t x = h->sample_luck;

	if (!x)
		x = (os_random() ^ os_now_ns() ^ (uintptr_t)h) | 1;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	h->sample_luck = x;
	return x * 0x2545F4914F6CDD1DU;
}

/* Bytes to the next one marked, counting it. */
void sample_draw(struct heap *h)
{
	double u = ((double)(luck(h) >> 12) + 0.5) / (double)((uint64_t)1 << 52);

	h->sample_mean = mean_now();
	h->sample_left = (int64_t)(-logarithm(u) * (double)((uint64_t)1 << h->sample_mean)) + 1;
}

/* Requests of this thread of up to 1 KiB go aside, or to their classes. */
static void turn_thread(bool on)
{
	for (unsigned i = 0; i < HAK_TINY_STEPS; i++)
		count_set(&hak_thread.bin_tiny[i],
			  on ? (uint16_t)(HAK_ASIDE * sizeof(struct hak_bin)) : bin_tiny[i]);
}

static void hurry_others(const struct heap *me)
{
	for (uint32_t i = 0, n = load_acquire(&hakmem_root.heaps); i < n; i++) {
		struct heap *h = heap_at(i);

		if (h != me && peek(&h->view.state) == HAK_HEAP_LIVE)
			cache_hurry(h);
	}
}

/* For the process; the lock is held, or nobody else is there yet. */
static void turn(bool on)
{
	for (unsigned i = 0; i < HAK_MID_STEPS; i++)
		poke(&hak_xbin_mid[i], on ? (uint8_t)HAK_ASIDE : hak_class_mid[i]);
	if (on)
		__atomic_fetch_or(&hak_xdetour, HAK_DETOUR_SAMPLE, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&hak_xdetour, ~HAK_DETOUR_SAMPLE, __ATOMIC_RELAXED);
	/* release: who follows finds the tables turned */
	store_release(&hakmem_root.sampling.turns, hakmem_root.sampling.turns + 1);
}

void sample_start(void)
{
	if (hak_options.secure)
		hak_xdetour = HAK_DETOUR_SECURE;
	hak_sample_always = hak_options.profile != 0;
	if (hak_sample_always)
		turn(true);
}

/*
 * In a slow operation of h: if the switch was turned, turns what is the process's, unless another
 * thread is about to, and what is the thread's. Another mean is taken up, too.
 */
void sample_follow(struct heap *h)
{
	bool on = sample_wanted(), turned = false;
	uint32_t turns;

	if (on != (peek(&hakmem_root.sampling.turns) & 1) && lock_try(&marks_lock)) {
		turned = on != (peek(&hakmem_root.sampling.turns) & 1);
		if (turned)
			turn(on);
		lock_drop(&marks_lock);
	}
	turns = (uint32_t)load_acquire(&hakmem_root.sampling.turns);
	if (h->sample_seen != turns) {
		h->sample_seen = turns;
		h->sample_mean = 0;
		if (h == hak_thread.heap)
			turn_thread(turns & 1);
	}
	if (turns & 1 && h->sample_mean != mean_now())
		sample_draw(h);
	if (turned && on)
		hurry_others(h);
}

/*
 * What this request stands for if it is one to be sampled, else 0. The mean is the one it was drawn
 * with: to allocate it is a slow operation, which may find that another is asked for.
 */
uint64_t sample_due(struct heap *h, size_t bytes)
{
	double size = (double)(bytes ? bytes : 1);

	if (likely(sample_counts_down(h, bytes)))
		return 0;
	return (uint64_t)(size / probability(size / (double)((uint64_t)1 << h->sample_mean)) + 0.5);
}

/* p was allocated, with this mark, and is handed out next. */
HAK_NOINLINE void sample_taken(void *p, struct mark *m, uint64_t weight)
{
	uint64_t size = m->bytes ? m->bytes : 1;

	add_relaxed(&hakmem_root.sampling.samples, 1);
	if (hak_options.profile) {
		m->record = profile_add(p, size, weight);
		marked_record(pagemap_page(p), p, m->record);
	}
	hak_probe_otel_memory_alloc((uintptr_t)p, size, weight);
}

/* Before it can be allocated again. Whether or not anybody listens: it may have begun earlier. */
void sample_freed(const void *p, const struct mark *m)
{
	add_relaxed(&hakmem_root.sampling.sample_frees, 1);
	if (m->record)
		profile_remove(m->record);
	hak_probe_otel_memory_free((uintptr_t)p);
}
