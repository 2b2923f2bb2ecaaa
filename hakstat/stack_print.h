/* Tables whose rows are stacks, with the frames below each row; or functions, with long names. */
#ifndef HAKSTAT_STACK_PRINT_H
#define HAKSTAT_STACK_PRINT_H

#include "report.h"
#include "stacks.h"

struct stack_printer {
	bool flat; /* a function a row */
	const struct stack_row *(*stack)(const struct model *m, int row);
	/* below its frames; or NULL */
	void (*more)(FILE *out, const struct model *m, int row, int width);
};
/* False: there is no row. */
bool stack_print(FILE *out, const struct model *m, const struct report_options *o, const int *fit,
		 const struct stack_printer *p);
/* Columns for its numbers: what the names of functions leave. */
int stack_print_room(const struct stack_printer *p, const struct report_options *o);
/* Line i of a stack, as much as fits into len; false: there are no more. */
bool stack_line(const struct stack_row *r, unsigned i, char *out, size_t len);

/* --- shared by commands of stacks --- */

/* Options; its input is a struct stacks_options. (stack_argp.c) */
extern const struct argp stack_argp;
/* A whole number, as 100, 16K; argp_error if it is none within these. */
uint32_t stack_number(struct argp_state *state, const char *text, uint32_t least, uint32_t most,
		      const char *option);
/* Says so, and sets *refused, if files of the process could not be opened for want of permission.
 */
void stack_tell_denied(const struct stacks *s, pid_t pid, int *refused);

/* --- shared by views of stacks (view_stacks.c) --- */

/* "frames" of a row's JSON. */
void stack_json_frames(struct json *j, const struct stack_row *r);
/* How stacks were unwound; what it costs. */
void stack_note_method(const struct stacks *s, char *out, size_t len);
void stack_note_cost(const struct stacks *s, char *out, size_t len);

#endif
