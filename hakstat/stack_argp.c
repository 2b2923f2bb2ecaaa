/* How stacks are taken and shown: options that commands of stacks have in common. */
#include "quantity.h"
#include "stack_print.h"

enum { KEY_INTERNALS = 2048, KEY_DEPTH, KEY_SLICE };

static const struct argp_option option_table[] = {
	{"internals", KEY_INTERNALS, NULL, 0, "with the functions inside libhakmem", 0},
	{"depth", KEY_DEPTH, "FRAMES", 0, "frames of a stack at most (default 128)", 0},
	{"slice", KEY_SLICE, "BYTES", 0,
	 "of a stack copied, up to 64K: rounded up to 4K, and the rest of the 4K it begins in; 0: "
	 "go "
	 "by frame pointers alone (default 16K)",
	 0},
	{0},
};

uint32_t stack_number(struct argp_state *state, const char *text, uint32_t least, uint32_t most,
		      const char *option)
{
	double v = 0;

	if (!size_parse(text, &v) || v < least || v > most || v != (uint32_t)v)
		argp_error(state, "%s: not a number from %u to %u: %s", option, least, most, text);
	return (uint32_t)v;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct stacks_options *o = state->input;

	switch (key) {
	case KEY_INTERNALS:
		o->internals = true;
		return 0;
	case KEY_DEPTH:
		o->depth = stack_number(state, arg, 1, UNWIND_DEPTH_MAX, "--depth");
		return 0;
	case KEY_SLICE:
		o->sampler.slice_bytes = stack_number(state, arg, 0, SLICE_BYTES_MAX, "--slice");
		o->frame_pointers = o->sampler.slice_bytes == 0;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

const struct argp stack_argp = {option_table, parse, NULL, NULL, NULL, NULL, NULL};
