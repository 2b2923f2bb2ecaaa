/*
 * Page tables lie in physical memory, all of which the kernel has mapped, at a base that it draws
 * anew at every boot and tells to CAP_SYSLOG only. It is a multiple of 1 GiB, and the top table of
 * a process, whose address is in its mm_struct, has entries for the kernel's half too: with the
 * right base, these lead from the top table's address to its own page. No other base does that.
 *
 * We try upwards from the lowest that is possible. So nothing is read above the true place of a
 * table, or above the end of memory: devices are mapped there.
 *
 * Nothing keeps a process from changing its tables, or from giving them back, while we read. So the
 * entry that led to a table is read once more after it; a table that is not there any more is as
 * good as empty.
 */
#include "pagetables.h"
#include "peek.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __x86_64__
#define KNOWN true
#else
#define KNOWN false
#endif

#define ENTRIES 512U /* of a table */
#define BATCH 256U   /* tables read at once: what fits into one run of peek.bpf.c */
#define CHUNK_BYTES ((uint64_t)ENTRIES * PAGE)
#define CHUNKS_MOST ((size_t)1 << 21) /* 4 TiB */
#define PAGE ((uint64_t)4096)
#define GIB ((uint64_t)1 << 30)
#define FOUR_LEVELS_FROM 0xffff800000000000 /* with five, memory is mapped far below */

/* Bits of an entry. */
#define PRESENT ((uint64_t)1 << 0)
#define LEAF ((uint64_t)1 << 7)	     /* above the lowest level: a huge page, and no table */
#define NO_ACCESS ((uint64_t)1 << 8) /* in memory, by mprotect(2) or NUMA balancing not PRESENT */
#define SPECIAL ((uint64_t)1 << 9)   /* no memory of its own: a page of zeroes, of a device */

struct chunk {
	uint64_t start;
	uint64_t in[ENTRIES / 64];
};

/* Known once and for all. */
static uint64_t base;	   /* where physical memory is mapped; 0: not found yet */
static uint64_t top;	   /* physical addresses are below */
static uint64_t phys_mask; /* of an entry: encrypted memory has a bit above */
static uint64_t huge_zero; /* physical address of the huge page of zeroes, 0: none, or SPECIAL */

struct table {
	uint64_t start;	      /* of the memory it describes */
	uint64_t at;	      /* address in the kernel */
	uint64_t slot, entry; /* of the entry that led to it; 0: the top table */
};

struct list {
	struct table *table;
	size_t n, room;
};

struct walk {
	pid_t tid;
	uint64_t pgd;
	int level;	  /* 0: entries are pages of 4 KiB */
	struct list next; /* tables of the level below */
	struct pagetables *to;
	int error;
};

static uint64_t bytes_at(int level)
{
	return PAGE << 9 * level;
}

static int levels_of(uint64_t pgd)
{
	return pgd >= FOUR_LEVELS_FROM ? 4 : 5;
}

static bool is_leaf(uint64_t entry, int level)
{
	return !level || (level <= 2 && entry & LEAF);
}

/* --- where physical memory is --- */

/* Zones of memory, by page numbers; not the whole range of addresses, which has devices too. */
static bool find_top(void)
{
	FILE *f = fopen("/proc/zoneinfo", "re");
	unsigned long start, pages = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, " spanned %lu", &pages);
		if (sscanf(line, " start_pfn: %lu", &start) == 1 && (start + pages) * PAGE > top)
			top = (start + pages) * PAGE;
	}
	if (f)
		fclose(f);
	for (phys_mask = PAGE; phys_mask < top; phys_mask *= 2)
		;
	phys_mask -= PAGE;
	return top != 0;
}

static uint64_t read_word(pid_t tid, uint64_t addr, uint64_t *pgd)
{
	uint64_t word = 0;
	struct iovec to = {&word, sizeof(word)}, from = {(void *)(uintptr_t)addr, sizeof(word)};

	return peek_kernel(tid, &to, &from, 1, pgd) ? 0 : word;
}

