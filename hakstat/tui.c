#include "tui.h"

#include <curses.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

struct key {
	int code;
	const char *shown, *help;
	int (*act)(struct screen *s);
};

static int quit(struct screen *s)
{
	(void)s;
	return ACTION_QUIT;
}

static int pause_it(struct screen *s)
{
	s->paused = !s->paused;
	return ACTION_REDRAW;
}

static int sort_next(struct screen *s)
{
	s->sort[s->view] = (s->sort[s->view] + 1) % views[s->view].ncolumns;
	return ACTION_REDRAW;
}

static int sort_previous(struct screen *s)
{
	int n = views[s->view].ncolumns;

	s->sort[s->view] = (s->sort[s->view] + n - 1) % n;
	return ACTION_REDRAW;
}

static int reverse(struct screen *s)
{
	s->reverse[s->view] = !s->reverse[s->view];
	return ACTION_REDRAW;
}

static int slower(struct screen *s)
{
	if (s->interval < 60)
		s->interval *= 2;
	return ACTION_REDRAW | ACTION_INTERVAL;
}

static int faster(struct screen *s)
{
	if (s->interval > 0.2)
		s->interval /= 2;
	return ACTION_REDRAW | ACTION_INTERVAL;
}

static int show(struct screen *s, int view)
{
	s->view = view;
	s->scroll = 0;
	return ACTION_REDRAW;
}

static int show_classes(struct screen *s)
{
	return show(s, VIEW_CLASSES);
}

static int show_locks(struct screen *s)
{
	return show(s, VIEW_LOCKS);
}

static int show_os(struct screen *s)
{
	return show(s, VIEW_OS);
}

static int start_filter(struct screen *s)
{
	s->typing = true;
	s->filter[0] = 0;
	return ACTION_REDRAW;
}

static int help(struct screen *s)
{
	s->help = !s->help;
	return ACTION_REDRAW;
}

static int down(struct screen *s)
{
	s->scroll++;
	return ACTION_REDRAW;
}

static int up(struct screen *s)
{
	if (s->scroll > 0)
		s->scroll--;
	return ACTION_REDRAW;
}

static int resized(struct screen *s)
{
	(void)s;
	return ACTION_REDRAW;
}

