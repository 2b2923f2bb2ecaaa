/* What the other end of our output can show. */
#ifndef HAKSTAT_TEXT_H
#define HAKSTAT_TEXT_H

#include <stdbool.h>
#include <stdio.h>

/* May colours, may characters beyond ASCII go there? (NO_COLOR, TERM, LC_ALL and so on) */
bool report_colours(FILE *out);
bool text_wants_colours(void);
bool text_is_utf8(void);
/* Columns of the terminal stdout is, else of $COLUMNS, else 120. */
int text_width(void);
#define WIDTH_MAX 500

/* Of a text, how many bytes to put on a line of this width: up to a blank where there is one. */
size_t text_fit(const char *text, size_t width);
/* A text in lines of that width at most, each after so many blanks. */
void text_print_at(FILE *out, int blanks, const char *text, int width);
void text_print(FILE *out, const char *text, int width); /* after one */
/* Behind a prefix, with the lines that follow below it; where that leaves little, below the prefix.
 */
void text_print_after(FILE *out, const char *prefix, const char *text, int width);
/* To fold text at: a terminal's columns; what goes elsewhere is not folded. */
int text_fold_width(void);
/* Cuts ASCII to `width`; "~" at its end says so. */
void text_cut(char *text, size_t width);

#endif