/* The physical address of `addr' if memory were mapped at `at', and the entry that tells; or 0. */
static uint64_t physical(pid_t tid, uint64_t pgd, uint64_t at, uint64_t addr, uint64_t *entry)
{
	uint64_t table = pgd, same, phys;

	for (int level = levels_of(pgd) - 1; level >= 0; level--) {
		uint64_t within = bytes_at(level) - 1;

		*entry = read_word(tid, table + addr / bytes_at(level) % ENTRIES * 8, &same);
		phys = *entry & phys_mask;
		if (!(*entry & PRESENT) || phys >= top || same != pgd)
			return 0;
		if (is_leaf(*entry, level))
			return (phys & ~within) + (addr & within);
		table = at + phys;
	}
	return 0;
}

/* Before Linux 6.18 nothing but its address tells it from others. It is the same for all: ours. */
static void find_huge_zero(void)
{
	size_t bytes = 2 * CHUNK_BYTES;
	char *p = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t pgd = 0, entry = 0, addr;

	if (p == MAP_FAILED)
		return;
	addr = ((uintptr_t)p + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1);
	madvise(p, bytes, MADV_HUGEPAGE);
	(void)*(volatile char *)addr;
	if (!peek_kernel(getpid(), NULL, NULL, 0, &pgd) &&
	    physical(getpid(), pgd, base, addr, &entry) && entry & LEAF && !(entry & SPECIAL))
		huge_zero = entry & phys_mask & ~(CHUNK_BYTES - 1);
	munmap(p, bytes);
}

static bool find_base(pid_t tid, uint64_t pgd)
{
	uint64_t at, entry, phys;

	if (!top && !find_top())
		return false;
	for (at = (pgd - top) & ~(GIB - 1); at <= pgd; at += GIB) {
		phys = physical(tid, pgd, at, pgd, &entry);
		if (phys && at + phys == pgd) {
			base = at;
			find_huge_zero();
			return true;
		}
	}
	return false;
}

/* --- the walk --- */

static void add_table(struct walk *w, struct table t)
{
	struct list *l = &w->next;

	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : BATCH;
		struct table *more =
			room <= CHUNKS_MOST ? realloc(l->table, room * sizeof(t)) : NULL;

		if (!more) {
			w->error = -ENOMEM;
			return;
		}
		l->table = more;
		l->room = room;
	}
	l->table[l->n++] = t;
}

static struct chunk *add_chunk(struct walk *w, uint64_t start)
{
	struct pagetables *t = w->to;

	if (t->n == t->room) {
		size_t room = t->room ? 2 * t->room : BATCH;
		struct chunk *more =
			room <= CHUNKS_MOST ? realloc(t->chunk, room * sizeof(*more)) : NULL;

		if (!more) {
			w->error = -ENOMEM;
			return NULL;
		}
		t->chunk = more;
		t->room = room;
	}
	t->chunk[t->n] = (struct chunk){.start = start};
	return &t->chunk[t->n++];
}

/* Against L1TF the kernel inverts the address of what may not be accessed. */
static bool is_huge_zero(uint64_t entry)
{
	uint64_t addr = entry & PRESENT ? entry : ~entry;

	return huge_zero && (addr & phys_mask & ~(CHUNK_BYTES - 1)) == huge_zero;
}

static void take_huge(struct walk *w, uint64_t start, uint64_t entry)
{
	if (entry & SPECIAL || (w->level == 1 && is_huge_zero(entry)))
		return;
	for (uint64_t at = start; at < start + bytes_at(w->level); at += CHUNK_BYTES) {
		struct chunk *c = add_chunk(w, at);

		if (c)
			memset(c->in, 0xff, sizeof(c->in));
	}
}

static void take_pages(struct walk *w, uint64_t start, const uint64_t *entry)
{
	struct chunk *c = add_chunk(w, start);

	for (unsigned i = 0; c && i < ENTRIES; i++)
		if (entry[i] & (PRESENT | NO_ACCESS) && !(entry[i] & SPECIAL))
			c->in[i / 64] |= (uint64_t)1 << i % 64;
}

