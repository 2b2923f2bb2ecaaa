/*
 * One instant of a process in words, as recordings keep it: sections, each a table of rows of
 * equally many words. Instants follow each other closely, so one is written as what differs from
 * the one before.
 *
 *   frame     sections in any order, each: number, rows, words a row (varints), then its words
 *   words     each as zigzag(word - the same word before) in a varint; a 0 is followed by how many
 *             words in a row have not changed
 *
 * A section grows by rows, and rows by words at their end; what was not there before was 0. Of a
 * section whose rows have another length all was 0 before.
 */
#ifndef HAKSTAT_INSTANT_H
#define HAKSTAT_INSTANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Append only. What a word means never changes, only new ones come at the end of a row; readers
 * take what they know.
 */
enum section_id {
	SECTION_SCALARS, /* of the sample (sample_instant.c), as those that follow */
	SECTION_CLASS_BYTES,
	SECTION_PAGE_BYTES,
	SECTION_CLASS_PAGES,
	SECTION_LOCKS,
	SECTION_OS,
	SECTION_GAUGES,
	SECTION_CLASSES,
	SECTION_PROBES_OFF, /* for how long each has been, ns */
	SECTION_BPF_REASONS,
	SECTION_BPF_CLASSES,
	SECTION_BPF_LOCKS,
	SECTION_BPF_OS,
	SECTION_BPF_FALLBACK,
	SECTION_BPF_ROUTE,
	SECTION_BPF_SIZES,
	SECTION_THREADS, /* of threads.c */
	SECTION_HEAPS,
	SECTION_WAITS,
	SECTION_REMOTE, /* of remotes.c */
	SECTION_PAIRS,
	SECTION_OWNERS,
	SECTION_MEMORY, /* of rss.c */
	SECTION_MEMORY_ERROR,
	SECTION_MEMORY_LINES,
	SECTION_MEMORY_CLASSES,
	SECTION_MEMORY_PAGES,
	SECTION_CLASS_GONE, /* of the sample */
	SECTION_OVER_ALIGNED,
	SECTIONS,
};
#define SECTIONS_MAX 64 /* numbers a file may have */

#define INSTANT_WORDS_MAX ((size_t)1 << 21) /* of all sections together */

struct section {
	bool there;
	size_t rows, per; /* per: words of a row */
	uint64_t *word;
	size_t room;
};

struct instant { /* begins all zero */
	struct section of[SECTIONS_MAX];
	size_t words; /* of all sections */
};

void instant_clear(struct instant *f); /* no sections */
void instant_free(struct instant *f);

/* A section to be filled in, all 0; NULL: no memory, or too much: the frame is without it. */
uint64_t *instant_add(struct instant *f, enum section_id id, size_t rows, size_t per);
/* NULL: it is not there. */
const struct section *instant_get(const struct instant *f, enum section_id id);
/* A row of it, as far as it goes: `per` words, those it does not have are 0. */
void section_row(const struct section *s, size_t row, uint64_t *out, size_t per);

struct bytes {
	uint8_t *at;
	size_t n, room;
	bool failed; /* no memory: what is there is not whole */
};

/* Adds a frame, as what differs from `before` (NULL: from nothing). */
void instant_encode(struct bytes *out, const struct instant *f, const struct instant *before);
/*
 * f, the frame before, becomes the one encoded. False: it is no frame, or there is no memory; then
 * f is of no use, until instant_clear. Takes time and memory in proportion to n.
 */
bool instant_decode(struct instant *f, const uint8_t *data, size_t n);

#endif
