/* The tables of `hakstat dump': of model.own, which is a struct dump_shown. */
#ifndef HAKSTAT_VIEW_DUMP_H
#define HAKSTAT_VIEW_DUMP_H

#include "dump.h"
#include "views.h"

/* A page as it is listed. */
struct page_line {
	uint64_t start, bytes;
	uint32_t class_, kind, used, capacity, dirty;
	int owner;
};

struct dump_shown {
	const struct dump *d;
	const struct page_line *page;
	size_t pages;
	bool has_block;
	uint64_t address; /* that was asked for */
	char digits[24];  /* of it */
	struct dump_block block;
	bool block_known;
};

/* Blocks on their way to their owner, in bytes. */
uint64_t dump_waiting_bytes(const struct dump *d);
const char *dump_kind_name(uint32_t kind);
const char *dump_state_name(enum block_state state);
/* Heap that owns the page; -1: none does. */
int dump_owner(const struct dump *d, const struct dump_page *pg);

#endif
