#include "top_host.h"
#include "attach.h"
#include "hakstat.h"
#include "host.h"
#include "privilege.h"
#include "processes.h"
#include "target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TURN_S 0.03 /* keys are looked for that often */

static void name_it(char *who, size_t len, const struct processes *all)
{
	char host[64] = "host";

	gethostname(host, sizeof(host) - 1);
	sanitize(host);
	snprintf(who, len, "%s   %d process%s on libhakmem", host, all->n, all->n == 1 ? "" : "es");
}

static void wait_for(double seconds)
{
	double end = clock_s() + seconds;

	while (!stop_requested && clock_s() < end && !reader_is_gone()) {
		double left = end - clock_s();

		usleep((useconds_t)((left < 0.1 ? left > 0 ? left : 0 : 0.1) * 1e6));
	}
}

/* --- without a screen --- */

static void print_frame(const struct model *m, const struct host_options *o, double at)
{
	struct report_options r = {.view = &view_processes,
				   .format = o->format,
				   .sort = o->sort,
				   .reverse = o->reverse,
				   .width = text_width(),
				   .fold = text_fold_width()};
	char header[HEADER_LINES][256], who[128];
	int n;

	if (o->format != REPORT_TABLE) {
		report_view(stdout, &view_processes, m, &r);
		return;
	}
	name_it(who, sizeof(who), m->processes);
	n = header_lines(m, who, r.width, header);
	printf("--- %.1f s\n", at);
	for (int i = 0; i < n; i++)
		printf("%s\n", header[i]);
	if (!report_table(stdout, &view_processes, m, &r))
		printf("\n no process here runs on libhakmem, or none that you may look into\n");
	report_notes(stdout, &view_processes, m, &r);
	printf("\n");
}

static int run_batch(struct host *h, const struct host_options *o, struct model *m)
{
	double begin = clock_s();
	int r = host_look(h);

	for (long frames = 0; !r && (!o->frames || frames < o->frames); frames++) {
		wait_for(o->seconds);
		if (stop_requested || ferror(stdout) || reader_is_gone())
			return 0;
		r = host_look(h);
		if (r)
			break;
		host_model(h, m);
		print_frame(m, o, clock_s() - begin);
		if (fflush(stdout))
			output_error = errno;
	}
	return r;
}

/* --- with one --- */

/* Back from a process the table is as it was left. */
static bool into(struct screen *s, const struct model *m)
{
	static struct model inner;
	pid_t pid = m->processes->row[s->rows.row[s->cursor]].pid;
	struct screen inside;
	char why[256];
	bool back;

	screen_init(&inside, s->interval, VIEW_classes);
	inside.inside = true;
	back = top_process(&inside, pid, &inner, why, sizeof(why));
	snprintf(s->note, sizeof(s->note), "%s", why);
	screen_free(&inside);
	return back;
}

/* The number of the process under the cursor, which stays on it while rows move. */
static pid_t under_cursor(const struct screen *s, const struct model *m)
{
	if (s->cursor >= s->rows.n || s->rows.row[s->cursor] >= m->processes->n)
		return 0;
	return m->processes->row[s->rows.row[s->cursor]].pid;
}

static void keep_cursor(struct screen *s, const struct model *m, pid_t pid)
{
	view_rows(&view_processes, m, s->sort[s->view], s->reverse[s->view], s->filter, &s->rows);
	for (int i = 0; i < s->rows.n; i++)
		if (m->processes->row[s->rows.row[i]].pid == pid)
			s->cursor = i;
}

/* Serves keys until the next look is due. False: it is over. */
static bool serve(struct screen *s, const struct model *m, const char *who, double due)
{
	while (!stop_requested && !reader_is_gone()) {
		int actions = screen_keys(s);

		if (actions & ACTION_QUIT)
			return false;
		if (actions)
			s->note[0] = '\0';
		if (actions & ACTION_PROCESS)
			return into(s, m);
		if (actions)
			screen_draw(s, m, who, s->note);
		if (actions & ACTION_INTERVAL || clock_s() >= due)
			return true;
		usleep((useconds_t)(TURN_S * 1e6));
	}
	return false;
}

static int run_screen(struct host *h, const struct host_options *o, struct model *m)
{
	struct screen s;
	char who[128];
	long frames = 0;
	int r = 0;

	screen_init(&s, o->seconds, VIEW_processes);
	s.sort[s.view] = o->sort;
	s.reverse[s.view] = o->reverse;
	for (double wait = 0.3;; wait = s.interval) {
		pid_t pid = frames ? under_cursor(&s, m) : 0;

		if (!s.paused || !frames) {
			r = host_look(h);
			if (r)
				break;
			host_model(h, m);
			keep_cursor(&s, m, pid);
			screen_record(&s, m);
			frames++;
		}
		name_it(who, sizeof(who), m->processes);
		screen_draw(&s, m, who, s.note);
		if (o->frames && frames > o->frames)
			break;
		if (!serve(&s, m, who, clock_s() + (wait < s.interval ? wait : s.interval)))
			break;
	}
	screen_free(&s);
	return r;
}

int top_host(struct host_options *o, bool screen)
{
	static struct model m;
	struct host *h = host_open();
	int r = h ? 0 : -ENOMEM;

	keep_to_watch(attach_before_multi(), false);
	if (!r && screen && !screen_open()) {
		complain("unknown terminal type: plain frames");
		screen = false;
	}
	if (!r)
		r = screen ? run_screen(h, o, &m) : run_batch(h, o, &m);
	if (screen)
		screen_close();
	host_close(h);
	if (!r)
		return EXIT_OK;
	complain("cannot look at the processes of this host: %s", target_reason(r));
	return exit_code_of(r);
}
