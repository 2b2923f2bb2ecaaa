#include "emit.h"

#include <string.h>

static void string(FILE *out, const char *s)
{
	fputc('"', out);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			fprintf(out, "\\u%04x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void begin(struct json *j, const char *key)
{
	if (j->comma)
		fputc(',', j->out);
	j->comma = true;
	if (key) {
		string(j->out, key);
		fputc(':', j->out);
	}
}

void json_open(struct json *j, const char *key, char bracket)
{
	begin(j, key);
	fputc(bracket, j->out);
	j->comma = false;
}

void json_close(struct json *j, char bracket)
{
	fputc(bracket, j->out);
	j->comma = true;
}

void json_text(struct json *j, const char *key, const char *value)
{
	begin(j, key);
	string(j->out, value);
}

void json_number(struct json *j, const char *key, uint64_t value)
{
	begin(j, key);
	fprintf(j->out, "%llu", (unsigned long long)value);
}

void json_real(struct json *j, const char *key, double value)
{
	begin(j, key);
	fprintf(j->out, "%.9g", value);
}

void json_literal(struct json *j, const char *key, const char *number)
{
	begin(j, key);
	fputs(number, j->out);
}

void json_null(struct json *j, const char *key)
{
	begin(j, key);
	fputs("null", j->out);
}

void json_bool(struct json *j, const char *key, bool value)
{
	begin(j, key);
	fputs(value ? "true" : "false", j->out);
}

void json_known(struct json *j, const char *key, int64_t value)
{
	if (value < 0)
		json_null(j, key);
	else
		json_number(j, key, (uint64_t)value);
}

/* --- CSV --- */

static void cell(struct csv *c)
{
	if (c->comma)
		fputc(',', c->out);
	c->comma = true;
}

/* Quotes where something in it would be taken for a separator. */
void csv_text(struct csv *c, const char *value)
{
	cell(c);
	if (!strpbrk(value, ",\"\r\n")) {
		fputs(value, c->out);
		return;
	}
	fputc('"', c->out);
	for (; *value; value++) {
		if (*value == '"')
			fputc('"', c->out);
		fputc(*value, c->out);
	}
	fputc('"', c->out);
}

void csv_number(struct csv *c, uint64_t value)
{
	cell(c);
	fprintf(c->out, "%llu", (unsigned long long)value);
}

void csv_literal(struct csv *c, const char *number)
{
	cell(c);
	fputs(number, c->out);
}

void csv_unknown(struct csv *c)
{
	cell(c);
}

void csv_end(struct csv *c)
{
	fputs("\r\n", c->out);
	c->comma = false;
}
