/* What the other end of our output can show. */
#ifndef HAKSTAT_TEXT_H
#define HAKSTAT_TEXT_H

#include <stdbool.h>
#include <stdio.h>

/* May colours, may characters beyond ASCII go there? (NO_COLOR, TERM, LC_ALL and so on) */
bool report_colours(FILE *out);
bool text_is_utf8(void);

#endif
