/*
 * A file is not trusted, whoever wrote it: lengths are compared with what is there, and nothing
 * takes more than time and memory in proportion to the file.
 */
#include "recording.h"
#include "progress.h"
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define SESSIONS_MAX 4096U /* 8 KiB each */
#define NOTHING SIZE_MAX

/* --- blocks --- */

uint32_t block_crc(const void *data, size_t n)
{
	return (uint32_t)crc32_z(0, data, n);
}

static uint32_t head_crc(const struct block_head *h)
{
	return block_crc(h, offsetof(struct block_head, head_crc));
}

void block_head_fill(struct block_head *h, enum block_kind kind, const struct bytes *b,
		     uint64_t wall_ns, uint32_t number)
{
	*h = (struct block_head){
		.mark = RECORDING_MARK,
		.kind = kind,
		.bytes = (uint32_t)b->n,
		.crc = block_crc(b->at, b->n),
		.wall_ns = wall_ns,
		.number = number,
	};
	h->head_crc = head_crc(h);
}

static bool read_at(int fd, void *buf, size_t n, uint64_t offset)
{
	char *to = buf;

	while (n) {
		ssize_t got = pread(fd, to, n, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		to += got;
		offset += (uint64_t)got;
		n -= (size_t)got;
	}
	return true;
}

static bool make_room(struct bytes *b, size_t n)
{
	uint8_t *more;

	b->n = n;
	if (n <= b->room)
		return true;
	more = realloc(b->at, n);
	if (!more)
		return false;
	b->at = more;
	b->room = n;
	return true;
}

/* A fuzzer would not get past them. */
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
#define CHECKSUMS false
#else
#define CHECKSUMS true
#endif

static bool is_head(const struct block_head *h)
{
	return h->mark == RECORDING_MARK && (!CHECKSUMS || h->head_crc == head_crc(h)) &&
	       h->bytes <= BLOCK_BYTES_MAX;
}

/* Where a head begins, from `at` on; the size of the file if none does. */
static uint64_t find_head(struct recording *r, struct progress *p, uint64_t at)
{
	uint8_t window[65536];
	struct block_head h;

	while (at + sizeof(h) <= r->size) {
		size_t n = r->size - at < sizeof(window) ? (size_t)(r->size - at) : sizeof(window);

		progress_step(p, at >> 10, r->size >> 10);
		if (!read_at(r->fd, window, n, at))
			break;
		for (size_t i = 0; i + sizeof(h) <= n; i++) {
			memcpy(&h, window + i, sizeof(h));
			if (h.mark == RECORDING_MARK && is_head(&h))
				return at + i;
		}
		at += n - sizeof(h) + 1;
	}
	return r->size;
}

/* --- the process --- */

static void put_line(struct bytes *out, const char *key, const char *value)
{
	size_t n = strlen(key) + strlen(value) + 3, used = out->n;

	if (out->failed || !make_room(out, used + n)) {
		out->failed = true;
		return;
	}
	snprintf((char *)out->at + used, n, "%s %s\n", key, value);
	out->n = used + n - 1;
}

void process_encode(struct bytes *out, const struct process *p)
{
	char text[4096];

#define PUT_TEXT_(name, bytes)                       \
	snprintf(text, sizeof(text), "%s", p->name); \
	sanitize(text);                              \
	put_line(out, #name, text);
#define PUT_NUMBER_(name)                                                  \
	snprintf(text, sizeof(text), "%llu", (unsigned long long)p->name); \
	put_line(out, #name, text);
	PROCESS_TEXTS(PUT_TEXT_)
	PROCESS_NUMBERS(PUT_NUMBER_)
#undef PUT_TEXT_
#undef PUT_NUMBER_
}

static void take_line(struct process *p, char *line)
{
	char *value = strchr(line, ' ');

	if (!value)
		return;
	*value++ = '\0';
	sanitize(value);
#define TAKE_TEXT_(name, bytes)                                  \
	if (!strcmp(line, #name)) {                              \
		snprintf(p->name, sizeof(p->name), "%s", value); \
		return;                                          \
	}
#define TAKE_NUMBER_(name)                           \
	if (!strcmp(line, #name)) {                  \
		p->name = strtoull(value, NULL, 10); \
		return;                              \
	}
	PROCESS_TEXTS(TAKE_TEXT_)
	PROCESS_NUMBERS(TAKE_NUMBER_)
#undef TAKE_TEXT_
#undef TAKE_NUMBER_
}

void process_decode(struct process *p, const uint8_t *data, size_t n)
{
	char line[4200];

	memset(p, 0, sizeof(*p));
	for (size_t at = 0; at < n;) {
		const uint8_t *end = memchr(data + at, '\n', n - at);
		size_t length = end ? (size_t)(end - (data + at)) : n - at;

		if (length < sizeof(line)) {
			memcpy(line, data + at, length);
			line[length] = '\0';
			take_line(p, line);
		}
		at += length + 1;
	}
	if (p->link > LINK_UNKNOWN)
		p->link = LINK_UNKNOWN;
	if (p->pid > INT_MAX)
		p->pid = 0;
}

/* --- the index --- */

static bool add_session(struct recording *r)
{
	struct process *more;

	if (r->sessions == SESSIONS_MAX)
		return false;
	if (!(r->sessions & (r->sessions - 1))) { /* a power of two is full */
		more = realloc(r->process, (r->sessions ? 2 * r->sessions : 1) * sizeof(*more));
		if (!more)
			return false;
		r->process = more;
	}
	process_decode(&r->process[r->sessions++], r->buffer.at, r->buffer.n);
	return true;
}

static bool add_frame(struct recording *r, const struct recorded *f)
{
	if (r->frames == r->room) {
		size_t room = r->room ? 2 * r->room : 1024;
		struct recorded *more = realloc(r->frame, room * sizeof(*more));

		if (!more)
			return false;
		r->frame = more;
		r->room = room;
	}
	r->frame[r->frames++] = *f;
	return true;
}

/* What the frames so far are good for. */
struct scan {
	uint32_t key; /* index of the last one */
	bool usable;  /* a change can follow: nothing is missing since that key */
};

/* A block that is whole. False: no memory. */
static bool take_block(struct recording *r, struct scan *s, const struct block_head *h, uint64_t at)
{
	bool follows = h->number == r->next_number;
	struct recorded f = {.offset = at + sizeof(*h),
			     .wall_ns = h->wall_ns,
			     .bytes = h->bytes,
			     .session = (uint32_t)r->sessions - 1,
			     .number = h->number};

	r->next_number = h->number + 1;
	if (h->kind == BLOCK_PROCESS) {
		s->usable = false;
		r->last_process = at;
		return add_session(r);
	}
	if (!r->sessions)
		return true;
	if (h->kind == BLOCK_KEY) {
		s->usable = r->frames < UINT32_MAX;
		s->key = (uint32_t)r->frames;
	} else if (h->kind != BLOCK_CHANGE || !follows || r->frames - s->key > CHANGES_MAX) {
		s->usable = false;
	}
	f.key = s->key;
	return !s->usable || add_frame(r, &f);
}

/* Reads the block whose head is at `at`. 1: it is whole, 0: it is not, -1: no memory. */
static int read_block(struct recording *r, struct scan *s, uint64_t at, uint64_t *next)
{
	struct block_head h;

	*next = at + 1;
	if (!read_at(r->fd, &h, sizeof(h), at) || !is_head(&h))
		return 0;
	*next = r->size;
	if (h.bytes > r->size - at - sizeof(h))
		return 0;
	*next = at + sizeof(h) + h.bytes;
	if (!make_room(&r->buffer, h.bytes))
		return -1;
	if (!read_at(r->fd, r->buffer.at, h.bytes, at + sizeof(h)) ||
	    (CHECKSUMS && block_crc(r->buffer.at, h.bytes) != h.crc))
		return 0;
	return take_block(r, s, &h, at) ? 1 : -1;
}

static int read_index(struct recording *r, struct progress *p)
{
	struct scan s = {0};

	for (uint64_t at = 0, next; at + sizeof(struct block_head) <= r->size; at = next) {
		int whole = read_block(r, &s, at, &next);

		progress_step(p, at >> 10, r->size >> 10);
		if (whole < 0)
			return -ENOMEM;
		if (whole) {
			r->damaged += at - r->good;
			r->good = next;
		} else {
			next = find_head(r, p, next);
		}
	}
	return r->sessions ? 0 : -EINVAL;
}

/* --- the file --- */

int recording_read(struct recording *r, int fd, const char *path, char *err, size_t errlen)
{
	struct progress p;
	struct stat st;
	int e;

	memset(r, 0, sizeof(*r));
	r->at = NOTHING;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		snprintf(err, errlen, "%s is not a file", path);
		return -EINVAL;
	}
	r->fd = fd;
	r->size = (uint64_t)st.st_size;
	progress_begin(&p, "reading the recording", "KiB");
	e = read_index(r, &p);
	progress_end(&p);
	if (e == -EINVAL)
		snprintf(err, errlen, "%s is not a recording of hakstat, or of one of its future",
			 path);
	else if (e)
		snprintf(err, errlen, "%s: no memory for so many frames", path);
	return e;
}

int recording_open(struct recording *r, const char *path, char *err, size_t errlen)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), e = errno;

	if (fd < 0) {
		memset(r, 0, sizeof(*r));
		snprintf(err, errlen, "cannot open %s: %s", path, strerror(e));
		return -e;
	}
	e = recording_read(r, fd, path, err, errlen);
	r->owned = true;
	r->fd = fd;
	return e;
}

void recording_close(struct recording *r)
{
	instant_free(&r->now);
	free(r->buffer.at);
	free(r->frame);
	free(r->process);
	if (r->owned)
		close(r->fd);
	memset(r, 0, sizeof(*r));
}

static bool decode_one(struct recording *r, size_t index)
{
	const struct recorded *f = &r->frame[index];

	if (f->key == index)
		instant_clear(&r->now);
	return make_room(&r->buffer, f->bytes) &&
	       read_at(r->fd, r->buffer.at, f->bytes, f->offset) &&
	       instant_decode(&r->now, r->buffer.at, f->bytes);
}

const struct instant *recording_frame(struct recording *r, size_t index)
{
	size_t from = r->frame[index].key;

	if (r->at != NOTHING && r->at <= index && r->at >= from) {
		if (r->at == index)
			return &r->now;
		from = r->at + 1;
	}
	for (size_t i = from; i <= index; i++) {
		r->at = i;
		if (!decode_one(r, i)) {
			instant_clear(&r->now);
			r->at = NOTHING;
			return NULL;
		}
	}
	return &r->now;
}