static void take_table(struct walk *w, const struct table *t, const uint64_t *entry)
{
	unsigned n = t->slot ? ENTRIES : ENTRIES / 2; /* the other half is the kernel's */

	if (!w->level) {
		take_pages(w, t->start, entry);
		return;
	}
	for (unsigned i = 0; i < n && !w->error; i++) {
		uint64_t start = t->start + i * bytes_at(w->level), phys = entry[i] & phys_mask;

		if (entry[i] & (PRESENT | LEAF) && is_leaf(entry[i], w->level))
			take_huge(w, start, entry[i]);
		else if (entry[i] & PRESENT && phys < top)
			add_table(w, (struct table){start, base + phys, t->at + i * sizeof(*entry),
						    entry[i]});
	}
}

static bool still_there(const struct table *t, uint64_t entry)
{
	return !t->slot || !((entry ^ t->entry) & (phys_mask | PRESENT | LEAF));
}

static void read_batch(struct walk *w, const struct table *t, size_t n)
{
	static uint64_t entry[BATCH][ENTRIES], again[BATCH];
	struct iovec to[BATCH], from[BATCH];
	uint64_t pgd = 0;

	for (size_t i = 0; i < n; i++) {
		to[i] = (struct iovec){entry[i], sizeof(entry[i])};
		from[i] = (struct iovec){(void *)(uintptr_t)t[i].at, sizeof(entry[i])};
	}
	w->error = peek_kernel(w->tid, to, from, n, &pgd);
	for (size_t i = 0; i < n; i++) {
		to[i] = (struct iovec){&again[i], sizeof(again[i])};
		from[i] = (struct iovec){(void *)(uintptr_t)t[i].slot, sizeof(again[i])};
	}
	if (!w->error)
		w->error = peek_kernel(w->tid, to, from, n, &pgd);
	if (!w->error && pgd != w->pgd)
		w->error = -ESRCH; /* ended, or became another program */
	for (size_t i = 0; i < n && !w->error; i++)
		if (still_there(&t[i], again[i]))
			take_table(w, &t[i], entry[i]);
}

static void walk(struct walk *w)
{
	add_table(w, (struct table){.at = w->pgd});
	for (w->level = levels_of(w->pgd) - 1; w->level >= 0 && !w->error; w->level--) {
		struct list now = w->next;

		w->next = (struct list){0};
		for (size_t i = 0; i < now.n && !w->error; i += BATCH)
			read_batch(w, now.table + i, now.n - i < BATCH ? now.n - i : BATCH);
		free(now.table);
	}
	free(w->next.table);
}

static int by_start(const void *a, const void *b)
{
	const struct chunk *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

int pagetables_read(struct pagetables *t, pid_t tid)
{
	struct walk w = {.tid = tid, .to = t};

	memset(t, 0, sizeof(*t));
	if (!KNOWN)
		return -EPERM;
	if (peek_kernel(tid, NULL, NULL, 0, &w.pgd) || !w.pgd)
		return -EPERM;
	if (!base && !find_base(tid, w.pgd))
		return -EPERM;
	walk(&w);
	if (t->n)
		qsort(t->chunk, t->n, sizeof(*t->chunk), by_start);
	return w.error;
}

void pagetables_free(struct pagetables *t)
{
	free(t->chunk);
	memset(t, 0, sizeof(*t));
}

/* --- what it says --- */

/* Index of the first chunk that does not end before addr. */
static size_t chunk_from(const struct pagetables *t, uint64_t addr)
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (t->chunk[mid].start + CHUNK_BYTES <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void pagetables_resident(const struct pagetables *t, uint64_t start, size_t pages, bool *in)
{
	size_t k = chunk_from(t, start);

	for (size_t i = 0; i < pages; i++) {
		uint64_t addr = start + i * PAGE, at;

		while (k < t->n && t->chunk[k].start + CHUNK_BYTES <= addr)
			k++;
		in[i] = false;
		if (k == t->n || t->chunk[k].start > addr)
			continue;
		at = (addr - t->chunk[k].start) / PAGE;
		in[i] = t->chunk[k].in[at / 64] >> at % 64 & 1;
	}
}
