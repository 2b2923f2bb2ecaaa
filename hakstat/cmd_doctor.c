/* hakstat doctor: what works here, what does not, and the remedy. */
#include "attach.h"
#include "collect.h"
#include "hakstat.h"
#include "launch.h"
#include "pagetables.h"
#include "privilege.h"
#include "report.h"
#include "target.h"
#include "text.h"
#include "views.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/utsname.h>
#include <unistd.h>

/* X(ID, "word", "as a person is to see it") */
#define VERDICTS(X)             \
	X(OK, "ok", "ok")       \
	X(NOTE, "note", "note") \
	X(MISSING, "missing", "MISSING")
#define ID_(id, word, loud) id,
#define WORD_(id, word, loud) word,
#define LOUD_(id, word, loud) loud,
enum verdict { VERDICTS(ID_) };

struct checkup {
	const char *process;
	int result; /* worst exit code of what hakstat itself needs */
};

static enum report_format format;
static struct json report;

/* --- a check, as a row --- */

struct found {
	enum verdict verdict;
	const char *check, *text, *remedy; /* remedy: NULL if there is nothing to mend */
};
#define FOUND(m) ((const struct found *)(m)->own)

static struct value check(const struct model *m, int row)
{
	(void)row;
	return value_text_of(FOUND(m)->check, 0);
}

static struct value verdict(const struct model *m, int row)
{
	static const char *const words[] = {VERDICTS(WORD_)};

	(void)row;
	return value_text_of(words[FOUND(m)->verdict], 0);
}

static struct value text(const struct model *m, int row)
{
	(void)row;
	return value_text_of(FOUND(m)->text, 0);
}

static struct value mending(const struct model *m, int row)
{
	(void)row;
	return value_text_or_none(FOUND(m)->remedy);
}

static const struct column columns[] = {
	{"check", "CHECK", UNIT_TEXT, "what was looked at", 22, 99, check},
	{"verdict", "VERDICT", UNIT_TEXT, "of a check: ok, note (hakstat does without) or missing",
	 8, 98, verdict},
	{"found", "FOUND", UNIT_TEXT, "what is there, or what it is for", 40, 97, text},
	{"remedy", "REMEDY", UNIT_TEXT, "what to do, where something is to be done", 40, 96,
	 mending},
};

const struct view view_doctor = {
	.name = "doctor",
	.title = "what works here",
	.columns = COLUMNS(columns),
	.rows = own_row,
	.shown = always_shown,
	.sort = VIEW_UNSORTED,
};

static void say_text(const struct found *f)
{
	static const char *const words[] = {VERDICTS(LOUD_)};
	char prefix[128];

	snprintf(prefix, sizeof(prefix), "%-8s %-22s ", words[f->verdict], f->check);
	text_print_after(stdout, prefix, f->text, text_fold_width());
	if (f->remedy) /* in one line, to be copied */
		printf("%-8s %-22s -> %s\n", "", "", f->remedy);
}

static void say(enum verdict v, const char *what, const char *found, const char *remedy)
{
	const struct found f = {v, what, found, v != OK && remedy && *remedy ? remedy : NULL};
	static struct model m;

	m.own = &f;
	switch (format) {
	case REPORT_JSON:
		json_open(&report, NULL, '{');
		report_json_columns(&report, &view_doctor, &m, 0);
		json_close(&report, '}');
		break;
	case REPORT_CSV:
		report_csv_row(stdout, &view_doctor, &m, 0);
		break;
	case REPORT_TABLE:
		say_text(&f);
		break;
	}
	m.own = NULL;
}

static bool read_line(const char *path, char *out, size_t len)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(out, (int)len, f);

	if (f)
		fclose(f);
	if (ok)
		out[strcspn(out, "\n")] = 0;
	return ok;
}

static void check_kernel(void)
{
	struct utsname u;
	int major = 0, minor = 0;
	char text[128];

	uname(&u);
	if (sscanf(u.release, "%d.%d", &major, &minor) != 2)
		major = 0;
	snprintf(text, sizeof(text), "%.64s, %.16s", u.release, u.machine);
	if (major > 6 || (major == 6 && minor >= 6))
		say(OK, "kernel", text, NULL);
	else if (major > 5 || (major == 5 && minor >= 15))
		say(NOTE, "kernel", text, "before 6.6 attaching needs root (CAP_SYS_ADMIN)");
	else
		say(MISSING, "kernel", text, "BPF on probes needs 5.15; counters work without");
}

