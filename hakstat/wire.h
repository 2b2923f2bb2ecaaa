/* Protocol buffers on the wire, as far as pprof's files need them. */
#ifndef HAKSTAT_WIRE_H
#define HAKSTAT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* --- writing: begins all zero; free(data). After a failure nothing is added any more --- */

struct wire {
	uint8_t *data;
	size_t n, room;
	bool failed; /* no memory */
};

void wire_varint(struct wire *w, uint64_t v);
/* A field; one that is 0 is left out, as proto3 has it. */
void wire_number(struct wire *w, unsigned field, uint64_t v);
void wire_bytes(struct wire *w, unsigned field, const void *data, size_t n);
/* Takes the message and frees it. */
void wire_message(struct wire *w, unsigned field, struct wire *message);

/* --- reading: begins with data and end; at is where it goes on --- */

struct wire_reader {
	const uint8_t *at, *end;
	bool bad; /* it is not what it claims to be */
	/* the last field */
	unsigned field;
	enum wire_type type;
	uint64_t number;     /* of WIRE_VARINT, WIRE_FIXED64, WIRE_FIXED32 */
	const uint8_t *data; /* of WIRE_BYTES */
	size_t bytes;
};

struct wire_reader wire_open(const void *data, size_t n);
bool wire_next(struct wire_reader *r); /* false: the end, or bad */
/* The last field as a message of its own. */
struct wire_reader wire_inside(const struct wire_reader *r);
/* The numbers of a repeated field, packed or not: calls fn for each in the last field. */
void wire_numbers(struct wire_reader *r, void (*fn)(void *arg, uint64_t v), void *arg);

#endif
