/* Tables of the size classes, computed by the compiler from the one list in class.h. */
#include "class.h"

#define SIZE_(n, a) n,
const uint32_t hak_class_bytes[HAK_CLASS_MAX] = {0, HAK_CLASS_SIZES(SIZE_, 0)};

#define T1(i) HAK_CLASS_OF((i)*16),
#define T4(i) T1(i) T1((i) + 1) T1((i) + 2) T1((i) + 3)
#define T16(i) T4(i) T4((i) + 4) T4((i) + 8) T4((i) + 12)
const uint8_t hak_class_tiny[HAK_TINY_STEPS] = {T16(0) T16(16) T16(32) T16(48) T1(64)};

#define M1(i) HAK_CLASS_OF((i)*256),
#define M4(i) M1(i) M1((i) + 1) M1((i) + 2) M1((i) + 3)
#define M16(i) M4(i) M4((i) + 4) M4((i) + 8) M4((i) + 12)
#define M64(i) M16(i) M16((i) + 16) M16((i) + 32) M16((i) + 48)
#define M256(i) M64(i) M64((i) + 64) M64((i) + 128) M64((i) + 192)
#define MID                                                                                        \
	{                                                                                          \
		M256(0)                                                                            \
		M256(256) M256(512) M256(768) M256(1024) M256(1280) M256(1536) M256(1792) M1(2048) \
	}
const uint8_t hak_class_mid[HAK_MID_STEPS] = MID;
uint8_t hak_xbin_mid[HAK_MID_STEPS] = MID;

/*
 * The proof that sizes tile: a table step never straddles a class boundary, so the class found
 * for the step's last byte is the smallest that holds every byte of the step, and the largest
 * class ends where the large layer begins.
 */
#define ON_STEP_(n, a) &&((n) % ((n) <= HAK_TINY_MAX ? 16 : 256) == 0)
_Static_assert(1 HAK_CLASS_SIZES(ON_STEP_, 0), "class boundaries lie on table steps");
#define IS_MAX_(n, a) +((n) == HAK_SMALL_MAX)
#define IS_TINY_MAX_(n, a) +((n) == HAK_TINY_MAX)
#define ABOVE_MAX_(n, a) +((n) > HAK_SMALL_MAX)
_Static_assert((0 HAK_CLASS_SIZES(IS_MAX_, 0)) == 1, "classes end where large blocks begin");
_Static_assert((0 HAK_CLASS_SIZES(IS_TINY_MAX_, 0)) == 1, "the two tables meet at a class");
_Static_assert((0 HAK_CLASS_SIZES(ABOVE_MAX_, 0)) == 0, "no class reaches into the large layer");
#define ALIGNED_(n, a) &&((n) % HAK_ALIGN == 0)
_Static_assert(1 HAK_CLASS_SIZES(ALIGNED_, 0), "every block is aligned");
#define RUN_(n, a) &&((n) <= HAK_SLICE || (n) % HAK_SLICE == 0)
_Static_assert(1 HAK_CLASS_SIZES(RUN_, 0), "runs are whole slices");

unsigned class_page_slices(unsigned class)
{
	size_t size = hak_class_bytes[class];
	unsigned slices = 1;

	if (class_is_run(class))
		return (unsigned)(size >> HAK_SLICE_SHIFT);
	while (slices * HAK_SLICE < 8 * size || slices * HAK_SLICE % size > slices * HAK_SLICE / 16)
		slices++;
	return slices;
}
