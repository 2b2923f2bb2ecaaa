/* The option table: environment variables, read once. */
#include "internal.h"

#include <stdlib.h>

struct options hak_options = {
#define X(name, env, def, min, max, unit, meaning) .name = (def),
#include "options.def"
#undef X
};

/* A decimal number with an optional K, M or G; false if it is anything else. */
static bool parse(const char *s, uint64_t *value)
{
	uint64_t v = 0;
	unsigned shift = 0;

	if (*s < '0' || *s > '9')
		return false;
	for (; *s >= '0' && *s <= '9'; s++) {
		if (v > UINT64_MAX / 10 - 1)
			return false;
		v = v * 10 + (uint64_t)(*s - '0');
	}
	if (*s == 'K' || *s == 'k')
		shift = 10;
	else if (*s == 'M' || *s == 'm')
		shift = 20;
	else if (*s == 'G' || *s == 'g')
		shift = 30;
	if (shift)
		s++;
	if (*s || v > UINT64_MAX >> shift)
		return false;
	*value = v << shift;
	return true;
}

static void read_one(const char *env, uint64_t *option, uint64_t min, uint64_t max)
{
	const char *s = secure_getenv(env);
	uint64_t v;

	if (!s)
		return;
	if (!parse(s, &v) || v < min || v > max) {
		hak_say("ignored, not a number within its limits: ", UINT64_MAX, env);
		return;
	}
	*option = v;
}

#define COUNT_(...) +1
#define X(name, env, def, min, max, unit, meaning) COUNT_(name)
_Static_assert((0
#include "options.def"
		) <= 12,
	       "at most 12 options");
#undef X

void options_read(void)
{
#define X(name, env, def, min, max, unit, meaning) read_one(env, &hak_options.name, min, max);
#include "options.def"
#undef X
}
