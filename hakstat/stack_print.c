#include "stack_print.h"
#include "hakstat.h"
#include "privilege.h"
#include "text.h"

#include <errno.h>
#include <string.h>

#define NAME_WIDTH 44 /* of a function, where places are in line below each other */
#define NAME_LEAST 20 /* below that its place has no room in the same line */
#define FLAT_WIDTH 24 /* of functions, one a row: more if there is room */
#define INDENT "      "

static const char cut_text[] = "... (cut: its callers are not known)";

/* What it is called and where that is. */
static void frame_texts(const struct stack_row *r, unsigned i, char *name, size_t name_len,
			char *place, size_t place_len)
{
	struct frame f = *r->frame[i];
	size_t at;

	if (i == 0 && r->entry)
		f.line = 0; /* that it is libhakmem tells more than where in it */
	frame_name(&f, name, name_len);
	frame_place(&f, place, place_len);
	at = strlen(place);
	if (f.inlined)
		snprintf(place + at, place_len - at, " (inlined)");
}

/* The place has a line of its own where both do not fit into one. */
static void print_frame(FILE *out, const struct stack_row *r, unsigned i, int width)
{
	char name[4200], place[320];
	int room;

	frame_texts(r, i, name, sizeof(name), place, sizeof(place));
	room = width - (int)strlen(INDENT "  ") - (int)strlen(place);
	if (room >= NAME_LEAST) {
		text_cut(name, (size_t)room);
		fprintf(out, INDENT "%-*s  %s\n", room < NAME_WIDTH ? room : NAME_WIDTH, name,
			place);
		return;
	}
	text_cut(name, (size_t)width - strlen(INDENT));
	text_cut(place, (size_t)width - strlen(INDENT "  "));
	fprintf(out, INDENT "%s\n" INDENT "  %s\n", name, place);
}

static void print_frames(FILE *out, const struct stack_row *r, const struct report_options *o)
{
	for (unsigned i = 0; i < r->frames; i++)
		print_frame(out, r, i, o->width);
	if (r->cut)
		fprintf(out, INDENT "%s\n", o->width < 50 ? "... (cut)" : cut_text);
}

static int fit_width(const struct view *v, const int *fit)
{
	int width = -1;

	for (int i = 0; i < v->ncolumns; i++)
		width += fit[i] ? fit[i] + 1 : 0;
	return width;
}

static void print_functions(FILE *out, const struct model *m, const struct report_options *o,
			    const struct row_list *rows, int n, const int *fit,
			    const struct stack_row *(*stack)(const struct model *m, int row))
{
	int width = fit_width(o->view, fit);
	char line[1024], name[4200];

	for (int i = 0; i < n; i++) {
		const struct stack_row *r = stack(m, rows->row[i]);

		view_line(o->view, m, rows->row[i], fit, line, sizeof(line));
		name[0] = '\0';
		if (r->frames)
			frame_name(r->frame[0], name, sizeof(name));
		text_cut(name, (size_t)(o->width > width + 4 ? o->width - width - 3 : 1));
		fprintf(out, " %-*s  %s\n", width, line, name);
	}
}

int stack_print_room(const struct stack_printer *p, const struct report_options *o)
{
	return o->width - 1 - (p->flat ? FLAT_WIDTH + 2 : 0);
}

bool stack_print(FILE *out, const struct model *m, const struct report_options *o, const int *fit,
		 const struct stack_printer *p)
{
	const struct view *v = o->view;
	struct row_list rows = {0};
	char line[1024];
	int n = view_rows(v, m, o->sort, o->reverse, NULL, &rows);

	n = o->limit && o->limit < n ? o->limit : n;
	view_line(v, m, -1, fit, line, sizeof(line));
	fprintf(out, "\n %-*s%s\n", p->flat ? fit_width(v, fit) + 2 : 0, line,
		p->flat ? "FUNCTION" : "");
	if (p->flat)
		print_functions(out, m, o, &rows, n, fit, p->stack);
	for (int i = 0; !p->flat && i < n; i++) {
		view_line(v, m, rows.row[i], fit, line, sizeof(line));
		fprintf(out, "%c%s\n", v->alert && v->alert(m, rows.row[i]) ? '!' : ' ', line);
		print_frames(out, p->stack(m, rows.row[i]), o);
		if (p->more)
			p->more(out, m, rows.row[i], o->width);
		fprintf(out, "\n");
	}
	if (n < rows.n)
		fprintf(out, " ... %d more rows (-n)\n", rows.n - n);
	row_list_free(&rows);
	return n > 0;
}

bool stack_line(const struct stack_row *r, unsigned i, char *out, size_t len)
{
	char name[200], place[80];
	size_t room = len - 1;

	if (i >= r->frames + r->cut)
		return false;
	if (i >= r->frames) {
		snprintf(out, len, "%s", cut_text);
		return true;
	}
	frame_texts(r, i, name, sizeof(name), place, sizeof(place));
	if (room >= NAME_LEAST + 2 + strlen(place)) {
		room -= 2 + strlen(place);
		text_cut(name, room);
		snprintf(out, len, "%-*.*s  %s", room < NAME_WIDTH ? (int)room : NAME_WIDTH,
			 (int)room, name, place);
	} else {
		text_cut(name, room);
		snprintf(out, len, "%.*s", (int)room, name);
	}
	return true;
}

void stack_tell_denied(const struct stacks *s, pid_t pid, int *refused)
{
	char what_to_do[PATH_MAX + 128];

	if (!s->denied)
		return;
	remedy(CAPS_ALL, CAPS_PAGES, what_to_do, sizeof(what_to_do));
	complain("no permission to open %u files of process %d: stacks go by frame pointers where "
		 "those are missing, and may be wrong or cut (%s)",
		 s->closed, pid, what_to_do);
	*refused = -EPERM;
}
