/* hakstat list: every process on this host that runs on libhakmem. */
#include "cgroup.h"
#include "columns.h"
#include "emit.h"
#include "hakstat.h"
#include "privilege.h"
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
	char cgroup[CGROUP_BYTES];
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
	json_close(j, '}');
}

static bool one(const struct target *t, void *arg)
{
	struct listing *l = arg;
	char rss[32] = "-", threads[16] = "-", cgroup[CGROUP_BYTES];
	uint64_t bytes = target_rss(t->pid);
	int n = target_threads(t->pid);

	if (l->json) {
		one_json(&l->j, t);
		return true;
	}
	if (!l->count++)
		printf("%8s %-16s %-8s %-12s %-8s %7s %8s %s\n", "PID", "COMMAND", "VERSION",
		       "BUILD ID", "LINKED", "THREADS", "RSS", "CGROUP");
	if (bytes)
		bytes_text((double)bytes, rss, sizeof(rss));
	if (n)
		snprintf(threads, sizeof(threads), "%d", n);
	cgroup_name(t->pid, cgroup, sizeof(cgroup));
	printf("%8d %-16s %-8s %-12.12s %-8s %7s %8s %s\n", t->pid, t->comm, t->version,
	       t->build_id[0] ? t->build_id : "-", link_names[t->link], threads, rss,
	       cgroup[0] ? cgroup : "-");
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
	r = target_each(one, &l);
	if (l.json) {
		json_close(&l.j, ']');
		json_close(&l.j, '}');
		printf("\n");
	} else if (!l.count && !r) {
		printf("no process here runs on libhakmem, or none that you may look into\n");
	}
	if (r)
		complain("not all processes could be looked at: %s", target_reason(r));
	return r ? exit_code_of(r) : EXIT_OK;
}
