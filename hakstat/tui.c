#include "tui.h"
#include "progress.h"
#include "text.h"

#include <curses.h>
#include <limits.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define LOW 16		/* lines: below that two of the header, so that there are rows */
#define WITH_RANGES 110 /* columns from which on histories show their lowest and highest value */

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
	history_clear(&s->history);
	s->sort[s->view] = (s->sort[s->view] + 1) % views[s->view]->ncolumns;
	return ACTION_REDRAW;
}

static int sort_previous(struct screen *s)
{
	int n = views[s->view]->ncolumns;

	history_clear(&s->history);
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
	s->help = false;
	s->scroll = s->cursor = 0;
	s->rows.n = 0; /* of the other view, until this one is drawn */
	history_clear(&s->history);
	return ACTION_REDRAW | ACTION_VIEW;
}

static int next_view(struct screen *s)
{
	int view = s->view;

	if (view == VIEW_processes)
		return ACTION_NONE;
	do {
		view = (view + 1) % VIEWS;
	} while (!views[view]->key);
	return show(s, view);
}

static int toggle_graph(struct screen *s)
{
	s->graph = !s->graph;
	history_clear(&s->history);
	return ACTION_REDRAW;
}

/* Keys that wait in the queue add up. */
static int go(struct screen *s, long intervals, long seconds)
{
	s->move_intervals += intervals;
	s->move_seconds += seconds;
	s->note[0] = '\0';
	return ACTION_MOVE | ACTION_REDRAW;
}

static int step_back(struct screen *s)
{
	return go(s, -1, 0);
}

static int step_on(struct screen *s)
{
	return go(s, 1, 0);
}

static int minute_back(struct screen *s)
{
	return go(s, 0, -60);
}

static int minute_on(struct screen *s)
{
	return go(s, 0, 60);
}

static int to_begin(struct screen *s)
{
	return go(s, -s->move_intervals - SCREEN_FAR, 0);
}

static int to_end(struct screen *s)
{
	return go(s, -s->move_intervals + SCREEN_FAR, 0);
}

static int act(struct screen *s, enum view_act what)
{
	if (!views[s->view]->act || (what != VIEW_ACT_TURN && s->cursor >= s->rows.n))
		return ACTION_NONE;
	s->act = what;
	s->acted = s->cursor < s->rows.n ? s->rows.row[s->cursor] : -1;
	return ACTION_REDRAW | ACTION_ACT;
}

static int open_row(struct screen *s)
{
	return act(s, VIEW_ACT_OPEN);
}

static int close_row(struct screen *s)
{
	return act(s, VIEW_ACT_CLOSE);
}

static int turn_tree(struct screen *s)
{
	if (views[s->view]->act)
		s->cursor = s->scroll = 0;
	return act(s, VIEW_ACT_TURN);
}

void screen_say(struct screen *s, const char *text)
{
	snprintf(s->note, sizeof(s->note), "%s", text);
	s->brief = true;
}

static int enter(struct screen *s)
{
	if (s->view == VIEW_processes && s->cursor < s->rows.n)
		return ACTION_PROCESS;
	if (s->replay && views[s->view]->explain) {
		screen_say(s, "recordings have no stacks");
		return ACTION_REDRAW;
	}
	if (views[s->view]->act)
		return act(s, VIEW_ACT_TOGGLE);
	if (!views[s->view]->explain) {
		screen_say(s, "rows of this view have no stacks; those of classes, locks, os and "
			      "route have");
		return ACTION_REDRAW;
	}
	if (s->cursor >= s->rows.n)
		return ACTION_NONE;
	s->explained = s->rows.row[s->cursor];
	s->before = s->view;
	return ACTION_REDRAW | ACTION_EXPLAIN;
}

int screen_explain(struct screen *s)
{
	s->filter[0] = 0; /* it was for that view */
	return show(s, VIEW_stacks);
}

/* From stacks back to where they were asked for; else the filter goes; else back to the host. */
static int escape(struct screen *s)
{
	bool filtered = s->filter[0];

	s->filter[0] = 0;
	if (s->view == VIEW_stacks)
		return show(s, s->before);
	return s->inside && !filtered ? ACTION_HOST : ACTION_REDRAW;
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
	s->scroll = s->most = 0;
	return ACTION_REDRAW;
}