/* Counters of any process, as far as capabilities go: by ptrace access, or by BPF (peek.c). */
static bool reads_all(void)
{
	return has_capability(CAP_SYS_PTRACE) || (may_use_bpf() && !attach_before_multi());
}

/* Which pages of any process are in memory. */
static bool reads_tables(void)
{
	struct pagetables t = {0};
	bool r = may_use_bpf() && !pagetables_read(&t, getpid());

	pagetables_free(&t);
	return r;
}

static void check_capabilities(struct checkup *c)
{
	const struct {
		unsigned cap;
		bool by_admin; /* CAP_SYS_ADMIN does as well */
		enum verdict without;
		const char *name, *why, *caps, *more;
	} caps[] = {
		{39, true, MISSING, "CAP_BPF", "to load BPF programs", CAPS_BPF, ""},
		{38, true, MISSING, "CAP_PERFMON", "to attach them", CAPS_BPF, ""},
		{CAP_SYS_PTRACE, false, reads_all() ? NOTE : MISSING, "CAP_SYS_PTRACE",
		 reads_all() ? "to open libraries in other mount namespaces, and names of programs"
			     : "to read counters of other users' processes",
		 CAPS_ALL, ""},
		{CAP_CHECKPOINT_RESTORE, true, NOTE, "CAP_CHECKPOINT_RESTORE",
		 "to open libraries that were deleted or replaced", CAPS_ALL, ""},
		{CAP_DAC_READ_SEARCH, false, NOTE, "CAP_DAC_READ_SEARCH",
		 reads_tables() ? "to open those of other users' processes"
				: "to open those of other users' processes, and for hakstat memory "
				  "of them",
		 CAPS_ALL, CAPS_PAGES},
	};
	char text[PATH_MAX + 128];

	for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
		bool ok = has_capability(caps[i].cap) ||
			  (caps[i].by_admin && has_capability(CAP_SYS_ADMIN));

		remedy(caps[i].caps, caps[i].more, text, sizeof(text));
		say(ok ? OK : caps[i].without, caps[i].name, caps[i].why, text);
		if (!ok && !c->result && caps[i].without == MISSING)
			c->result = EXIT_PRIVILEGE;
	}
}

/* What is seen as things are: of whom, and which columns. */
static void check_views(void)
{
	bool bpf = may_use_bpf(), all = reads_all();
	char text[PATH_MAX + 128], name[64];

	remedy(CAPS_BPF, "", text, sizeof(text));
	say(all ? OK : NOTE, "counters of",
	    all ? has_capability(CAP_SYS_PTRACE) ? "all processes"
						 : "all processes, those of other users by BPF"
		: "your own processes",
	    text);
	for (int i = 0; i < VIEWS; i++) {
		const struct view *v = views[i];
		char lacks[256] = "all of it";

		if (bpf || !v->by_bpf)
			continue;
		if (*v->by_bpf != '*')
			snprintf(lacks, sizeof(lacks), "%s", v->by_bpf);
		snprintf(name, sizeof(name), "view %s", v->name);
		snprintf(text, sizeof(text), "unknown without BPF: %s", lacks);
		say(NOTE, name, text, NULL);
	}
}

/* Really attaches, to a library nobody runs through: our own target's, or the one beside us. */
static void check_attach(struct checkup *c, const struct target *t)
{
	char err[512] = "";
	int error;
	struct attachment *a = attach_probes(t, &error, err, sizeof(err));

	if (a) {
		char text[128];

		snprintf(text, sizeof(text), "by %s", attach_method(a));
		say(OK, "BPF attach", text, NULL);
		attach_close(a);
		return;
	}
	say(MISSING, "BPF attach", strerror(-error), err);
	if (!c->result)
		c->result = error == -EPERM || error == -EACCES ? EXIT_PRIVILEGE : EXIT_FAIL;
}

/* Its contents are for root only: their absence would tell nothing. */
static bool is_tracefs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == TRACEFS_MAGIC;
}

