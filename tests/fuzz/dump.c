/*
 * A fuzz target for hakstat's walk through a heap it does not trust (hakstat/dump.c): the heap of
 * this process, of which the input changes some words while they are read.
 *
 * An input is changes of 14 bytes: in which structure, which of them, offset (2), length, how the
 * value is meant, value (8).
 */
#include "dump.h"
#include "hakmem.h"
#include "internal.h"
#include "pagemap.h"

#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define CHANGES 16
#define BLOCKS 64

struct change {
	uint64_t at, value;
	size_t bytes;
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct change change[CHANGES];
static unsigned changes;
static void *block[BLOCKS];

/* In the place of hakstat/memory.c. */
__attribute__((no_sanitize("coverage"))) bool memory_read(const struct memory *m, uint64_t addr,
							  void *buf, size_t bytes)
{
	struct iovec to = {buf, bytes}, from = {(void *)(uintptr_t)addr, bytes}; /* NOLINT */

	(void)m;
	if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != (ssize_t)bytes)
		return false;
	for (unsigned i = 0; i < changes; i++)
		for (size_t k = 0; k < change[i].bytes; k++)
			if (change[i].at + k - addr < bytes)
				((uint8_t *)buf)[change[i].at + k - addr] =
					(uint8_t)(change[i].value >> 8 * k);
	return true;
}

__attribute__((no_sanitize("coverage"))) bool
memory_read_written(const struct memory *m, uint64_t addr, void *buf, size_t bytes)
{
	return memory_read(m, addr, buf, bytes);
}

static uint64_t place(unsigned kind, unsigned i)
{
	const struct segment *s = arena_segments;
	const void *p = block[i % BLOCKS];
	const struct hak_root *r = &hakmem_root;

	switch (kind % 6) {
	case 0:
		return (uintptr_t)r;
	case 1:
		return (uintptr_t)&r->layout;
	case 2:
		return (uintptr_t)heap_at(i % r->heaps);
	case 3:
		while (i-- && s->all_next)
			s = s->all_next;
		return (uintptr_t)s;
	case 4:
		return (uintptr_t)pagemap_page(p);
	default:
		return (uintptr_t)hak_pagemap_root[(uintptr_t)p >> 32] +
		       ((uintptr_t)p >> 16 & 0xffff) * sizeof(void *);
	}
}

static void read_change(const uint8_t *d)
{
	struct change *c = &change[changes++];
	uint64_t value;

	memcpy(&value, d + 6, 8);
	c->at = place(d[0], d[1]) + d[2] + 256U * d[3];
	c->bytes = 1 + d[4] % 8;
	c->value = d[5] & 1 ? place(d[5] >> 1, (unsigned)(value & 255)) + (value >> 8 & 0xffff)
			    : value;
}

static void look(const struct dump *d, const struct dump_page *pg, unsigned dirty, void *arg)
{
	(void)d;
	(void)dirty;
	*(uint64_t *)arg += pg->bytes;
}

/* Blocks of many kinds, some of them free, by two heaps. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	for (unsigned i = 0; i < BLOCKS; i++)
		block[i] = hak_malloc(i < 40 ? (size_t)8 << i % 17 : (size_t)100000 << i % 6);
	for (unsigned i = 0; i < BLOCKS; i += 3)
		hak_free(block[i]);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct dump d;
	struct dump_block b;
	uint64_t sum = 0;
	const struct dump_visitor v = {.page = look, .arg = &sum};

	changes = 0;
	for (size_t i = 0; i + 14 <= size && changes < CHANGES; i += 14)
		read_change(data + i);
	if (!dump_read(&d, NULL, (uintptr_t)&hakmem_root, &v)) {
		if (!changes && d.bad.count) {
			fprintf(stderr, "fuzz: a sound heap is found broken: %s\n", d.bad.first);
			__builtin_trap();
		}
		if (strnlen(d.bad.first, sizeof(d.bad.first)) == sizeof(d.bad.first))
			__builtin_trap();
		dump_block(&d, (uintptr_t)block[size % BLOCKS] + size, &b);
		for (unsigned i = 0; i < changes; i++)
			dump_block(&d, change[i].value, &b);
	}
	dump_free(&d);
	return 0;
}