static const struct key keys[] = {
	{'1', "1", "size classes", show_classes},
	{'2', "2", "contention: locks of the allocator", show_locks},
	{'3', "3", "system calls and fallbacks", show_os},
	{'s', "s", "sort by the next column", sort_next},
	{'S', "S", "sort by the previous column", sort_previous},
	{'r', "r", "reverse the order", reverse},
	{'/', "/", "filter rows (Enter keeps it, Esc clears it)", start_filter},
	{' ', "space", "pause", pause_it},
	{'+', "+", "longer interval", slower},
	{'-', "-", "shorter interval", faster},
	{KEY_DOWN, "down", "scroll", down},
	{KEY_UP, "up", "scroll back", up},
	{'?', "?", "this help", help},
	{'q', "q", "quit", quit},
	{'=', NULL, NULL, slower},
	{'h', NULL, NULL, help},
	{KEY_RESIZE, NULL, NULL, resized},
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

void screen_init(struct screen *s, double interval)
{
	memset(s, 0, sizeof(*s));
	s->interval = interval;
	for (int i = 0; i < VIEWS; i++)
		s->sort[i] = views[i].sort;
}

void screen_open(void)
{
	setlocale(LC_CTYPE, "");
	initscr();
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(25);
	curs_set(0);
	if (has_colors() && !getenv("NO_COLOR")) {
		start_color();
		use_default_colors();
		init_pair(1, COLOR_CYAN, -1);
		init_pair(2, COLOR_RED, -1);
	}
}

void screen_close(void)
{
	endwin();
}

static int type(struct screen *s, int c)
{
	size_t n = strlen(s->filter);

	if (c == '\n' || c == KEY_ENTER) {
		s->typing = false;
	} else if (c == 27) {
		s->typing = false;
		s->filter[0] = 0;
	} else if ((c == KEY_BACKSPACE || c == 127 || c == 8) && n) {
		s->filter[n - 1] = 0;
	} else if (c >= 32 && c < 127 && n + 1 < sizeof(s->filter)) {
		s->filter[n] = (char)c;
		s->filter[n + 1] = 0;
	}
	return ACTION_REDRAW;
}

static int press(struct screen *s, int c)
{
	if (s->typing && c != KEY_RESIZE)
		return type(s, c);
	if (s->help && c != KEY_RESIZE && c != 'q') {
		s->help = false;
		return ACTION_REDRAW;
	}
	if (c == 27) {
		s->filter[0] = 0;
		return ACTION_REDRAW;
	}
	for (size_t i = 0; i < KEYS; i++)
		if (keys[i].code == c)
			return keys[i].act(s);
	return ACTION_NONE;
}

int screen_keys(struct screen *s)
{
	int actions = 0, c;

	while ((c = getch()) != ERR)
		actions |= press(s, c);
	return actions;
}

static void put(int y, const char *text, int attributes)
{
	if (y >= LINES)
		return;
	attron(attributes);
	mvaddnstr(y, 0, text, COLS);
	attroff(attributes);
}

static void draw_help(const struct screen *s)
{
	const struct view *v = &views[s->view];
	char line[256];
	int y = 0;

	put(y++, "hakstat top: keys", A_BOLD);
	for (size_t i = 0; i < KEYS; i++) {
		if (!keys[i].shown)
			continue;
		snprintf(line, sizeof(line), "  %-6s %s", keys[i].shown, keys[i].help);
		put(y++, line, 0);
	}
	snprintf(line, sizeof(line), "Columns of '%s'", v->title);
	put(y++, line, A_BOLD);
	for (int i = 0; i < v->ncolumns; i++) {
		snprintf(line, sizeof(line), "  %-8s %s", v->columns[i].title, v->columns[i].help);
		put(y++, line, 0);
	}
}

static void draw_heading(const struct view *v, const struct model *m, const bool *fit, int sort,
			 int y)
{
	char line[512];
	int x = 0;

	view_line(v, m, -1, fit, line, sizeof(line));
	attron(A_REVERSE);
	mvaddnstr(y, 0, line, COLS);
	for (int i = (int)strlen(line); i < COLS; i++)
		mvaddch(y, i, ' ');
	attroff(A_REVERSE);
	for (int i = 0; i < v->ncolumns; i++) {
		if (!fit[i])
			continue;
		if (i == sort && x < COLS)
			mvchgat(y, x, v->columns[i].width, A_REVERSE | A_BOLD | A_UNDERLINE, 0,
				NULL);
		x += v->columns[i].width + 1;
	}
}

static void draw_table(const struct screen *s, const struct model *m, int y)
{
	const struct view *v = &views[s->view];
	char line[512];
	int rows[ROWS_MAX], n, first, room = LINES - y - 2;
	bool fit[32];

	n = view_rows(v, m, s->sort[s->view], s->reverse[s->view], s->filter, rows);
	view_fit(v, COLS, fit);
	draw_heading(v, m, fit, s->sort[s->view], y++);
	first = s->scroll < n - room ? s->scroll : n - room;
	if (first < 0)
		first = 0;
	for (int i = first; i < n && i < first + room; i++) {
		view_line(v, m, rows[i], fit, line, sizeof(line));
		put(y++, line, 0);
	}
	if (!n)
		put(y, s->filter[0] ? "no row matches the filter" : "nothing in this interval",
		    A_DIM);
}

static void draw_bottom(const struct screen *s, const char *note)
{
	char line[256];

	if (s->typing)
		snprintf(line, sizeof(line), "filter: %s_", s->filter);
	else if (note)
		snprintf(line, sizeof(line), "%s", note);
	else
		snprintf(line, sizeof(line),
			 "1 classes 2 contention 3 OS  s sort r rev / filter  +- %.4gs  ? help q "
			 "quit%s%s%s",
			 s->interval, s->paused ? "  PAUSED" : "", s->filter[0] ? "  filter " : "",
			 s->filter);
	put(LINES - 1, line, s->paused ? A_BOLD : A_DIM);
}

void screen_draw(const struct screen *s, const struct model *m, const char *who, const char *note)
{
	char header[HEADER_LINES][256];
	int n;

	erase();
	if (s->help) {
		draw_help(s);
	} else if (!m) {
		put(0, who, A_BOLD);
		put(2, "waiting for the first interval ...", A_DIM);
	} else {
		n = header_lines(m, who, COLS, header);
		for (int i = 0; i < n; i++)
			put(i, header[i], i == 0 ? A_BOLD | COLOR_PAIR(1) : 0);
		draw_table(s, m, n + 1);
	}
	if (!s->help)
		draw_bottom(s, note);
	refresh();
}
