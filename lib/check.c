/* hak_check: the invariants of types.h, verified. */
#include "hakmem.h"
#include "internal.h"

HAK_EXPORT unsigned hak_check(void)
{
	return heap_check() + marked_check() + arena_check();
}
