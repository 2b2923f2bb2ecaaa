#include "hurry.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEAPS_MAX 100000U /* more threads than a process can have */

static bool read_at(int mem, uint64_t addr, void *to, size_t bytes)
{
	return pread(mem, to, bytes, (off_t)addr) == (ssize_t)bytes;
}

/* Of this very process image: a file of memory stays with the one that it was opened for. */
static bool read_root(const struct target *t, int mem, struct hak_root *r)
{
	return read_at(mem, t->root_addr, r, sizeof(*r)) &&
	       !memcmp(r->magic, HAK_MAGIC, sizeof(r->magic)) && r->abi == HAK_ABI &&
	       r->start_ns == t->start_ns && r->layout.root == t->root_addr;
}

/*
 * Not one system call for all words: a word is written whole or not at all this way, and bytes of 0
 * among those of an address make a smaller one in any case.
 */
static bool hurry_heap(int mem, uint64_t addr, unsigned classes)
{
	struct hak_heap_view v;
	uint64_t nothing = 0;

	if (!read_at(mem, addr, &v, sizeof(v)))
		return false;
	for (unsigned c = 1; v.state == HAK_HEAP_LIVE && c < classes; c++) {
		uint64_t at = addr + c * sizeof(v.bin[0]) + offsetof(struct hak_bin, limit);

		if (v.bin[c].limit &&
		    pwrite(mem, &nothing, sizeof(nothing), (off_t)at) != sizeof(nothing))
			return false;
	}
	return true;
}

bool hurry(const struct target *t)
{
	char path[64];
	struct hak_root r;
	uint32_t n;
	bool ok;
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/mem", t->reader ? t->reader : t->pid);
	mem = open(path, O_RDWR | O_CLOEXEC);
	ok = mem >= 0 && read_root(t, mem, &r);
	n = ok && r.heaps < HEAPS_MAX ? r.heaps : 0;
	for (uint32_t i = 0; ok && i < n; i++)
		ok = hurry_heap(mem, hak_heap_addr(&r, i),
				r.classes < HAK_CLASS_MAX ? r.classes : HAK_CLASS_MAX);
	if (mem >= 0)
		close(mem);
	return ok;
}
