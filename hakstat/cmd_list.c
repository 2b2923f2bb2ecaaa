/* hakstat list: every process on this host that runs on libhakmem. */
#include "cgroup.h"
#include "columns.h"
#include "emit.h"
#include "hakstat.h"
#include "privilege.h"
#include "report.h"
#include "target.h"
#include "text.h"
#include "title.h"

#include <argp.h>
#include <stdlib.h>
#include <unistd.h>

enum { KEY_CSV = 256 };

struct listing {
	bool json, csv;
	struct json j;
	int count;
};

static const struct argp_option option_table[] = {
	{"json", 'j', NULL, 0, "JSON", 0},
	{"csv", KEY_CSV, NULL, 0, "CSV, the same values", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct listing *l = state->input;

	(void)arg;
	if (key == ARGP_KEY_ARG)
		argp_usage(state);
	if (key != 'j' && key != KEY_CSV)
		return ARGP_ERR_UNKNOWN;
	l->json = key == 'j';
	l->csv = key == KEY_CSV;
	return 0;
}

static void one_json(struct json *j, const struct target *t)
{
	char cgroup[CGROUP_BYTES], title[TITLE_BYTES];
	int threads = target_threads(t->pid);
	uint64_t rss = target_rss(t->pid);

	json_open(j, NULL, '{');
	json_number(j, "pid", (uint64_t)t->pid);
	json_text(j, "comm", t->comm);
	json_text(j, "exe", t->exe);
	json_text(j, "version", t->version);
	json_text(j, "build_id", t->build_id);
	json_text(j, "link", link_names[t->link]);
	json_text(j, "library", t->lib);
	json_known(j, "threads", threads ? threads : -1);
	json_known(j, "rss_bytes", rss ? (int64_t)rss : -1);
	cgroup_name(t->pid, cgroup, sizeof(cgroup));
	if (cgroup[0])
		json_text(j, "cgroup", cgroup);
	else
		json_null(j, "cgroup");
	title_read(t->pid, title, sizeof(title));
	if (title[0])
		json_text(j, "title", title);
	else
		json_null(j, "title");
	json_close(j, '}');
}

static void one_csv(const struct target *t)
{
	const char *text[] = {t->comm, t->exe, t->version, t->build_id, link_names[t->link],
			      t->lib};
	char cgroup[CGROUP_BYTES], title[TITLE_BYTES];
	int threads = target_threads(t->pid);
	uint64_t rss = target_rss(t->pid);

	cgroup_name(t->pid, cgroup, sizeof(cgroup));
	title_read(t->pid, title, sizeof(title));
	printf("%d", t->pid);
	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		printf(",");
		report_csv_text(stdout, text[i]);
	}
	printf(",");
	if (threads)
		printf("%d", threads);
	printf(",");
	if (rss)
		printf("%llu", (unsigned long long)rss);
	printf(",");
	report_csv_text(stdout, cgroup);
	printf(",");
	report_csv_text(stdout, title);
	printf("\r\n");
}

/* A line's cells, and how wide they are; where there is no room for all, the first to go is first.
 */
enum cell { PID, COMMAND, VERSION, BUILD_ID, LINKED, THREADS, RSS, CGROUP, TITLE, CELLS };
static const struct {
	const char *title;
	int width; /* negative: to the left */
} heads[CELLS] = {
	[PID] = {"PID", 8},
	[COMMAND] = {"COMMAND", -16},
	[VERSION] = {"VERSION", -8},
	[BUILD_ID] = {"BUILD ID", -12},
	[LINKED] = {"LINKED", -8},
	[THREADS] = {"THREADS", 7},
	[RSS] = {"RSS", 8},
	[CGROUP] = {"CGROUP", -32},
	[TITLE] = {"COMMAND LINE", -24},
};
static const enum cell to_leave_out[] = {BUILD_ID, LINKED, VERSION, CGROUP, THREADS, TITLE};

static void print_line(int width, const char *const *cell)
{
	bool out[CELLS] = {false};
	char line[1024];
	size_t at = 0, n = 0;
	int used = 0;

	for (int i = 0; i < CELLS; i++)
		used += abs(heads[i].width) + 1;
	for (; used > width && n < sizeof(to_leave_out) / sizeof(to_leave_out[0]); n++) {
		out[to_leave_out[n]] = true;
		used -= abs(heads[to_leave_out[n]].width) + 1;
	}
	for (int i = 0; i < CELLS; i++)
		if (!out[i])
			at += (size_t)snprintf(line + at, sizeof(line) - at, "%s%*s", at ? " " : "",
					       heads[i].width, cell[i]);
	while (at && line[at - 1] == ' ')
		line[--at] = '\0';
	text_cut(line, (size_t)width);
	printf("%s\n", line);
}

static void print_heads(int width)
{
	const char *cell[CELLS];

	for (int i = 0; i < CELLS; i++)
		cell[i] = heads[i].title;
	print_line(width, cell);
}

static bool one(const struct target *t, void *arg)
{
	struct listing *l = arg;
	char pid[16], build[16], rss[32] = "-", threads[16] = "-", cgroup[CGROUP_BYTES];
	char title[TITLE_BYTES];
	uint64_t bytes = target_rss(t->pid);
	int n = target_threads(t->pid), width = isatty(STDOUT_FILENO) ? text_width() : WIDTH_MAX;

	if (l->json) {
		one_json(&l->j, t);
		return true;
	}
	if (l->csv) {
		one_csv(t);
		return true;
	}
	if (!l->count++)
		print_heads(width);
	if (bytes)
		bytes_text((double)bytes, rss, sizeof(rss));
	if (n)
		snprintf(threads, sizeof(threads), "%d", n);
	snprintf(pid, sizeof(pid), "%d", t->pid);
	snprintf(build, sizeof(build), "%.12s", t->build_id[0] ? t->build_id : "-");
	cgroup_name(t->pid, cgroup, sizeof(cgroup));
	title_read(t->pid, title, sizeof(title));
	print_line(width, (const char *[CELLS]){[PID] = pid,
						[COMMAND] = t->comm,
						[VERSION] = t->version,
						[BUILD_ID] = build,
						[LINKED] = link_names[t->link],
						[THREADS] = threads,
						[RSS] = rss,
						[CGROUP] = cgroup[0] ? cgroup : "-",
						[TITLE] = title[0] ? title : "-"});
	return true;
}

int cmd_list(int argc, char **argv)
{
	static const struct argp argp = {
		option_table, parse, NULL, "Processes that run on libhakmem.", NULL, NULL, NULL};
	struct listing l = {.j = {stdout, false}};
	int r;

	argp_parse(&argp, argc, argv, 0, NULL, &l);
	keep_to_read();
	if (l.json) {
		json_open(&l.j, NULL, '{');
		json_text(&l.j, "schema", "hakstat.list/1");
		json_open(&l.j, "processes", '[');
	}
	if (l.csv)
		printf("pid,comm,exe,version,build_id,link,library,threads,rss_bytes,cgroup,"
		       "title\r\n");
	r = target_each(one, &l);
	if (l.json) {
		json_close(&l.j, ']');
		json_close(&l.j, '}');
		printf("\n");
	} else if (!l.csv && !l.count && !r) {
		printf("no process here runs on libhakmem, or none that you may look into\n");
	}
	if (r)
		complain("not all processes could be looked at: %s", target_reason(r));
	return r ? exit_code_of(r) : EXIT_OK;
}
