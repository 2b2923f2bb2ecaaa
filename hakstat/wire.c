#include "wire.h"

#include <stdlib.h>
#include <string.h>

static bool reserve(struct wire *w, size_t more)
{
	size_t room = w->room ? w->room : 256;
	uint8_t *p;

	if (w->failed)
		return false;
	if (w->n + more <= w->room)
		return true;
	while (room < w->n + more)
		room *= 2;
	p = realloc(w->data, room);
	if (!p) {
		w->failed = true;
		return false;
	}
	w->data = p;
	w->room = room;
	return true;
}

void wire_varint(struct wire *w, uint64_t v)
{
	if (!reserve(w, 10))
		return;
	for (; v >= 0x80; v >>= 7)
		w->data[w->n++] = (uint8_t)(v | 0x80);
	w->data[w->n++] = (uint8_t)v;
}

static void key(struct wire *w, unsigned field, enum wire_type type)
{
	wire_varint(w, (uint64_t)field << 3 | type);
}

void wire_number(struct wire *w, unsigned field, uint64_t v)
{
	if (!v)
		return;
	key(w, field, WIRE_VARINT);
	wire_varint(w, v);
}

void wire_bytes(struct wire *w, unsigned field, const void *data, size_t n)
{
	key(w, field, WIRE_BYTES);
	wire_varint(w, n);
	if (!n || !reserve(w, n))
		return;
	memcpy(w->data + w->n, data, n);
	w->n += n;
}

void wire_message(struct wire *w, unsigned field, struct wire *message)
{
	w->failed |= message->failed;
	wire_bytes(w, field, message->data, message->n);
	free(message->data);
	*message = (struct wire){0};
}

/* --- reading --- */

struct wire_reader wire_open(const void *data, size_t n)
{
	return (struct wire_reader){.at = data, .end = (const uint8_t *)data + n};
}

static uint64_t varint(struct wire_reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
		uint8_t b = *r->at++;

		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
	r->bad = true;
	return 0;
}

static uint64_t fixed(struct wire_reader *r, size_t n)
{
	uint64_t v = 0;

	if ((size_t)(r->end - r->at) < n) {
		r->bad = true;
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)r->at[i] << 8 * i;
	r->at += n;
	return v;
}

static void take_bytes(struct wire_reader *r)
{
	uint64_t n = varint(r);

	if (r->bad || n > (uint64_t)(r->end - r->at)) {
		r->bad = true;
		return;
	}
	r->data = r->at;
	r->bytes = (size_t)n;
	r->at += n;
}

bool wire_next(struct wire_reader *r)
{
	uint64_t k;

	if (r->bad || r->at == r->end)
		return false;
	k = varint(r);
	r->field = (unsigned)(k >> 3);
	r->type = (enum wire_type)(k & 7);
	switch (r->type) {
	case WIRE_VARINT:
		r->number = varint(r);
		break;
	case WIRE_FIXED64:
		r->number = fixed(r, 8);
		break;
	case WIRE_BYTES:
		take_bytes(r);
		break;
	case WIRE_FIXED32:
		r->number = fixed(r, 4);
		break;
	default:
		r->bad = true;
	}
	return !r->bad;
}

struct wire_reader wire_inside(const struct wire_reader *r)
{
	return wire_open(r->type == WIRE_BYTES ? r->data : r->end,
			 r->type == WIRE_BYTES ? r->bytes : 0);
}

void wire_numbers(struct wire_reader *r, void (*fn)(void *arg, uint64_t v), void *arg)
{
	struct wire_reader in = wire_inside(r);

	if (r->type == WIRE_VARINT)
		fn(arg, r->number);
	while (!in.bad && in.at < in.end) {
		uint64_t v = varint(&in);

		if (!in.bad)
			fn(arg, v);
	}
	r->bad |= in.bad;
}
