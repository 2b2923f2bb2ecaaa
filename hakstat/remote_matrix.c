/* Freeing threads by owning threads. Both sides keep the biggest, the rest is one row, one column.
 */
#include "columns.h"
#include "remotes.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

#define LABEL_WIDTH 15
#define CELL_WIDTH 10

static int by_tid(const void *a, const void *b)
{
	const struct remote_side *x = a, *y = b;

	return (x->tid > y->tid) - (x->tid < y->tid);
}

static int most_first(const void *a, const void *b)
{
	const struct remote_side *x = a, *y = b;

	if (x->blocks != y->blocks)
		return x->blocks < y->blocks ? 1 : -1;
	return by_tid(a, b);
}

/* Entries of the same thread become one; the biggest go to `out`. Returns how many there are. */
static int make_side(struct remote_side *all, int n, struct remote_side *out, int *kept)
{
	int threads = 0;

	if (n)
		qsort(all, (size_t)n, sizeof(*all), by_tid);
	for (int i = 0; i < n; i++) {
		if (threads && all[threads - 1].tid == all[i].tid)
			all[threads - 1].blocks += all[i].blocks;
		else
			all[threads++] = all[i];
	}
	if (threads)
		qsort(all, (size_t)threads, sizeof(*all), most_first);
	*kept = threads < MATRIX_SIDE ? threads : MATRIX_SIDE;
	memcpy(out, all, (size_t)*kept * sizeof(*out));
	return threads;
}

/* MATRIX_SIDE: one of the others. */
static int index_of(const struct remote_side *side, int n, uint32_t tid)
{
	for (int i = 0; i < n; i++)
		if (side[i].tid == tid)
			return i;
	return MATRIX_SIDE;
}

void remote_matrix_make(struct remote_matrix *x, const struct remote_row *row, int n)
{
	struct remote_side *from = calloc(2 * (size_t)n + 1, sizeof(*from)), *to;

	memset(x, 0, sizeof(*x));
	if (!from)
		return;
	to = from + n;
	for (int i = 0; i < n; i++) {
		from[i] = (struct remote_side){.tid = row[i].from, .blocks = row[i].blocks};
		to[i] = (struct remote_side){.tid = row[i].to, .blocks = row[i].blocks};
		memcpy(from[i].name, row[i].from_name, sizeof(from[i].name));
		memcpy(to[i].name, row[i].to_name, sizeof(to[i].name));
	}
	x->all_froms = make_side(from, n, x->from, &x->froms);
	x->all_tos = make_side(to, n, x->to, &x->tos);
	for (int i = 0; i < n; i++)
		x->cell[index_of(x->from, x->froms, row[i].from)]
		       [index_of(x->to, x->tos, row[i].to)] += row[i].blocks;
	free(from);
}

/* Its name; where another one has the same, or none is known, its number. */
static void label(const struct remote_side *s, int n, int i, int width, char *out, size_t len)
{
	bool is_name = s[i].name[0];

	for (int k = 0; k < n; k++)
		is_name &= k == i || strcmp(s[i].name, s[k].name) != 0;
	if (is_name)
		snprintf(out, len, "%s", s[i].name);
	else
		snprintf(out, len, "%u", s[i].tid);
	text_cut(out, (size_t)width);
}

/* In row `from` (MATRIX_SIDE: the others) of the columns first to last. */
static void cell(const struct remote_matrix *x, double seconds, int from, int first, int last,
		 char *out, size_t len)
{
	uint64_t blocks = 0;

	for (int k = first; k <= last; k++)
		blocks += x->cell[from][k];
	if (blocks && seconds > 0)
		rate_text((double)blocks / seconds, out, len);
	else
		snprintf(out, len, ".");
}

static void row_label(const struct remote_matrix *x, int row, char *out, size_t len)
{
	if (row < 0)
		snprintf(out, len, "blocks/s to");
	else if (row == x->froms)
		snprintf(out, len, "(%d others)", x->all_froms - x->froms);
	else
		label(x->from, x->froms, row, LABEL_WIDTH, out, len);
}

bool remote_matrix_line(const struct remote_matrix *x, double seconds, int i, int width, char *out,
			size_t len)
{
	int fit = (width - LABEL_WIDTH) / (CELL_WIDTH + 1);
	int columns = x->all_tos <= fit && x->all_tos == x->tos ? x->tos : fit - 1;
	bool others = columns < x->all_tos;
	int lines = 1 + x->froms + (x->all_froms > x->froms), at, row = i - 1;
	char text[64];

	if (columns > x->tos)
		columns = x->tos;
	if (columns < 1 || i >= lines || (x->all_froms < 2 && x->all_tos < 2))
		return false;
	row_label(x, row, text, sizeof(text));
	if (row == x->froms)
		row = MATRIX_SIDE;
	at = snprintf(out, len, "%-*s", LABEL_WIDTH, text);
	for (int k = 0; k < columns + others; k++) {
		if (i && k < columns)
			cell(x, seconds, row, k, k, text, sizeof(text));
		else if (i)
			cell(x, seconds, row, columns, MATRIX_SIDE, text, sizeof(text));
		else if (k < columns)
			label(x->to, x->tos, k, CELL_WIDTH, text, sizeof(text));
		else
			snprintf(text, sizeof(text), "%d others", x->all_tos - columns);
		at += snprintf(out + at, len - (size_t)at, " %*s", CELL_WIDTH, text);
	}
	return true;
}
