/* The mappings of a process and what of them is in memory, as the kernel tells. */
#ifndef HAKSTAT_SMAPS_H
#define HAKSTAT_SMAPS_H

#include "pagetables.h"

#define OS_PAGE ((uint64_t)4096)

struct vma {
	uint64_t start, end, rss;
	uint64_t huge;		  /* bytes in huge pages of hugetlbfs, which are no part of rss */
	uint64_t expected, taken; /* of an estimate: bytes that should be in memory, and that were
				     told of so far */
	bool read, write, shared; /* as its permissions say */
	bool hugetlb;		  /* on such pages */
	bool file;		  /* a file is mapped */
	char name[32];		  /* the beginning of its path or label, "" if it has none */
};

struct smaps {
	struct vma *vma;
	size_t n, room;
	uint64_t rss;		  /* of all */
	int pagemap;		  /* /proc/PID/pagemap, or -1 */
	struct pagetables tables; /* if it may not be opened */
	/* Neither is to be had, by who may see the rest: of each mapping it is known how much is in
	 * memory, but not which pages. While counting, nothing is. */
	bool estimated, counting;
	uint64_t left; /* entries of pagemap that may still be read: a mapping may be endless */
	/* pages of zeroes, mapped where nobody has written: no part of RSS; in order */
	struct zeroes {
		uint64_t start, end;
	} * zeroes;
	size_t nzeroes;
	uint64_t zero; /* or the number of that page as pagemap tells it, 0: not to be seen */
};

/* 0 or a negative errno. smaps_close in any case. */
int smaps_open(struct smaps *s, pid_t pid);
void smaps_close(struct smaps *s);

/* The mapping an address is in; NULL: none. */
struct vma *smaps_at(const struct smaps *s, uint64_t addr);

/*
 * An estimate is made in two passes: in the first one everything is asked for, with `counting'
 * set, and found to be all there; in the second what each mapping has is spread over that.
 */

/* Which OS pages of a range are in memory: in[i] for each. False if that cannot be told. */
bool smaps_resident(const struct smaps *s, uint64_t start, size_t pages, bool *in);
/* Bytes of a range, in whole OS pages, that are. */
uint64_t smaps_resident_bytes(struct smaps *s, uint64_t start, uint64_t end);
/* Of an estimate: what to take for so many bytes of the mapping at addr that should be there. */
double smaps_share(struct smaps *s, uint64_t addr, uint64_t bytes);

#endif
