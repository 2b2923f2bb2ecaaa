/*
 * Size classes: 16-byte steps up to 256, then four per doubling up to 64 KiB: internal waste is
 * at most 20 % above 256 bytes. Then whole slices up to 512 KiB: of what is left over no memory
 * is touched. Sizes and the two lookup tables come from one list (class.c).
 *
 *   [0, 65536]            -> class 1 .. HAK_FIRST_RUN - 1, by table: blocks of a page
 *   (65536, 524288]       -> class HAK_FIRST_RUN .. HAK_CLASSES - 1, by table: a run each
 *   (524288, 2 MiB]       -> large, a run of slices
 *   (2 MiB, PTRDIFF_MAX]  -> large, a mapping of its own
 *   above                 -> refused with ENOMEM
 */
#ifndef HAK_CLASS_H
#define HAK_CLASS_H

#include "types.h"

/* X(bytes, arg), ascending; the first is class 1. */
#define HAK_CLASS_SIZES(X, a) \
	X(16, a)              \
	X(32, a)              \
	X(48, a)              \
	X(64, a)              \
	X(80, a)              \
	X(96, a)              \
	X(112, a)             \
	X(128, a)             \
	X(144, a)             \
	X(160, a)             \
	X(176, a)             \
	X(192, a)             \
	X(208, a)             \
	X(224, a)             \
	X(240, a)             \
	X(256, a)             \
	X(320, a)             \
	X(384, a)             \
	X(448, a)             \
	X(512, a)             \
	X(640, a)             \
	X(768, a)             \
	X(896, a)             \
	X(1024, a)            \
	X(1280, a)            \
	X(1536, a)            \
	X(1792, a)            \
	X(2048, a)            \
	X(2560, a)            \
	X(3072, a)            \
	X(3584, a)            \
	X(4096, a)            \
	X(5120, a)            \
	X(6144, a)            \
	X(7168, a)            \
	X(8192, a)            \
	X(10240, a)           \
	X(12288, a)           \
	X(14336, a)           \
	X(16384, a)           \
	X(20480, a)           \
	X(24576, a)           \
	X(28672, a)           \
	X(32768, a)           \
	X(40960, a)           \
	X(49152, a)           \
	X(57344, a)           \
	X(65536, a)           \
	X(131072, a)          \
	X(196608, a)          \
	X(262144, a)          \
	X(327680, a)          \
	X(393216, a)          \
	X(458752, a)          \
	X(524288, a)

#define HAK_CLASS_ONE_(n, a) +1
enum { HAK_CLASSES = 1 HAK_CLASS_SIZES(HAK_CLASS_ONE_, 0) }; /* 56, class 0 included */
_Static_assert(HAK_CLASSES <= HAK_CLASS_MAX, "per-class arrays of the contract");

#define HAK_TINY_MAX ((size_t)1024)		/* looked up in steps of 16 bytes */
#define HAK_TINY_STEPS (HAK_TINY_MAX / 16 + 1)	/* 65 */
#define HAK_MID_STEPS (HAK_SMALL_MAX / 256 + 1) /* 2049 */

extern const uint32_t hak_class_bytes[HAK_CLASS_MAX];
extern const uint8_t hak_class_tiny[HAK_TINY_STEPS];
extern const uint8_t hak_class_mid[HAK_MID_STEPS];
/* The bin that malloc takes from: that of the class, or HAK_ASIDE while samples are taken. */
extern uint8_t hak_xbin_mid[HAK_MID_STEPS];
#define HAK_ASIDE (HAK_CLASS_MAX - 1U) /* a bin that is always empty */
_Static_assert(HAK_CLASSES <= HAK_ASIDE, "it is of no class");
/* bytes <= HAK_TINY_MAX */
HAK_INLINE unsigned class_of_tiny(size_t bytes)
{
	return hak_class_tiny[(bytes + 15) >> 4];
}

/* bytes <= HAK_SMALL_MAX */
HAK_INLINE unsigned class_of(size_t bytes)
{
	return likely(bytes <= HAK_TINY_MAX) ? class_of_tiny(bytes)
					     : hak_class_mid[(bytes + 255) >> 8];
}

/* The class of a size is one more than the number of classes too small for it. */
#define HAK_TOO_SMALL_(n, b) +((n) < (b))
#define HAK_CLASS_OF(b) (1 HAK_CLASS_SIZES(HAK_TOO_SMALL_, b))

enum { HAK_FIRST_RUN = HAK_CLASS_OF(HAK_SLICE + 1) };

/* A block of the class is a run of slices of its own. */
HAK_INLINE bool class_is_run(unsigned class)
{
	return class >= HAK_FIRST_RUN;
}

/*
 * The smallest class of blocks for `need` bytes, a multiple of alignment, that all are aligned so:
 * they lie at multiples of their size from a slice. 0: none.
 */
HAK_INLINE unsigned class_aligned(size_t need, size_t alignment)
{
	for (unsigned class = class_of(need); class < HAK_CLASSES; class ++)
		if (hak_class_bytes[class] % alignment == 0)
			return class;
	return 0;
}

/* For each step of 16 bytes the distance of its class's bin from the start of a heap. */
#define HAK_B1_(i) HAK_CLASS_OF((i)*16) * sizeof(struct hak_bin),
#define HAK_B4_(i) HAK_B1_(i) HAK_B1_((i) + 1) HAK_B1_((i) + 2) HAK_B1_((i) + 3)
#define HAK_B16_(i) HAK_B4_(i) HAK_B4_((i) + 4) HAK_B4_((i) + 8) HAK_B4_((i) + 12)
#define HAK_BIN_TINY                                                           \
	{                                                                      \
		HAK_B16_(0) HAK_B16_(16) HAK_B16_(32) HAK_B16_(48) HAK_B1_(64) \
	}
_Static_assert(HAK_CLASS_MAX * sizeof(struct hak_bin) <= UINT16_MAX, "distances fit");

/* Slices of a page of the class: at least 8 blocks, at most 1/16 lost at its end; or of a run. */
unsigned class_page_slices(unsigned class);

#endif
