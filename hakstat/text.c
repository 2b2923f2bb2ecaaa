#include "text.h"

#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WIDTH_DEFAULT 120
#define AFTER_LEAST 24 /* columns for a text behind a prefix */
#define AFTER_INDENT 4 /* and below it */

bool text_wants_colours(void)
{
	const char *no = getenv("NO_COLOR");

	return !(no && *no);
}

bool report_colours(FILE *out)
{
	const char *term = getenv("TERM");

	return isatty(fileno(out)) && text_wants_colours() && term && strcmp(term, "dumb") != 0;
}

bool text_is_utf8(void)
{
	static int known = -1;

	if (known < 0) {
		setlocale(LC_CTYPE, "");
		known = !strcmp(nl_langinfo(CODESET), "UTF-8");
	}
	return known;
}

int text_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;

	if (isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col)
		return size.ws_col < WIDTH_MAX ? size.ws_col : WIDTH_MAX;
	if (columns && atoi(columns) > 0 && atoi(columns) <= WIDTH_MAX)
		return atoi(columns);
	return WIDTH_DEFAULT;
}

size_t text_fit(const char *text, size_t width)
{
	size_t n = strlen(text);

	if (n <= width)
		return n;
	for (n = width; n && text[n] != ' '; n--)
		;
	return n ? n : width;
}

void text_cut(char *text, size_t width)
{
	if (strlen(text) <= width)
		return;
	text[width] = '\0';
	if (width)
		text[width - 1] = '~';
}

void text_print(FILE *out, const char *text, int width)
{
	text_print_at(out, 1, text, width);
}

void text_print_at(FILE *out, int blanks, const char *text, int width)
{
	size_t room = width > blanks ? (size_t)(width - blanks) : 1;

	do {
		size_t fit = text_fit(text, room);

		fprintf(out, "%*s%.*s\n", blanks, "", (int)fit, text);
		text += fit;
		text += strspn(text, " ");
	} while (*text);
}

int text_fold_width(void)
{
	return isatty(STDOUT_FILENO) ? text_width() : INT_MAX;
}

void text_print_after(FILE *out, const char *prefix, const char *text, int width)
{
	int indent = (int)strlen(prefix);
	size_t fit;

	if (width - indent < AFTER_LEAST) {
		text_print_at(out, 0, prefix, width);
		text_print_at(out, AFTER_INDENT, text, width);
		return;
	}
	fit = text_fit(text, (size_t)(width - indent));
	fprintf(out, "%s%.*s\n", prefix, (int)fit, text);
	text += fit;
	text += strspn(text, " ");
	if (*text)
		text_print_at(out, indent, text, width);
}
