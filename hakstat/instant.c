#include "instant.h"

#include <stdlib.h>
#include <string.h>

/* A frame of few bytes cannot make many words: most of a sample is 0 at first, which takes two. */
#define WORDS_FREE 8192
#define WORDS_A_BYTE 64

void instant_clear(struct instant *f)
{
	for (int i = 0; i < SECTIONS_MAX; i++) {
		f->of[i].there = false;
		f->of[i].rows = f->of[i].per = 0;
	}
	f->words = 0;
}

void instant_free(struct instant *f)
{
	for (int i = 0; i < SECTIONS_MAX; i++)
		free(f->of[i].word);
	memset(f, 0, sizeof(*f));
}

/* Of rows x per words those that a section has already. */
static size_t known_words(const struct section *s, size_t rows, size_t per)
{
	if (!s->there || s->per != per)
		return 0;
	return (s->rows < rows ? s->rows : rows) * per;
}

/* rows x per words; what was not there before is 0. */
static bool resize(struct section *s, size_t rows, size_t per)
{
	size_t before = known_words(s, rows, per), n = rows * per;

	if (n > s->room) {
		size_t room = s->room < 64 ? 64 : s->room;
		uint64_t *more;

		while (room < n)
			room *= 2;
		more = realloc(s->word, room * sizeof(*more));
		if (!more)
			return false;
		s->word = more;
		s->room = room;
	}
	if (n > before)
		memset(s->word + before, 0, (n - before) * sizeof(*s->word));
	s->there = true;
	s->rows = rows;
	s->per = per;
	return true;
}

uint64_t *instant_add(struct instant *f, enum section_id id, size_t rows, size_t per)
{
	struct section *s = &f->of[id];
	static uint64_t none[1];

	if (s->there || !per || rows > (INSTANT_WORDS_MAX - f->words) / per ||
	    !resize(s, rows, per))
		return NULL;
	f->words += rows * per;
	return rows ? s->word : none;
}

const struct section *instant_get(const struct instant *f, enum section_id id)
{
	return f->of[id].there ? &f->of[id] : NULL;
}

void section_row(const struct section *s, size_t row, uint64_t *out, size_t per)
{
	size_t n = !s || row >= s->rows ? 0 : s->per < per ? s->per : per;

	if (n)
		memcpy(out, s->word + row * s->per, n * sizeof(*out));
	memset(out + n, 0, (per - n) * sizeof(*out));
}

/* --- out --- */

static void put_varint(struct bytes *b, uint64_t v)
{
	if (b->room - b->n < 10) {
		size_t room = b->room ? 2 * b->room : 4096;
		uint8_t *more = realloc(b->at, room);

		if (!more) {
			b->failed = true;
			return;
		}
		b->at = more;
		b->room = room;
	}
	for (; v >= 0x80; v >>= 7)
		b->at[b->n++] = (uint8_t)(v | 0x80);
	b->at[b->n++] = (uint8_t)v;
}

static uint64_t zigzag(uint64_t v)
{
	return v << 1 ^ -(v >> 63);
}

static uint64_t unzigzag(uint64_t v)
{
	return v >> 1 ^ -(v & 1);
}

static void put_words(struct bytes *out, const struct section *s, const struct section *before)
{
	size_t known = before ? known_words(before, s->rows, s->per) : 0;
	size_t same = 0, n = s->rows * s->per;

	for (size_t i = 0; i < n; i++) {
		uint64_t was = i < known ? before->word[i] : 0;

		if (s->word[i] == was) {
			same++;
			continue;
		}
		if (same) {
			put_varint(out, 0);
			put_varint(out, same);
			same = 0;
		}
		put_varint(out, zigzag(s->word[i] - was));
	}
	if (same) {
		put_varint(out, 0);
		put_varint(out, same);
	}
}

void instant_encode(struct bytes *out, const struct instant *f, const struct instant *before)
{
	for (unsigned i = 0; i < SECTIONS_MAX && !out->failed; i++) {
		const struct section *s = &f->of[i];

		if (!s->there)
			continue;
		put_varint(out, i);
		put_varint(out, s->rows);
		put_varint(out, s->per);
		put_words(out, s, before ? &before->of[i] : NULL);
	}
}

/* --- in --- */

struct reader {
	const uint8_t *at, *end;
	size_t fresh; /* words it may still set to 0 */
	bool failed;
};

static uint64_t get_varint(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; r->at < r->end && shift < 64; shift += 7) {
		uint8_t c = *r->at++;

		if (shift == 63 && c > 1)
			break;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80)
			return v;
	}
	r->failed = true;
	return 0;
}

static void get_words(struct reader *r, struct section *s)
{
	size_t n = s->rows * s->per;

	for (size_t i = 0; i < n && !r->failed;) {
		uint64_t v = get_varint(r), same;

		if (v) {
			s->word[i++] += unzigzag(v);
			continue;
		}
		same = get_varint(r);
		if (!same || same > n - i)
			r->failed = true;
		else
			i += same;
	}
}

static bool get_section(struct reader *r, struct instant *f, bool *seen)
{
	uint64_t id = get_varint(r), rows = get_varint(r), per = get_varint(r);
	size_t fresh;

	if (r->failed || id >= SECTIONS_MAX || seen[id] || !per || per > INSTANT_WORDS_MAX ||
	    rows > (INSTANT_WORDS_MAX - f->words) / per)
		return false;
	fresh = rows * per - known_words(&f->of[id], rows, per);
	if (fresh > r->fresh || !resize(&f->of[id], rows, per))
		return false;
	r->fresh -= fresh;
	seen[id] = true;
	f->words += rows * per;
	get_words(r, &f->of[id]);
	return !r->failed;
}

bool instant_decode(struct instant *f, const uint8_t *data, size_t n)
{
	struct reader r = {data, data + n, WORDS_FREE + n * WORDS_A_BYTE, false};
	bool seen[SECTIONS_MAX] = {false};

	f->words = 0;
	while (r.at < r.end)
		if (!get_section(&r, f, seen))
			return false;
	for (int i = 0; i < SECTIONS_MAX; i++)
		if (!seen[i]) {
			f->of[i].there = false;
			f->of[i].rows = f->of[i].per = 0;
		}
	return true;
}
