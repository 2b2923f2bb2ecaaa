#include "stack_print.h"
#include "hakstat.h"
#include "privilege.h"

#include <errno.h>
#include <string.h>

static void print_frame(FILE *out, const struct frame *f, int width)
{
	char name[4200], place[300];
	int room;

	frame_name(f, name, sizeof(name));
	frame_place(f, place, sizeof(place));
	room = width - 8 - (int)strlen(place) - (f->inlined ? 10 : 0);
	if (room < 20)
		room = 20;
	fprintf(out, "      %-*.*s  %s%s\n", room < 44 ? room : 44, room, name, place,
		f->inlined ? " (inlined)" : "");
}

static void print_frames(FILE *out, const struct stack_row *r, const struct report_options *o)
{
	for (unsigned i = 0; i < r->frames; i++) {
		struct frame f = *r->frame[i];

		if (i == 0 && r->entry)
			f.line = 0; /* that it is libhakmem tells more than where in it */
		print_frame(out, &f, o->width);
	}
	if (r->cut)
		fprintf(out, "      ... (cut: its callers are not known)\n");
}

static int fit_width(const struct view *v, const bool *fit)
{
	int width = -1;

	for (int i = 0; i < v->ncolumns; i++)
		width += fit[i] ? v->columns[i].width + 1 : 0;
	return width;
}

static void print_functions(FILE *out, const struct model *m, const struct report_options *o,
			    const struct row_list *rows, int n, const bool *fit,
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
		fprintf(out, " %-*s  %s\n", width, line, name);
	}
}

bool stack_print(FILE *out, const struct model *m, const struct report_options *o, const bool *fit,
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
			p->more(out, m, rows.row[i]);
		fprintf(out, "\n");
	}
	if (n < rows.n)
		fprintf(out, " ... %d more rows (-n)\n", rows.n - n);
	row_list_free(&rows);
	return n > 0;
}

bool stack_line(const struct stack_row *r, unsigned i, char *out, size_t len)
{
	struct frame f;
	char name[200], place[80];

	if (i >= r->frames + r->cut)
		return false;
	if (i >= r->frames) {
		snprintf(out, len, "... (cut: its callers are not known)");
		return true;
	}
	f = *r->frame[i];
	if (i == 0 && r->entry)
		f.line = 0; /* that it is libhakmem tells more than where in it */
	frame_name(&f, name, sizeof(name));
	frame_place(&f, place, sizeof(place));
	snprintf(out, len, "%-44s  %s%s", name, place, f.inlined ? " (inlined)" : "");
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
