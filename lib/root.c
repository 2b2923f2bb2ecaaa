/* What readers outside the process start from: the root block and the note that points to it. */
#include "hakmem.h"
#include "internal.h"
#include "pagemap.h"

#include <string.h>

HAK_EXPORT struct hak_root hakmem_root __attribute__((aligned(HAK_CACHE_LINE)));

/*
 * An ELF note outside the loaded image, like those of the probes: it survives strip, and its
 * address is final at link time.
 */
__asm__(".pushsection .note.hakmem,\"\",@note\n"
	".balign 4\n"
	".4byte 2f-1f, 4f-3f, 1\n"
	"1:\t.asciz \"" HAK_NOTE_OWNER "\"\n"
	"2:\t.balign 4\n"
	"3:\t.8byte hakmem_root\n"
	"\t.4byte 9, 0\n"
	"4:\t.balign 4\n"
	".popsection\n");
_Static_assert(HAK_NOTE_ROOT == 1 && HAK_ABI == 9, "numbers in the note above");

HAK_EXPORT const char *hak_version(void)
{
	return HAKMEM_VERSION;
}

/* The way for readers of a stopped or dead process; nothing of it is used in here. */
static void layout_init(struct hak_layout *l)
{
	const struct lock *locks[] = {&arena_lock, &heaps_lock, &large_lock, &meta_lock,
				      &marks_lock};

	l->root = (uintptr_t)&hakmem_root;
	l->segments = (uintptr_t)&arena_segments;
	l->pagemap = (uintptr_t)hak_pagemap_root;
	l->class_map = (uintptr_t)&hak_class_map;
	l->class_mask = (uintptr_t)&hak_class_mask;
	l->options = (uintptr_t)&hak_options;
	for (unsigned i = 0; i < sizeof(locks) / sizeof(locks[0]); i++)
		l->lock[locks[i]->id] = (uintptr_t)&locks[i]->xword;
	l->options_count = sizeof(hak_options) / sizeof(uint64_t);
	l->page_bytes = sizeof(struct page);
	l->segment_bytes = sizeof(struct segment);
	l->slice_bytes = HAK_SLICE;
#define AT_(type, id, field) l->at[HAK_AT_##type##_##id] = offsetof(struct type, field);
	HAK_FIELDS(AT_)
#undef AT_
	_Static_assert(HAK_AT_COUNT <= HAK_AT_MAX, "room for every field");
	_Static_assert(sizeof(struct segment) <= UINT16_MAX, "offsets are 16 bits");
	_Static_assert(sizeof(struct heap) <= UINT16_MAX, "offsets are 16 bits");
}

void root_init(void)
{
	struct hak_root *r = &hakmem_root;
	uint64_t magic;

	r->abi = HAK_ABI;
	r->root_bytes = sizeof(*r);
	r->heap_bytes = sizeof(struct heap);
	r->classes = HAK_CLASSES;
	memcpy(r->version, HAKMEM_VERSION, sizeof(HAKMEM_VERSION));
	r->pid = os_pid();
	r->start_ns = os_now_ns();
	for (unsigned c = 1; c < HAK_CLASSES; c++) {
		r->class_bytes[c] = hak_class_bytes[c];
		r->page_bytes[c] = (uint32_t)(class_page_slices(c) * HAK_SLICE);
	}
	r->grain_bytes = HAK_OS_PAGE;
	layout_init(&r->layout);
	/* release: a reader that sees the magic sees the rest */
	memcpy(&magic, HAK_MAGIC, sizeof(magic));
	store_release((uint64_t *)(void *)r->magic, magic);
}