/* Help scrolls; in a table the cursor moves. Drawing keeps the first line in bounds. */
static int move_by(struct screen *s, int lines)
{
	int *at = s->help ? &s->scroll : &s->cursor, last = s->help ? s->most : s->rows.n - 1;

	*at += lines;
	if (*at > last)
		*at = last;
	if (*at < 0)
		*at = 0;
	return ACTION_REDRAW;
}

static int down(struct screen *s)
{
	return move_by(s, 1);
}

static int up(struct screen *s)
{
	return move_by(s, -1);
}

static int page_down(struct screen *s)
{
	return move_by(s, s->page > 1 ? s->page : 1);
}

static int page_up(struct screen *s)
{
	return move_by(s, s->page > 1 ? -s->page : -1);
}

static int resized(struct screen *s)
{
	(void)s;
	return ACTION_REDRAW;
}

static const struct key keys[] = {
	{'\t', "Tab", "the next view", next_view},
	{'s', "s", "sort by the next column", sort_next},
	{'S', "S", "sort by the previous column", sort_previous},
	{'r', "r", "reverse the order", reverse},
	{'/', "/", "filter rows (Enter keeps it, Esc clears it)", start_filter},
	{'g', "g", "history of the sort column, row by row", toggle_graph},
	{' ', "space", "pause; of a recording: play", pause_it},
	{'+', "+", "longer interval", slower},
	{'-', "-", "shorter interval", faster},
	{KEY_DOWN, "down", "next row; scrolls", down},
	{KEY_UP, "up", "previous row", up},
	{KEY_NPAGE, "PgDn", "a screen of rows on; PgUp back", page_down},
	{'\n', "Enter", "into the process; the stacks that explain a row; opens a row of a tree",
	 enter},
	{KEY_RIGHT, "right", "opens a row of a tree; left closes it", open_row},
	{'c', "c", "turns a tree: callers below what they call, or above", turn_tree},
	{'?', "?", "this help", help},
	{'q', "q", "quit", quit},
	{KEY_LEFT, NULL, NULL, close_row},
	{KEY_PPAGE, NULL, NULL, page_up},
	{'=', NULL, NULL, slower},
	{'h', NULL, NULL, help},
	{'\r', NULL, NULL, enter},
	{KEY_ENTER, NULL, NULL, enter},
	{27, NULL, NULL, escape},
	{KEY_RESIZE, NULL, NULL, resized},
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

/* And those of a recording. */
static const struct key replay_keys[] = {
	{'[', "[ left", "one interval back", step_back},
	{']', "] right", "one interval on", step_on},
	{'{', "{", "a minute back", minute_back},
	{'}', "}", "a minute on", minute_on},
	{KEY_HOME, "Home", "to its begin", to_begin},
	{KEY_END, "End", "to its end", to_end},
	{KEY_LEFT, NULL, NULL, step_back},
	{KEY_RIGHT, NULL, NULL, step_on},
};
#define REPLAY_KEYS (sizeof(replay_keys) / sizeof(replay_keys[0]))

void screen_init(struct screen *s, double interval, int view)
{
	memset(s, 0, sizeof(*s));
	s->view = view;
	s->interval = interval;
	for (int i = 0; i < VIEWS; i++)
		s->sort[i] = views[i]->sort;
}

void screen_free(struct screen *s)
{
	row_list_free(&s->rows);
	history_clear(&s->history);
}

/* In the last line; the rest of the screen stays as it is meanwhile. */
static void show_progress(const char *text)
{
	if (!text)
		return; /* the screen is drawn next */
	move(LINES - 1, 0);
	clrtoeol();
	mvaddnstr(LINES - 1, 0, text, COLS);
	refresh();
}

bool screen_open(void)
{
	setlocale(LC_CTYPE, "");
	if (!newterm(NULL, stdout, stdin))
		return false;
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(25);
	curs_set(0);
	progress_to(show_progress);
	if (has_colors() && text_wants_colours()) {
		start_color();
		use_default_colors();
		init_pair(1, COLOR_CYAN, -1);
		init_pair(2, COLOR_RED, -1);
	}
	return true;
}

void screen_close(void)
{
	progress_to(NULL);
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

static bool is_scrolling(int c)
{
	return c == KEY_DOWN || c == KEY_UP || c == KEY_NPAGE || c == KEY_PPAGE;
}

static int press(struct screen *s, int c)
{
	if (s->brief)
		s->note[0] = '\0';
	s->brief = false;
	if (s->typing && c != KEY_RESIZE)
		return type(s, c);
	if (s->help && !is_scrolling(c) && c != KEY_RESIZE && c != 'q') {
		help(s);
		return ACTION_REDRAW;
	}
	for (int i = 0; i < VIEWS; i++)
		if (views[i]->key && views[i]->key == c && s->view != VIEW_processes)
			return show(s, i);
	for (size_t i = 0; s->replay && i < REPLAY_KEYS; i++)
		if (replay_keys[i].code == c)
			return replay_keys[i].act(s);
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

/* ASCII; "~" where it is cut. */
static void put(int y, const char *text, int attributes)
{
	if (y >= LINES)
		return;
	attron(attributes);
	mvaddnstr(y, 0, text, COLS);
	if (strlen(text) > (size_t)COLS)
		mvaddch(y, COLS - 1, '~');
	attroff(attributes);
}

#define HELP_LINES 64

struct help_text {
	char line[HELP_LINES][160];
	bool title[HELP_LINES];
	int n;
};

__attribute__((format(printf, 3, 4))) static void add(struct help_text *t, bool title,
						      const char *format, ...)
{
	va_list args;

	if (t->n == HELP_LINES)
		return;
	va_start(args, format);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
	vsnprintf(t->line[t->n], sizeof(t->line[0]), format, args);
	va_end(args);
	t->title[t->n++] = title;
}

/* First of n lines to show in `room`; what is beyond the last is not scrolled to. */
static int first_line(struct screen *s, int n, int room)
{
	s->most = n > room ? n - room : 0;
	if (s->scroll > s->most)
		s->scroll = s->most;
	return s->scroll;
}

static void draw_help(struct screen *s)
{
	const struct view *v = views[s->view];
	struct help_text t = {.n = 0};
	int first, room = LINES - 1;

	add(&t, true, "Keys");
	for (size_t i = 0; s->replay && i < REPLAY_KEYS; i++)
		if (replay_keys[i].shown)
			add(&t, false, "  %-6s %s", replay_keys[i].shown, replay_keys[i].help);
	for (int i = 0; i < VIEWS; i++)
		if (views[i]->key && s->view != VIEW_processes)
			add(&t, false, "  %-6c %s", views[i]->key, views[i]->title);
	for (size_t i = 0; i < KEYS; i++)
		if (keys[i].shown)
			add(&t, false, "  %-6s %s", keys[i].shown, keys[i].help);
	add(&t, true, "Columns of '%s'", v->title);
	for (int i = 0; i < v->ncolumns; i++)
		if (v->columns[i].width)
			add(&t, false, "  %-8s %s%s", v->columns[i].title, v->columns[i].help,
			    v->columns[i].unit == UNIT_RATE ? ", a second" : "");
	first = first_line(s, t.n, room);
	s->page = room;
	for (int i = 0; i < room && first + i < t.n; i++)
		put(i, t.line[first + i], t.title[first + i] ? A_BOLD : 0);
	put(LINES - 1, t.n > room ? "down and up scroll, any other key closes" : "any key closes",
	    A_DIM);
}

static void draw_heading(const struct view *v, const struct model *m, const int *fit, int sort,
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
			mvchgat(y, x, fit[i], A_REVERSE | A_BOLD | A_UNDERLINE, 0, NULL);
		x += fit[i] + 1;
	}
}

/* --- histories --- */

#define GRAPH_WIDTH 24	   /* a third of the screen at most */
#define ROW_NAME_COLUMNS 2 /* the first columns say which row it is, whatever its number is now */

static void row_name(const struct view *v, const struct model *m, int row, char *out, size_t len)
{
	size_t at = 0;

	out[0] = '\0';
	for (int i = 0; i < ROW_NAME_COLUMNS && i < v->ncolumns && at < len; i++) {
		struct value x = v->columns[i].get(m, row);
		char text[64];

		if (i && x.kind != VALUE_TEXT && x.kind != VALUE_ID)
			break;
		value_text(&x, text, sizeof(text));
		at += (size_t)snprintf(out + at, len - at, "%s ", text);
	}
}

static void record_rows(struct screen *s, const struct model *m)
{
	const struct view *v = views[s->view];
	const struct column *c = &v->columns[s->sort[s->view]];
	char name[128];

	if (v->source && v->source != s->filled)
		return;
	view_rows(v, m, s->sort[s->view], false, NULL, &s->rows);
	for (int i = 0; i < s->rows.n; i++) {
		struct value x = c->get(m, s->rows.row[i]);

		row_name(v, m, s->rows.row[i], name, sizeof(name));
		history_add(&s->history, name,
			    x.kind == VALUE_NONE || x.kind == VALUE_TEXT ? -1 : x.number);
	}
}

void screen_record(struct screen *s, const struct model *m)
{
	double hits = (double)(m->small_allocs - m->refills);

	series_add(&s->allocs, m->seconds > 0 ? (double)m->allocs / m->seconds : -1);
	series_add(&s->rss, (double)m->rss);
	series_add(&s->hit, m->small_allocs ? 100 * hits / (double)m->small_allocs : -1);
	if (s->graph)
		record_rows(s, m);
}

/* Where it is wide enough with the lowest and highest value. */
static int draw_series(const char *label, const struct series *s, enum value_kind kind, int y,
		       int x, int width)
{
	struct value low = value_of(kind, 0), high = low;
	char line[3 * SERIES_MAX + 8], from[32], to[32];

	series_line(s, width, text_is_utf8(), line, sizeof(line));
	mvprintw(y, x, "%s %s", label, line);
	x += (int)strlen(label) + 1 + width;
	if (COLS < WITH_RANGES || !series_range(s, &low.number, &high.number))
		return x + 3;
	value_text(&low, from, sizeof(from));
	value_text(&high, to, sizeof(to));
	mvprintw(y, x, " %s..%s", from, to);
	return x + 3 + (int)(strlen(from) + strlen(to) + 3);
}

static void draw_histories(const struct screen *s, int y)
{
	int labels = (int)strlen("allocs/s  rss  hit% ") + 8, ranges = COLS < WITH_RANGES ? 0 : 42;
	int width = (COLS - labels - ranges) / 3, x;

	if (width < 4 || y >= LINES)
		return;
	if (width > SERIES_MAX)
		width = SERIES_MAX;
	attron(A_DIM);
	x = draw_series("allocs/s", &s->allocs, VALUE_RATE, y, 0, width);
	x = draw_series("RSS", &s->rss, VALUE_BYTES, y, x, width);
	draw_series("hit%", &s->hit, VALUE_PERCENT, y, x, width);
	attroff(A_DIM);
}

static int graph_width(void)
{
	return COLS / 3 < GRAPH_WIDTH ? COLS / 3 : GRAPH_WIDTH;
}

static void draw_graph(const struct screen *s, const struct model *m, int row, int y)
{
	char name[128], line[3 * GRAPH_WIDTH + 8];
	const struct series *series;

	row_name(views[s->view], m, row, name, sizeof(name));
	series = history_get(&s->history, name);
	if (!series || y >= LINES)
		return;
	series_line(series, graph_width(), text_is_utf8(), line, sizeof(line));
	mvaddstr(y, COLS - graph_width(), line);
}

static int table_width(const struct screen *s)
{
	return s->graph ? COLS - graph_width() - 1 : COLS;
}

/* --- the table --- */

/* Rows that do not fit are told below the others, in a line of the table's `room`. */
static void draw_rows(struct screen *s, const struct model *m, const int *fit, int y, int room)
{
	const struct view *v = views[s->view];
	int n = s->rows.n, first;
	bool told = n > room && room > 1, alert;
	char line[512];

	room -= told;
	s->page = room;
	if (s->cursor >= n)
		s->cursor = n > 0 ? n - 1 : 0;
	if (s->scroll > s->cursor)
		s->scroll = s->cursor;
	if (s->scroll < s->cursor - room + 1)
		s->scroll = s->cursor - room + 1;
	first = first_line(s, n, room);
	for (int i = first; i < n && i < first + room; i++) {
		int row = s->rows.row[i];

		view_line(v, m, row, fit, line, sizeof(line));
		alert = v->alert && v->alert(m, row);
		if (alert && line[0] == ' ')
			line[0] = '!'; /* as in reports: there may be no colours */
		put(y, line,
		    (alert ? A_BOLD | COLOR_PAIR(2) : 0) | (i == s->cursor ? A_STANDOUT : 0));
		if (table_width(s) < COLS)
			draw_graph(s, m, row, y);
		y++;
	}
	snprintf(line, sizeof(line), "rows %d-%d of %d", first + 1, first + room, n);
	if (told)
		put(y, line, A_DIM);
}

/* Below a table that has something to tell of the row under the cursor, up to line `end`. */
static void draw_detail(const struct screen *s, const struct model *m, int y, int end)
{
	const struct view *v = views[s->view];
	int row = s->rows.n ? s->rows.row[s->cursor] : -1, lines = 0, room = end - y;
	size_t len = (size_t)COLS + 1;
	char line[512];

	if (len > sizeof(line))
		len = sizeof(line);
	while (v->detail(m, row, lines, line, len))
		lines++;
	for (int i = 0; i < room && v->detail(m, row, i, line, len); i++) {
		if (i + 1 == room && lines > room)
			snprintf(line, sizeof(line), "  ... %d more lines", lines - i);
		put(y++, line, i ? 0 : A_DIM);
	}
}

/* --- notes, at the bottom --- */

#define NOTES_MAX 24

struct notes {
	char line[NOTES_MAX][256];
	int n;
};

/* As many lines as it takes. */
static bool add_note(struct notes *t, const char *text, int most)
{
	do {
		size_t fit = text_fit(text, (size_t)COLS);

		if (t->n == most)
			return false;
		snprintf(t->line[t->n++], sizeof(t->line[0]), "%.*s", (int)fit, text);
		text += fit;
		text += strspn(text, " ");
	} while (*text);
	return true;
}

/* False: there is no room for all. */
static bool add_notes(struct notes *t, const struct view *v, const struct model *m, int most)
{
	char text[512];

	for (int i = 0; v->note && v->note(m, i, text, sizeof(text)); i++)
		if (!add_note(t, text, most))
			return false;
	for (int i = 0; v->matrix && v->matrix(m, i, COLS, text, sizeof(text)); i++) {
		if (t->n == most)
			return false;
		snprintf(t->line[t->n++], sizeof(t->line[0]), "%.*s", COLS, text);
	}
	return true;
}

/* Where there is no room for all, the last line says that there are more. */
static void collect_notes(const struct view *v, const struct model *m, int most, struct notes *t)
{
	char lacks[PATH_MAX + 512];

	t->n = 0;
	if (most > NOTES_MAX)
		most = NOTES_MAX;
	if (most > 0 && view_lacks(v, m, lacks, sizeof(lacks)))
		add_note(t, lacks, most);
	if (most > 0 && !add_notes(t, v, m, most)) {
		size_t n = strlen(t->line[most - 1]);

		if (n + 4 > (size_t)COLS)
			n = COLS > 4 ? (size_t)COLS - 4 : 0;
		snprintf(t->line[most - 1] + n, sizeof(t->line[0]) - n, " ...");
	}
}

/* Of the room a third; less where there is a stack to show. Returns the line where they begin. */
static int draw_notes(const struct view *v, const struct model *m, int y)
{
	struct notes t;
	int first;

	collect_notes(v, m, (LINES - 1 - y) / (v->detail ? 6 : 3), &t);
	first = LINES - 1 - t.n;
	for (int i = 0; i < t.n; i++)
		put(first + i, t.line[i], A_DIM);
	return first;
}

/* Rows of the table: a third of the screen at most where there is more to tell of one of them. */
static int table_room(const struct screen *s, int room)
{
	int third = room / 3;

	if (!views[s->view]->detail)
		return room;
	return s->rows.n < third ? s->rows.n : third;
}

static void put_folded(int y, const char *text)
{
	struct notes t = {.n = 0};

	add_note(&t, text, NOTES_MAX);
	for (int i = 0; i < t.n; i++)
		put(y + i, t.line[i], A_DIM);
}

static void draw_table(struct screen *s, const struct model *m, int y)
{
	const struct view *v = views[s->view];
	int fit[COLUMNS_MAX];
	int room, end;

	view_fit(v, table_width(s), fit);
	draw_heading(v, m, fit, s->sort[s->view], y++);
	if (s->missing || (v->source && v->source != s->filled)) {
		put_folded(y, s->missing ? s->missing : "waiting for the first interval ...");
		return;
	}
	view_rows(v, m, s->sort[s->view], s->reverse[s->view], s->filter, &s->rows);
	end = draw_notes(v, m, y);
	room = table_room(s, end - y);
	draw_rows(s, m, fit, y, room);
	if (v->detail)
		draw_detail(s, m, y + (room ? room : 1) + 1, end);
	if (!s->rows.n)
		put(y, s->filter[0] ? "no row matches the filter" : "nothing in this interval",
		    A_DIM);
}

/* "1-3": the first and the last; they are digits in a row. */
static const char *view_keys(void)
{
	static char text[4];
	int n = 0;

	for (int i = 0; i < VIEWS; i++)
		n += views[i]->key != 0;
	snprintf(text, sizeof(text), "1-%d", n % 10);
	return text;
}

static const char *where_to(const struct screen *s)
{
	static char text[32];

	if (s->view == VIEW_processes)
		return "Enter into one";
	snprintf(text, sizeof(text), "%s%s views",
		 s->view == VIEW_stacks ? "Esc back," : view_keys(),
		 s->inside && s->view != VIEW_stacks ? " Esc" : "");
	return text;
}

/* What it says of keys: shorter from level to level, down to what is always there. */
static void bottom_text(const struct screen *s, int level, char *out, size_t len)
{
	const char *paused = s->paused ? "PAUSED  " : "", *filter = s->filter[0] ? s->filter : NULL;
	const char *of = filter ? "  filter: " : "";
	const char *time = s->position + (level ? strcspn(s->position, " ") : 0);
	char rate[32] = "";

	if (!level)
		snprintf(rate, sizeof(rate), "  +- %.4gs", s->interval);
	filter = filter ? filter : "";
	time += strspn(time, " ");
	if (s->replay)
		snprintf(out, len, "%s %s%s%s%s  ? help q quit", time,
			 s->paused ? "paused" : "playing", level ? "" : "  [ ] { } Home End space",
			 of, filter);
	else if (*filter && level < 2)
		snprintf(out, len, "%sfilter: %s (Esc clears)%s  ? help q quit", paused, filter,
			 rate);
	else if (level < 2)
		snprintf(out, len, "%s%s  %s%s%s  ? help q quit", paused, views[s->view]->name,
			 where_to(s), level ? "" : "  s sort r rev / filter", rate);
	else
		snprintf(out, len, "%s%s%s  ? help q quit", paused, of, filter);
}

static void draw_bottom(const struct screen *s, const char *note)
{
	char line[256];

	if (s->typing)
		snprintf(line, sizeof(line), "filter: %s_", s->filter);
	else if (note && *note)
		snprintf(line, sizeof(line), "%s", note);
	else
		for (int level = 0; level < 3; level++) {
			bottom_text(s, level, line, sizeof(line));
			if (strlen(line) <= (size_t)COLS)
				break;
		}
	put(LINES - 1, line, s->paused ? A_BOLD : A_DIM);
}

void screen_draw(struct screen *s, const struct model *m, const char *who, const char *note)
{
	char header[HEADER_LINES][256];
	bool low = LINES < LOW;
	int n;

	erase();
	if (s->help) {
		draw_help(s);
	} else if (!m) {
		put(0, who, A_BOLD);
		put(2, "waiting for the first interval ...", A_DIM);
	} else {
		n = header_lines(m, who, COLS, header);
		n = low && n > 2 ? 2 : n;
		for (int i = 0; i < n; i++)
			put(i, header[i], i == 0 ? A_BOLD | COLOR_PAIR(1) : 0);
		if (!low)
			draw_histories(s, n);
		draw_table(s, m, low ? n : n + 1);
	}
	if (!s->help)
		draw_bottom(s, note);
	refresh();
}