static void check_others(void)
{
	char line[64];
	bool there = is_tracefs("/sys/kernel/tracing") || is_tracefs("/sys/kernel/debug/tracing");

	say(access("/sys/kernel/btf/vmlinux", R_OK) ? NOTE : OK, "kernel BTF",
	    "/sys/kernel/btf/vmlinux", "hakstat does without; bpftrace wants it");
	say(there ? OK : NOTE, "tracefs",
	    there ? "mounted" : "not mounted (hakstat does without; perf needs it)",
	    "mount -t tracefs nodev /sys/kernel/tracing");
	if (read_line("/proc/sys/kernel/perf_event_paranoid", line, sizeof(line)))
		say(OK, "perf_event_paranoid", line, NULL);
	if (read_line("/proc/sys/kernel/yama/ptrace_scope", line, sizeof(line)))
		say(atoi(line) && geteuid() ? NOTE : OK, "yama ptrace_scope", line,
		    "other processes of the same user are closed too: CAP_SYS_PTRACE opens them");
	say(access("/usr/bin/bpftrace", X_OK) ? NOTE : OK, "bpftrace", "for your own scripts",
	    "apt-get install bpftrace");
	say(access("/usr/bin/perf", X_OK) ? NOTE : OK, "perf", "for recordings",
	    "apt-get install linux-perf");
}

static bool check_target(struct checkup *c, struct target *t, pid_t pid)
{
	char err[512], text[PATH_MAX + 256];
	static struct sample s;
	int r = target_await(t, pid, err, sizeof(err)), found = 0;

	if (r) {
		say(MISSING, "target", err, "");
		c->result = exit_code_of(r);
		return false;
	}
	snprintf(text, sizeof(text), "%d %s, hakmem %s, %s: %s", pid, t->comm, t->version,
		 link_names[t->link], t->lib);
	say(OK, "target", text, NULL);
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		found += t->site[i].found;
	snprintf(text, sizeof(text), "%d of %d", found, HAK_PROBE_COUNT);
	say(found == HAK_PROBE_COUNT ? OK
	    : found		     ? NOTE
				     : MISSING,
	    "probes in it", t->closed ? "unknown" : text,
	    t->closed ? target_closed
		      : "its library was built with PROBES=0, or is another version");
	if (t->closed)
		c->result = EXIT_PRIVILEGE;
	r = collect(t, NULL, &s, NULL, NULL);
	say(r ? MISSING : OK, "counters", r ? strerror(-r) : "readable", "CAP_SYS_PTRACE");
	if (r && !c->result)
		c->result = exit_code_of(r);
	return found > 0;
}

static const struct argp_option option_table[] = {
	{"pid", 'p', "PID|NAME", 0, "also check this process", 0},
	REPORT_FORMAT_OPTIONS("JSON", "CSV, a line for each check"),
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct checkup *c = state->input;

	if (report_format_key(key, &format))
		return 0;
	switch (key) {
	case 'p':
		c->process = arg;
		break;
	case ARGP_KEY_ARG:
		argp_usage(state);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* Without a process: the library -c would use, in this process, which does not map it. */
static bool find_library(struct target *t)
{
	char library[PATH_MAX], err[512];

	if (!launch_library(library, sizeof(library)) ||
	    target_from_file(t, library, err, sizeof(err))) {
		say(NOTE, "BPF attach", "not tried", "give a process with -p to try it");
		return false;
	}
	t->pid = getpid();
	return true;
}

static bool find_process(struct checkup *c, struct target *t)
{
	pid_t pid = parse_process(c->process);

	if (pid)
		return check_target(c, t, pid);
	c->result = EXIT_NO_HAKMEM;
	return false;
}

int cmd_doctor(int argc, char **argv)
{
	static const struct argp argp = {option_table, parse, NULL, "What works here.",
					 NULL,	       NULL,  NULL};
	struct checkup c = {0};
	static struct target t;

	argp_parse(&argp, argc, argv, 0, NULL, &c);
	if (format == REPORT_CSV)
		report_csv_head(stdout, &view_doctor);
	if (format == REPORT_JSON) {
		report.out = stdout;
		json_open(&report, NULL, '{');
		json_text(&report, "schema", "hakstat.doctor/1");
		json_open(&report, "checks", '[');
	}
	check_kernel();
	check_capabilities(&c);
	check_views();
	if (c.process ? find_process(&c, &t) : find_library(&t))
		check_attach(&c, &t);
	check_others();
	if (format == REPORT_JSON) {
		json_close(&report, ']');
		json_number(&report, "exit", (uint64_t)c.result);
		json_close(&report, '}');
		printf("\n");
	}
	return c.result;
}
