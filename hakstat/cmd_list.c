/* hakstat list: every process on this host that runs on libhakmem. */
#include "columns.h"
#include "emit.h"
#include "hakstat.h"
#include "target.h"

#include <argp.h>

struct listing {
	bool json;
	struct json j;
	int count;
};

static const struct argp_option option_table[] = {
	{"json", 'j', NULL, 0, "JSON", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct listing *l = state->input;

	(void)arg;
	if (key == ARGP_KEY_ARG)
		argp_usage(state);
	if (key != 'j')
		return ARGP_ERR_UNKNOWN;
	l->json = true;
	return 0;
}

static void one_json(struct json *j, const struct target *t)
{
	json_open(j, NULL, '{');
	json_number(j, "pid", (uint64_t)t->pid);
	json_text(j, "comm", t->comm);
	json_text(j, "exe", t->exe);
	json_text(j, "version", t->version);
	json_text(j, "build_id", t->build_id);
	json_text(j, "link", link_names[t->link]);
	json_text(j, "library", t->lib);
	json_number(j, "threads", (uint64_t)target_threads(t->pid));
	json_number(j, "rss_bytes", target_rss(t->pid));
	json_close(j, '}');
}

static bool one(const struct target *t, void *arg)
{
	struct listing *l = arg;
	char rss[32];

	if (l->json) {
		one_json(&l->j, t);
		return true;
	}
	if (!l->count++)
		printf("%8s %-16s %-8s %-12s %-8s %7s %8s\n", "PID", "COMMAND", "VERSION",
		       "BUILD ID", "LINKED", "THREADS", "RSS");
	bytes_text((double)target_rss(t->pid), rss, sizeof(rss));
	printf("%8d %-16s %-8s %-12.12s %-8s %7d %8s\n", t->pid, t->comm, t->version,
	       t->build_id[0] ? t->build_id : "-", link_names[t->link], target_threads(t->pid),
	       rss);
	return true;
}

int cmd_list(int argc, char **argv)
{
	static const struct argp argp = {
		option_table, parse, NULL, "Processes that run on libhakmem.", NULL, NULL, NULL};
	struct listing l = {.j = {stdout, false}};

	argp_parse(&argp, argc, argv, 0, NULL, &l);
	if (l.json) {
		json_open(&l.j, NULL, '{');
		json_text(&l.j, "schema", "hakstat.list/1");
		json_open(&l.j, "processes", '[');
	}
	target_each(one, &l);
	if (l.json) {
		json_close(&l.j, ']');
		json_close(&l.j, '}');
		printf("\n");
	} else if (!l.count) {
		printf("no process here runs on libhakmem, or none that you may look into\n");
	}
	return EXIT_OK;
}
