/* Writers of JSON and CSV: keys and values in order, commas by themselves. */
#ifndef HAKSTAT_EMIT_H
#define HAKSTAT_EMIT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
	FILE *out;
	bool comma; /* something precedes in this object or array */
};

void json_open(struct json *j, const char *key, char bracket); /* key NULL inside arrays */
void json_close(struct json *j, char bracket);
void json_text(struct json *j, const char *key, const char *value);
void json_number(struct json *j, const char *key, uint64_t value);
void json_real(struct json *j, const char *key, double value);
void json_literal(struct json *j, const char *key, const char *number); /* as it is */
void json_null(struct json *j, const char *key);
void json_bool(struct json *j, const char *key, bool value);
/* a number, or null if it is negative */
void json_known(struct json *j, const char *key, int64_t value);

/* RFC 4180, cell by cell. */
struct csv {
	FILE *out;
	bool comma; /* something precedes in this line */
};

void csv_text(struct csv *c, const char *value);
void csv_number(struct csv *c, uint64_t value);
void csv_literal(struct csv *c, const char *number); /* as it is */
void csv_unknown(struct csv *c);
void csv_end(struct csv *c); /* of the line */

#endif
