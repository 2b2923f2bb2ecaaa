/*
 * The malloc family as glibc exports it. Every name that allocates or frees is here, so that a
 * program never mixes two heaps.
 */
#include "alloc.h"
#include "family.h"
#include "hakmem.h"

#include <stdlib.h>
#include <unistd.h>

HAK_EXPORT void *malloc(size_t bytes)
{
	return alloc_fast(bytes);
}

HAK_EXPORT void free(void *p)
{
	free_fast(p);
}

HAK_EXPORT void free_sized(void *p, size_t bytes);
HAK_EXPORT void free_sized(void *p, size_t bytes)
{
	(void)bytes;
	free_fast(p);
}

HAK_EXPORT void free_aligned_sized(void *p, size_t alignment, size_t bytes);
HAK_EXPORT void free_aligned_sized(void *p, size_t alignment, size_t bytes)
{
	(void)alignment;
	(void)bytes;
	free_fast(p);
}

HAK_EXPORT void cfree(void *p); /* glibc kept it for programs linked before 2.26 */
HAK_EXPORT void cfree(void *p)
{
	free_fast(p);
}

HAK_EXPORT void *calloc(size_t count, size_t bytes)
{
	return alloc_zeroed(count, bytes);
}

HAK_EXPORT void *realloc(void *p, size_t bytes)
{
	return realloc_any(p, bytes);
}

HAK_EXPORT void *reallocarray(void *p, size_t count, size_t bytes)
{
	size_t total;

	if (__builtin_mul_overflow(count, bytes, &total))
		return hak_oom(SIZE_MAX, HAK_OOM_TOO_LARGE);
	return realloc_any(p, total);
}

HAK_EXPORT void *aligned_alloc(size_t alignment, size_t bytes)
{
	return alloc_aligned_checked(alignment, bytes);
}

/* The result is the error number. Out of memory sets errno too, as in glibc, on which some rely. */
HAK_EXPORT int posix_memalign(void **out, size_t alignment, size_t bytes)
{
	void *p;

	if (!is_pow2(alignment) || alignment % sizeof(void *))
		return EINVAL;
	p = alloc_aligned(alignment, bytes);
	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

/* As glibc: an alignment that is not a power of two is raised to the next one. */
HAK_EXPORT void *memalign(size_t alignment, size_t bytes)
{
	size_t a = HAK_ALIGN;

	if (alignment > (SIZE_MAX >> 1) + 1) {
		errno = EINVAL;
		return NULL;
	}
	while (a < alignment)
		a <<= 1;
	return alloc_aligned(a, bytes);
}

HAK_EXPORT void *valloc(size_t bytes)
{
	return alloc_aligned((size_t)getpagesize(), bytes);
}

HAK_EXPORT void *pvalloc(size_t bytes)
{
	size_t os_page = (size_t)getpagesize();

	if (bytes > PTRDIFF_MAX - os_page)
		return hak_oom(bytes, HAK_OOM_TOO_LARGE);
	return alloc_aligned(os_page, align_up(bytes ? bytes : 1, os_page));
}

HAK_EXPORT size_t malloc_usable_size(void *p)
{
	return usable_size(p);
}

/* `pad` bytes at the top of a heap have no meaning here. */
HAK_EXPORT int malloc_trim(size_t pad)
{
	(void)pad;
	return hak_trim();
}

/*
 * 1: taken, 0: refused. Hints about how glibc gets its memory are taken, though they have nothing
 * to steer here: programs end when they are refused. So is M_CHECK_ACTION, which glibc has ignored
 * since 2.26. What promises a behaviour (M_PERTURB) is not.
 */
HAK_EXPORT int mallopt(int parameter, int value)
{
	(void)value;
	switch (parameter) {
	case M_ARENA_MAX:
	case M_ARENA_TEST:
	case M_MXFAST:
	case M_TRIM_THRESHOLD:
	case M_TOP_PAD:
	case M_MMAP_THRESHOLD:
	case M_MMAP_MAX:
	case M_CHECK_ACTION:
		return 1;
	default:
		return 0;
	}
}
