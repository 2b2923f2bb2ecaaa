/* Arithmetic on the masks of a segment. */
#include "internal.h"

/* Bit i of the result is set if bits i .. i + n - 1 of the mask are. */
static uint64_t starts_of_runs(uint64_t mask, unsigned n)
{
	unsigned have = 1;

	while (mask && have < n) {
		unsigned step = have < n - have ? have : n - have;

		mask &= mask >> step;
		have += step;
	}
	return mask;
}

/* k if the longest run of set bits is in [2^k, 2^(k+1)), -1 if there is none. */
int segment_bin(uint64_t mask)
{
	int k = -1;

	/* before step k, bit i is set if a run of 2^k begins there */
	for (unsigned step = 1; mask && k < 6; step *= 2) {
		k++;
		mask = step < 64 ? mask & mask >> step : 0;
	}
	return k;
}

/* Index of the first of so many set bits, or -1. */
int segment_find_in(uint64_t mask, unsigned slices)
{
	uint64_t at = starts_of_runs(mask, slices);

	return at ? __builtin_ctzll(at) : -1;
}

/*
 * Index of the first slice of a free run, or -1. Dirty runs first: their memory is there
 * already, and clean slices stay worth something for calloc.
 */
int segment_find(const struct segment *s, unsigned slices)
{
	int at = segment_find_in(s->dirty, slices);

	return at >= 0 ? at : segment_find_in(s->free, slices);
}
