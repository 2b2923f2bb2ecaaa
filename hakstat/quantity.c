#include "quantity.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct factor {
	const char *name;
	double times;
};

static const struct factor of_bytes[] = {
	{"B", 1},      {"K", 0x1p10},	{"KiB", 0x1p10}, {"M", 0x1p20},	  {"MiB", 0x1p20},
	{"G", 0x1p30}, {"GiB", 0x1p30}, {"T", 0x1p40},	 {"TiB", 0x1p40}, {"k", 0x1p10},
	{"m", 0x1p20}, {"g", 0x1p30},	{"kB", 1e3},	 {"KB", 1e3},	  {"MB", 1e6},
	{"GB", 1e9},   {"TB", 1e12},	{NULL, 0}};
static const struct factor of_counts[] = {
	{"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {NULL, 0}};
static const struct factor of_ratios[] = {{"%", 1}, {NULL, 0}};
static const struct factor of_ns[] = {{"ns", 1},     {"us", 1e3},   {"ms", 1e6}, {"s", 1e9},
				      {"min", 60e9}, {"h", 3600e9}, {NULL, 0}};
static const struct factor times[] = {{"s", 1},	   {"sec", 1},	 {"m", 60},    {"min", 60},
				      {"h", 3600}, {"d", 86400}, {"ms", 1e-3}, {NULL, 0}};

static const struct factor *factors_of(enum unit unit)
{
	switch (unit) {
	case UNIT_BYTES:
	case UNIT_BYTES_RATE:
		return of_bytes;
	case UNIT_RATIO:
		return of_ratios;
	case UNIT_NS:
		return of_ns;
	default:
		return of_counts;
	}
}

static const char *skip(const char *s)
{
	return s + strspn(s, " \t");
}

static size_t word(const char *s)
{
	size_t n = 0;

	while (isalpha((unsigned char)s[n]) || s[n] == '%')
		n++;
	return n;
}

static const struct factor *find(const struct factor *f, const char *name, size_t len)
{
	for (; f->name; f++)
		if (strlen(f->name) == len && !strncmp(f->name, name, len))
			return f;
	return NULL;
}

static void list(const struct factor *f, char *out, size_t len)
{
	out[0] = '\0';
	for (; f->name; f++)
		snprintf(out + strlen(out), len - strlen(out), "%s%s", *out ? ", " : "", f->name);
}

/* A plain decimal number, which strtod alone would not insist on. */
static const char *number(const char *s, double *v, char *err, size_t errlen, const char **at)
{
	const char *digits = s + (*s == '-');
	bool hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
	bool plain = isdigit((unsigned char)digits[*digits == '.']) && !hex;
	char *end = NULL;

	if (plain)
		*v = strtod(s, &end);
	if (plain && end != s && isfinite(*v))
		return end;
	snprintf(err, errlen, "a number is expected here");
	*at = s;
	return NULL;
}

/* The words of alerts that may follow a number. */
static bool is_keyword(const char *s, size_t n)
{
	return (n == 3 && !strncmp(s, "for", 3)) || (n == 3 && !strncmp(s, "and", 3));
}

static const char *scale(const char *s, enum unit unit, double *v, char *err, size_t errlen,
			 const char **at)
{
	const struct factor *all = factors_of(unit), *f;
	const char *name = skip(s);
	size_t n = word(name);
	char names[128];

	if (!n || is_keyword(name, n)) {
		if (unit != UNIT_NS || *v == 0)
			return s;
		snprintf(err, errlen, "a time needs its unit: ns, us, ms, s, min or h");
		*at = name;
		return NULL;
	}
	f = find(all, name, n);
	if (f) {
		*v *= f->times;
		return name + n;
	}
	list(all, names, sizeof(names));
	snprintf(err, errlen, "no unit '%.*s' here; there are %s", (int)n, name, names);
	*at = name;
	return NULL;
}

const char *quantity_parse(const char *text, enum unit unit, struct quantity *q, char *err,
			   size_t errlen, const char **at)
{
	const char *s = number(skip(text), &q->number, err, errlen, at), *slash;
	const struct factor *f;

	q->per = 0;
	q->per_name = NULL;
	if (s)
		s = scale(s, unit, &q->number, err, errlen, at);
	if (!s)
		return NULL;
	slash = skip(s);
	if (*slash != '/')
		return s;
	s = skip(slash + 1);
	f = find(times, s, word(s));
	if (!f) {
		snprintf(err, errlen, "not a unit of time: s, min, h or d");
		*at = s;
		return NULL;
	}
	q->per = f->times;
	q->per_name = f->name;
	return s + word(s);
}

const char *duration_parse(const char *text, double *seconds, char *err, size_t errlen,
			   const char **at)
{
	const char *s = number(skip(text), seconds, err, errlen, at);
	const struct factor *f;

	if (!s)
		return NULL;
	s = skip(s);
	if (!word(s))
		return s;
	f = find(times, s, word(s));
	if (!f) {
		snprintf(err, errlen, "not a unit of time: s, min, h or d");
		*at = s;
		return NULL;
	}
	*seconds *= f->times;
	return s + word(s);
}

bool size_parse(const char *text, double *bytes)
{
	struct quantity q;
	const char *at, *end;
	char err[160];

	end = quantity_parse(text, UNIT_BYTES, &q, err, sizeof(err), &at);
	if (!end || *skip(end) || q.per > 0 || q.number < 0)
		return false;
	*bytes = q.number;
	return true;
}
