/* The public functions of hakmem.h that allocate. */
#include "hakmem.h"
#include "alloc.h"

HAK_EXPORT void *hak_malloc(size_t bytes)
{
	return alloc_fast(bytes);
}

HAK_EXPORT void hak_free(void *block)
{
	free_fast(block);
}

HAK_EXPORT void *hak_calloc(size_t count, size_t bytes)
{
	return alloc_zeroed(count, bytes);
}

HAK_EXPORT void *hak_realloc(void *block, size_t bytes)
{
	return realloc_any(block, bytes);
}

HAK_EXPORT void *hak_aligned_alloc(size_t alignment, size_t bytes)
{
	return alloc_aligned_checked(alignment, bytes);
}

HAK_EXPORT size_t hak_usable_size(const void *block)
{
	return usable_size(block);
}

HAK_EXPORT void *hak_alloc_at(size_t bytes, const char *site)
{
	if (unlikely(site_watched()) && site)
		return alloc_at(bytes, site);
	return alloc_fast(bytes);
}

HAK_EXPORT void hak_free_at(void *block, const char *site)
{
	(void)site;
	free_fast(block);
}

HAK_EXPORT bool hak_trim(void)
{
	struct heap *h = heap_enter();
	bool any;

	if (!h)
		return false;
	any = heap_trim(h);
	heap_leave(h);
	return any;
}
