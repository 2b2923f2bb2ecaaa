/* The operations of the malloc family, inline, so that every exported name is one of them. */
#ifndef HAK_ALLOC_H
#define HAK_ALLOC_H

#include "cache.h"

#include <errno.h>
#include <string.h>

HAK_INLINE void *alloc_zeroed(size_t count, size_t bytes)
{
	size_t total;
	void *p;

	if (unlikely(__builtin_mul_overflow(count, bytes, &total)))
		return hak_oom(SIZE_MAX, HAK_OOM_TOO_LARGE);
	if (unlikely(total > HAK_SMALL_MAX))
		return alloc_large_zeroed(total);
	p = alloc_fast(total);
	if (unlikely(!p))
		return NULL;
	/* fresh memory is not touched only to clear it */
	if (total > HAK_TINY_MAX && cache_was_fresh(pagemap_class(p)))
		return p;
	return memset(p, 0, total);
}

/* alignment: a power of two */
HAK_INLINE void *alloc_aligned(size_t alignment, size_t bytes)
{
	unsigned class;
	size_t need;

	if (alignment <= HAK_ALIGN)
		return alloc_fast(bytes);
	if (is_detour())
		return alloc_aligned_aside(alignment, bytes);
	if (alignment > HAK_SLICE || bytes > HAK_SMALL_MAX)
		return alloc_large(bytes, alignment);
	need = align_up(bytes ? bytes : 1, alignment);
	class = class_aligned(need, alignment);
	return class ? alloc_class(need, class) : alloc_large(bytes, alignment);
}

HAK_INLINE void *alloc_aligned_checked(size_t alignment, size_t bytes)
{
	if (unlikely(!is_pow2(alignment))) {
		errno = EINVAL;
		return NULL;
	}
	return alloc_aligned(alignment, bytes);
}

void *realloc_any(void *p, size_t bytes);

#endif
