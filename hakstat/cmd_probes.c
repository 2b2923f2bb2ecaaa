/* hakstat probes: the contract, what a process has of it, and commands for other tools. */
#include "emit.h"
#include "hakstat.h"
#include "target.h"

#include <argp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct options {
	const char *process;
	bool json;
};

static const struct argp_option option_table[] = {
	{"pid", 'p', "PID|NAME", 0, "also: which of them this process has", 0},
	{"json", 'j', NULL, 0, "JSON", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'p':
		o->process = arg;
		break;
	case 'j':
		o->json = true;
		break;
	case ARGP_KEY_ARG:
		argp_usage(state);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static void json_probe(struct json *j, const struct probe_desc *p, const struct target *t, int i)
{
	json_open(j, NULL, '{');
	json_text(j, "provider", p->provider);
	json_text(j, "name", p->name);
	json_text(j, "fires", p->when);
	if (t)
		json_bool(j, "present", t->site[i].found);
	json_open(j, "args", '[');
	for (int k = 0; k < p->nargs; k++) {
		json_open(j, NULL, '{');
		json_text(j, "name", p->arg[k].name);
		json_text(j, "type", p->arg[k].type);
		json_text(j, "unit", p->arg[k].unit);
		json_text(j, "meaning", p->arg[k].meaning);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_close(j, '}');
}

static void print_json(const struct target *t)
{
	struct json j = {stdout, false};

	json_open(&j, NULL, '{');
	json_text(&j, "schema", "hakstat.probes/1");
	if (t) {
		json_number(&j, "pid", (uint64_t)t->pid);
		json_text(&j, "library", t->lib);
	}
	json_open(&j, "probes", '[');
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		json_probe(&j, &hak_probes[i], t, i);
	json_close(&j, ']');
	json_open(&j, "codes", '{');
	for (int i = 0; i < hak_code_list_count; i++) {
		json_open(&j, hak_code_lists[i].name, '[');
		for (int k = 0; k < hak_code_lists[i].count; k++)
			json_text(&j, NULL, hak_code_lists[i].text[k]);
		json_close(&j, ']');
	}
	json_close(&j, '}');
	json_close(&j, '}');
	printf("\n");
}

static void print_text(const struct target *t)
{
	for (int i = 0; i < HAK_PROBE_COUNT; i++) {
		const struct probe_desc *p = &hak_probes[i];

		printf("%s%s:%s(", t ? t->site[i].found ? "  " : "! " : "", p->provider, p->name);
		for (int k = 0; k < p->nargs; k++)
			printf("%s%s", k ? ", " : "", p->arg[k].name);
		printf(")\n        %s%s\n", p->when, t && !t->site[i].found ? "  (not there)" : "");
	}
	printf("\nArguments with types, units and codes: hakstat probes --json, docs/PROBES.md\n");
}

/* A path other tools can open: the plain one if it leads to the same file. */
static void usable_path(const struct target *t, char *out, size_t len)
{
	struct stat a, b;

	if (!stat(t->open_path, &a) && !stat(t->lib, &b) && a.st_dev == b.st_dev &&
	    a.st_ino == b.st_ino) {
		snprintf(out, len, "%s", t->lib);
		return;
	}
	snprintf(out, len, "/proc/%d/root%.4000s", t->pid, t->lib);
	if (!stat(out, &b) && !stat(t->open_path, &a) && a.st_ino == b.st_ino)
		return;
	snprintf(out, len, "%s", t->open_path);
}

static void print_commands(const struct target *t)
{
	char path[PATH_MAX];

	usable_path(t, path, sizeof(path));
	printf("\nWith bpftrace:\n"
	       "  bpftrace -l 'usdt:%s:*'\n"
	       "  bpftrace -p %d -e 'usdt:%s:hakmem:refill { @refills[arg0] = count(); }'\n"
	       "  bpftrace -p %d -e 'usdt:%s:hakmem:os_map { @[arg2, ustack(8)] = sum(arg1); }'\n",
	       path, t->pid, path, t->pid, path);
	printf("\nWith perf (as root; writes to ~/.debug):\n"
	       "  perf buildid-cache --add %s\n"
	       "  perf probe -q sdt_hakmem:refill\n"
	       "  perf stat -e 'sdt_hakmem:*' -p %d sleep 1\n"
	       "  perf record -g -e sdt_hakmem:refill -p %d sleep 1\n"
	       "  perf probe -d 'sdt_hakmem:*'; perf buildid-cache --remove %s\n",
	       path, t->pid, t->pid, path);
	printf("\nWith gdb:\n  gdb -batch -ex 'info probes stap hakmem' %s\n", path);
}

int cmd_probes(int argc, char **argv)
{
	static const struct argp argp = {option_table, parse, NULL, "The probes of libhakmem.",
					 NULL,	       NULL,  NULL};
	struct options o = {0};
	static struct target t;
	char err[512];
	pid_t pid;
	int r;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (o.process) {
		pid = parse_process(o.process);
		if (!pid)
			return EXIT_NO_HAKMEM;
		r = target_open(&t, pid, err, sizeof(err));
		if (r) {
			complain("%s", err);
			return exit_code_of(r);
		}
	}
	if (o.json) {
		print_json(o.process ? &t : NULL);
		return EXIT_OK;
	}
	print_text(o.process ? &t : NULL);
	if (o.process)
		print_commands(&t);
	return EXIT_OK;
}
