/* hakstat probes: the contract, what a process has of it, and commands for other tools. */
#include "hakstat.h"
#include "privilege.h"
#include "report.h"
#include "target.h"
#include "views.h"

#include <argp.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct options {
	const char *process;
	enum report_format format;
};

static const struct argp_option option_table[] = {
	{"pid", 'p', "PID|NAME", 0, "also: which of them this process has", 0},
	REPORT_FORMAT_OPTIONS("JSON", "CSV, a line for each argument"),
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	if (report_format_key(key, &o->format))
		return 0;
	switch (key) {
	case 'p':
		o->process = arg;
		break;
	case ARGP_KEY_ARG:
		argp_usage(state);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* --- a row for each argument, of all probes --- */

#define ARGS_MAX 6
#define TARGET(m) ((const struct target *)(m)->own)

static int index_of(int row)
{
	return row / ARGS_MAX;
}

static const struct probe_desc *probe_of(int row)
{
	return &hak_probes[index_of(row)];
}

static const struct probe_arg *argument_of(int row)
{
	return &probe_of(row)->arg[row % ARGS_MAX];
}

#define TEXT_(name, text)                                        \
	static struct value name(const struct model *m, int row) \
	{                                                        \
		(void)m;                                         \
		return value_text_of(text, 0);                   \
	}
TEXT_(provider, probe_of(row)->provider)
TEXT_(probe, probe_of(row)->name)
TEXT_(fires, probe_of(row)->when)
TEXT_(arg, argument_of(row)->name)
TEXT_(type, argument_of(row)->type)
TEXT_(unit, argument_of(row)->unit)
TEXT_(meaning, argument_of(row)->meaning)

static struct value present(const struct model *m, int row)
{
	return TARGET(m) ? value_of(VALUE_BOOL, TARGET(m)->site[index_of(row)].found)
			 : value_none();
}

/* The first ones are of the probe, those from ARGUMENT_COLUMNS on of the argument. */
static const struct column columns[] = {
	{"provider", "PROVIDER", UNIT_TEXT, "of the probe", 12, 80, provider},
	{"probe", "PROBE", UNIT_TEXT, "its name", 16, 99, probe},
	{"fires", "FIRES", UNIT_TEXT, "when it fires", 0, 0, fires},
	{"present", "THERE", UNIT_BOOL, "the process has it; unknown without -p", 5, 90, present},
	{"arg", "ARGUMENT", UNIT_TEXT, "name of an argument", 16, 98, arg},
	{"type", "TYPE", UNIT_TEXT, "of the argument: u32 or u64", 4, 70, type},
	{"unit", "UNIT", UNIT_TEXT,
	 "what the number is; enum:LIST: a code, whose list is in JSON and docs/PROBES.md", 12, 85,
	 unit},
	{"meaning", "MEANING", UNIT_TEXT, "what the argument tells", 40, 75, meaning},
};
#define ARGUMENT_COLUMNS 4

static int rows(const struct model *m)
{
	(void)m;
	return HAK_PROBE_COUNT * ARGS_MAX;
}

static bool shown(const struct model *m, int row)
{
	(void)m;
	return row % ARGS_MAX < probe_of(row)->nargs;
}

const struct view view_probes = {
	.name = "probes",
	.title = "arguments of probes",
	.columns = COLUMNS(columns),
	.rows = rows,
	.shown = shown,
	.sort = VIEW_UNSORTED,
};

static void json_probe(struct json *j, const struct model *m, int i)
{
	static const struct view of_probe = {.columns = columns, .ncolumns = ARGUMENT_COLUMNS};
	static const struct view of_argument = {.columns = columns + ARGUMENT_COLUMNS,
						.ncolumns = sizeof(columns) / sizeof(columns[0]) -
							    ARGUMENT_COLUMNS};

	json_open(j, NULL, '{');
	report_json_columns(j, &of_probe, m, i * ARGS_MAX);
	json_open(j, "args", '[');
	for (int k = 0; k < hak_probes[i].nargs; k++) {
		json_open(j, NULL, '{');
		report_json_columns(j, &of_argument, m, i * ARGS_MAX + k);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_close(j, '}');
}

static void json_codes(struct json *j)
{
	json_open(j, "codes", '{');
	for (int i = 0; i < hak_code_list_count; i++) {
		json_open(j, hak_code_lists[i].name, '[');
		for (int k = 0; k < hak_code_lists[i].count; k++)
			json_text(j, NULL, hak_code_lists[i].text[k]);
		json_close(j, ']');
	}
	json_close(j, '}');
}

static void print_json(const struct model *m)
{
	const struct target *t = TARGET(m);
	struct json j = {stdout, false};

	json_open(&j, NULL, '{');
	json_text(&j, "schema", "hakstat.probes/2");
	if (t) {
		json_number(&j, "pid", (uint64_t)t->pid);
		json_text(&j, "library", t->lib);
	}
	json_open(&j, "probes", '[');
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		json_probe(&j, m, i);
	json_close(&j, ']');
	json_codes(&j);
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
	printf("\nArguments with types, units and codes: hakstat probes --json, --csv, "
	       "docs/PROBES.md\n");
}

/* How other tools reach the library's file. They differ in what they take. */
enum reach {
	REACH_PLAIN, /* by the path the target knows it by */
	REACH_ROOT,  /* by /proc/PID/root: in another mount namespace */
	REACH_MAP,   /* by /proc/PID/map_files alone: deleted, replaced, or oddly named */
};

/*
 * The target chose its paths, and the commands are pasted into a root shell: nothing that a
 * shell, a bpftrace program or tracefs could take for syntax.
 */
static bool harmless(const char *path)
{
	return !path[strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				  "/._+-")];
}

static enum reach find_path(const struct target *t, char *out, size_t len)
{
	struct stat a, b;

	if (harmless(t->lib) && !stat(t->open_path, &a)) {
		snprintf(out, len, "%s", t->lib);
		if (!stat(out, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
			return REACH_PLAIN;
		snprintf(out, len, "/proc/%d/root%.4000s", t->pid, t->lib);
		if (!stat(out, &b) && a.st_ino == b.st_ino)
			return REACH_ROOT;
	}
	snprintf(out, len, "%s", t->map_path);
	return REACH_MAP;
}

/* With -p, bpftrace looks for the path among the target's mappings; map_files is not there. */
static void print_bpftrace(const struct target *t, enum reach reach, const char *path)
{
	char option[32] = "", filter[32] = "";

	if (reach == REACH_MAP)
		snprintf(filter, sizeof(filter), " /pid == %d/", t->pid);
	else
		snprintf(option, sizeof(option), " -p %d", t->pid);
	printf("\nWith bpftrace%s:\n", reach == REACH_MAP ? " (no usable path, hence no -p)" : "");
	printf("  bpftrace -l 'usdt:%s:*'\n"
	       "  bpftrace%s -e 'usdt:%s:hakmem:refill%s { @refills[arg0] = count(); }'\n"
	       "  bpftrace%s -e 'usdt:%s:hakmem:os_map%s { @[arg2, ustack(8)] = sum(arg1); }'\n",
	       path, option, path, filter, option, path, filter);
}

/* Where perf keeps probes; it mounts this itself, an echo does not. */
static const char *tracefs(void)
{
	static const char *const mounts[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};
	char path[64];

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		snprintf(path, sizeof(path), "%s/uprobe_events", mounts[i]);
		if (!access(path, F_OK))
			return mounts[i];
	}
	if (!geteuid()) /* others cannot look into it */
		printf("  mount -t tracefs nodev %s\n", mounts[0]);
	return mounts[0];
}

/* The kernel takes any path; the arguments are in the registers of a call. */
static void print_uprobe(const struct target *t, int probe, const char *path)
{
#if defined(__aarch64__)
	static const char *const registers[] = {"x0", "x1", "x2", "x3", "x4", "x5"};
#else
	static const char *const registers[] = {"di", "si", "dx", "cx", "r8", "r9"};
#endif
	const struct probe_desc *p = &hak_probes[probe];
	const char *fs = tracefs();

	printf("  echo 'p:hakmem_%d/%s %s:0x%llx", t->pid, p->name, path,
	       (unsigned long long)t->site[probe].offset);
	for (int k = 0; k < p->nargs; k++)
		printf(" %s=%%%s:%s", p->arg[k].name, registers[k], p->arg[k].type);
	printf("' >> %s/uprobe_events\n", fs);
}

static void print_perf_use(const struct target *t, const char *group)
{
	printf("  perf stat -e '%s:*' -p %d sleep 1\n"
	       "  perf record -g -e %s:refill -p %d sleep 1\n"
	       "  perf probe -d '%s:*'",
	       group, t->pid, group, t->pid, group);
}

static void print_perf(const struct target *t, enum reach reach, const char *path)
{
	char group[32];

	if (reach == REACH_PLAIN) {
		printf("\nWith perf (as root; writes to ~/.debug):\n"
		       "  perf buildid-cache --add %s\n"
		       "  perf probe -q sdt_hakmem:refill\n",
		       path);
		print_perf_use(t, "sdt_hakmem");
		printf("; perf buildid-cache --remove %s\n", path);
		return;
	}
	printf("\nWith perf (as root; perf probe cannot open this file, the kernel can):\n");
	print_uprobe(t, HAK_P_hakmem_refill, path);
	snprintf(group, sizeof(group), "hakmem_%d", t->pid);
	print_perf_use(t, group);
	printf("\n");
}

static void print_commands(const struct target *t)
{
	char path[PATH_MAX];
	enum reach reach = find_path(t, path, sizeof(path));

	if (!t->site[HAK_P_hakmem_refill].found) {
		printf("\nNothing for bpftrace, perf or gdb to attach to: this library was built "
		       "without probes.\nThe counters are there: hakstat stat -p %d\n",
		       t->pid);
		return;
	}
	print_bpftrace(t, reach, path);
	print_perf(t, reach, path);
	printf("\nWith gdb:\n  gdb -batch -ex 'info probes stap hakmem' %s\n", path);
}

static void print(const struct options *o, const struct target *t)
{
	const struct report_options csv = {.view = &view_probes, .sort = view_probes.sort};
	static struct model m;

	m.own = t;
	switch (o->format) {
	case REPORT_JSON:
		print_json(&m);
		break;
	case REPORT_CSV:
		report_csv(stdout, &view_probes, &m, &csv);
		break;
	case REPORT_TABLE:
		print_text(t);
		if (t)
			print_commands(t);
		break;
	}
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
	keep_to_read();
	if (o.process) {
		pid = parse_process(o.process);
		if (!pid)
			return EXIT_NO_HAKMEM;
		r = target_await(&t, pid, err, sizeof(err));
		if (!r && t.closed) {
			snprintf(err, sizeof(err), "%s", target_closed);
			r = -EACCES;
		}
		if (r) {
			complain("%s", err);
			return exit_code_of(r);
		}
	}
	print(&o, o.process ? &t : NULL);
	return EXIT_OK;
}
