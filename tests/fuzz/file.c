/*
 * A fuzz target for what hakstat reads of files it does not trust: core files (hakstat/memory.c,
 * and dump.c behind it), the notes of programs and libraries (hakstat/target.c; mapped.c for those
 * in memory alone), and recordings
 * (hakstat/recording.c), with every view of them, where nothing but plain text may come out.
 * An input is the file. Checksums are not compared.
 */
#include "attach.h"
#include "dump.h"
#include "hakstat.h"
#include "mapped.h"
#include "recorded.h"
#include "replay.h"
#include "stacks.h"
#include "target.h"
#include "views.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_core(const char *path)
{
	static struct dump d;
	struct memory m;
	struct dump_block b;
	char err[256];
	uint64_t root;

	if (!memory_of_core(&m, path, err, sizeof(err))) {
		root = memory_find_root(&m);
		if (root) {
			if (!dump_read(&d, &m, root, NULL))
				dump_block(&d, root, &b);
			dump_free(&d);
		}
	}
	memory_close(&m);
}

static void as_library(const char *path)
{
	static struct target t;
	char err[256];

	if (!target_from_file(&t, path, err, sizeof(err)) &&
	    strnlen(t.build_id, sizeof(t.build_id)) == sizeof(t.build_id))
		__builtin_trap();
}

/* The same where it cannot be opened: as it lies in the memory of a process, here our own. */
static void as_mapping(const uint8_t *data, size_t size)
{
	struct mapping m = {.start = (uintptr_t)data, .end = (uintptr_t)data + size};
	char build_id[48] = "";
	uint64_t root;

	mapped_root(getpid(), &m, &root, build_id);
	if (strnlen(build_id, sizeof(build_id)) == sizeof(build_id))
		__builtin_trap();
}

/* --- recordings --- */

static const struct view *const shown[] = {&view_classes,   &view_os,	  &view_threads,
					   &view_route,	    &view_remote, &view_memory,
					   &view_fragments, &view_pages};

static void plain(const char *text)
{
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e)
			__builtin_trap();
}

static void show(const struct view *v, const struct model *m)
{
	static FILE *nowhere;
	static struct row_list rows;
	int fit[COLUMNS_MAX];
	char line[512];
	struct json j = {nowhere ? nowhere : (nowhere = fopen("/dev/null", "we")), false};
	int n = view_rows(v, m, v->sort, false, NULL, &rows);

	view_fit(v, 500, fit);
	for (int i = 0; i < n && i < 200; i++) {
		view_line(v, m, rows.row[i], fit, line, sizeof(line));
		plain(line);
		for (int k = 0; k < v->ncolumns; k++) {
			struct value x = v->columns[k].get(m, rows.row[i]);

			value_text(&x, line, sizeof(line));
			plain(line);
		}
		if (v->alert)
			v->alert(m, rows.row[i]);
	}
	for (int i = 0; v->note && v->note(m, i, line, sizeof(line)); i++)
		plain(line);
	for (int i = 0; v->matrix && v->matrix(m, i, 80, line, sizeof(line)); i++)
		plain(line);
	json_open(&j, NULL, '{');
	if (v->json)
		v->json(&j, m);
	json_close(&j, '}');
}

static void show_all(struct replay *p, size_t first, size_t last)
{
	static struct model m;
	char header[HEADER_LINES][256];

	if (!replay_model(p, first, last, &m))
		return;
	plain(m.recorded);
	for (int i = header_lines(&m, p->who, 120, header); i > 0; i--)
		plain(header[i - 1]);
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
		show(shown[i], &m);
}

static void as_recording(const char *path)
{
	static struct replay p;
	char err[8192];

	if (!replay_open(&p, path, err, sizeof(err))) {
		for (size_t i = 0; i < p.intervals && i < 20; i++)
			show_all(&p, i, i);
		show_all(&p, 0, p.intervals - 1);
	}
	replay_close(&p);
}

/* What of hakstat is not linked: nothing is attached here, nobody is told. */

volatile sig_atomic_t stop_requested;
const struct source source_calls, source_futexes, stacks_source;
const struct view view_processes;

void complain(const char *format, ...)
{
	(void)format;
}

double clock_s(void)
{
	return 0;
}

void probes_prepare(struct bpf_program *p, bool multi)
{
	(void)p;
	(void)multi;
}

bool probes_before_multi(int error)
{
	return error != 0;
}

struct probes_link *probes_attach(const struct bpf_program *p, const struct target *t, bool multi,
				  uint64_t wanted, struct program_state *state, int *error)
{
	(void)p, (void)t, (void)multi, (void)wanted, (void)state;
	*error = -1;
	return NULL;
}

void probes_detach(struct probes_link *l)
{
	(void)l;
}

uint64_t attach_wanted(void)
{
	return 0;
}

void attach_read(struct attachment *a, struct bpf_sums *out)
{
	(void)a, (void)out;
}

void attach_time_off(const struct attachment *a, double off_s[HAK_PROBE_COUNT])
{
	(void)a, (void)off_s;
}

void attach_cost(struct attachment *a, int64_t *events, int64_t *lost, int64_t *run_ns)
{
	(void)a, (void)events, (void)lost, (void)run_ns;
}

bool stacks_explain(struct stacks_options *o, int probe, const char *unit, uint32_t value,
		    const char *what)
{
	(void)o, (void)probe, (void)unit, (void)value, (void)what;
	return false;
}

void report_json_rows(struct json *j, const char *key, const struct view *v, const struct model *m)
{
	(void)j, (void)key, (void)v, (void)m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64];
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd >= 0 && write(fd, data, size) == (ssize_t)size) {
		as_core(path);
		as_library(path);
		as_mapping(data, size);
		as_recording(path);
	}
	close(fd);
	return 0;
}
