/*
 * Large blocks of HAKMEM_SECURE=1: spans of address space that end where the block ends, with a
 * slice that cannot be touched before and after. Freed, a span stays for a while and cannot be
 * touched either; then the system gets it.
 *
 *   | guard slice | slices of the block, untouchable too where it is not | guard slice |
 *
 * start .. start + bytes is the block; its slices begin where start's does, map_bytes long. One
 * aligned to more than an OS page may end before they do.
 */
#include "internal.h"
#include "pagemap.h"

#define KEPT 256U		     /* freed spans that stay */
#define KEPT_BYTES ((size_t)1 << 30) /* 1 GiB: and their address space */

static struct page *kept[KEPT]; /* lock LARGE: a ring */
static unsigned oldest, nkept;	/* lock LARGE */
static size_t kept_bytes;	/* lock LARGE */

static char *first_slice(const struct page *pg)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	return (char *)((uintptr_t)pg->start & ~(HAK_SLICE - 1));
}

/* All its slices: a pointer into the middle is known for one. */
static void enter(const struct page *pg, struct page *as)
{
	pagemap_set(first_slice(pg), pg->map_bytes >> HAK_SLICE_SHIFT, as, 0);
}

static size_t with_guards(const struct page *pg)
{
	return pg->map_bytes + 2 * HAK_SLICE;
}

/*
 * The block at the end of `total` bytes at p, as near as its alignment lets it; what is not needed
 * goes back at once, and cannot be touched in the slices that stay.
 */
static void place(struct page *pg, char *p, size_t total, size_t bytes, size_t alignment)
{
	char *all = p + total, *used, *unused, *first, *end;

	pg->start = all - HAK_SLICE - bytes;
	pg->start -= (uintptr_t)pg->start & (alignment - 1);
	used = pg->start - ((uintptr_t)pg->start & (HAK_OS_PAGE - 1));
	unused = used + align_up((size_t)(pg->start - used) + bytes, HAK_OS_PAGE);
	pg->bytes = (size_t)(unused - pg->start);
	first = first_slice(pg);
	pg->map_bytes = align_up((size_t)(unused - first), HAK_SLICE);
	end = first + pg->map_bytes + HAK_SLICE;
	if (first - HAK_SLICE > p)
		os_unmap(p, (size_t)(first - HAK_SLICE - p), HAK_OS_LARGE);
	if (all > end)
		os_unmap(end, (size_t)(all - end), HAK_OS_LARGE);
	os_guard(first - HAK_SLICE, HAK_SLICE + (size_t)(used - first));
	os_guard(unused, (size_t)(end - unused));
}

/* The page of a new block, NULL when out of memory. alignment: 0 or a power of two. */
struct page *guarded_alloc(size_t bytes, size_t alignment)
{
	size_t align = alignment > HAK_ALIGN ? alignment : HAK_ALIGN;
	size_t total = align_up(bytes + align, HAK_SLICE) + 2 * HAK_SLICE;
	struct page *pg;
	char *p;

	if (bytes > PTRDIFF_MAX - align || total > PTRDIFF_MAX)
		return NULL;
	pg = meta_page_new();
	p = pg ? large_map(total, HAK_SLICE) : NULL;
	add_relaxed(&hakmem_root.os.fallbacks, 1);
	add_relaxed(&hakmem_root.os.fallback_bytes, bytes);
	hak_probe_hakmem_mmap_fallback(bytes, alignment, HAK_FALLBACK_TOO_LARGE, (uintptr_t)p);
	if (!p) {
		if (pg)
			meta_page_free(pg);
		return NULL;
	}
	place(pg, p, total, bytes ? bytes : 1, align);
	pg->zero = 1;
	pg->marks = NULL;
	pg->segment = NULL;
	add_relaxed(&hakmem_root.now.large_bytes, pg->map_bytes);
	poke(&pg->kind, PAGE_MAPPED);
	enter(pg, pg);
	return pg;
}

/* The oldest of those kept, out of the ring; lock held. */
static struct page *take_oldest(void)
{
	struct page *pg = kept[oldest];

	oldest = (oldest + 1) % KEPT;
	nkept--;
	kept_bytes -= with_guards(pg);
	enter(pg, NULL);
	return pg;
}

static void drop(struct page *pg)
{
	os_unmap(first_slice(pg) - HAK_SLICE, with_guards(pg), HAK_OS_LARGE);
	meta_page_free(pg);
}

/* pg: of a live block, or of one another thread is freeing */
void guarded_free(struct page *pg)
{
	struct page *out;

	if (__atomic_exchange_n(&pg->kind, PAGE_UNUSED, __ATOMIC_ACQ_REL) != PAGE_MAPPED) {
		hak_misuse(pg->start, HAK_MISUSE_DOUBLE_FREE, "free");
		return;
	}
	sub_relaxed(&hakmem_root.now.large_bytes, pg->map_bytes);
	os_hide(first_slice(pg), pg->map_bytes);
	lock_take(&large_lock);
	out = nkept == KEPT ? take_oldest() : NULL;
	kept[(oldest + nkept++) % KEPT] = pg;
	kept_bytes += with_guards(pg);
	while (!out && kept_bytes > KEPT_BYTES)
		out = take_oldest();
	lock_drop(&large_lock);
	if (out)
		drop(out);
}

/* Everything kept goes to the system. True if anything did. */
bool guarded_purge(void)
{
	bool any = false;

	for (;;) {
		struct page *pg;

		lock_take(&large_lock);
		pg = nkept ? take_oldest() : NULL;
		lock_drop(&large_lock);
		if (!pg)
			return any;
		drop(pg);
		any = true;
	}
}
