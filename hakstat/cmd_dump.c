/* hakstat dump: the heap of a process, running, stopped or dead, as its memory tells it. */
#include "contract.h"
#include "hakstat.h"
#include "privilege.h"
#include "report.h"
#include "target.h"
#include "text.h"
#include "view_dump.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRIES 10 /* looks at a process that is at work, before what is found counts */
#define PAUSE_US 20000
#define PAGES_MOST ((size_t)1 << 22) /* listed: of 256 GiB at least */

struct options {
	const char *process, *core;
	bool pages, check, has_block;
	enum report_format format;
	const struct view *by; /* the one table asked for, or NULL */
	uint64_t block;
};

struct page_list {
	struct page_line *line;
	size_t n, room;
	bool lost; /* there are more */
};

static const char *const option_names[] = {
#define X(name, env, def, min, max, unit, meaning) env,
#include "../lib/options.def"
#undef X
};
#define OPTIONS (sizeof(option_names) / sizeof(option_names[0]))

enum { KEY_CORE = 256, KEY_PAGES, KEY_BLOCK, KEY_CHECK, KEY_BY };

static const struct argp_option option_table[] = {
	{"pid", 'p', "PID|NAME", 0, "a process; stopped, its numbers are of one instant", 0},
	{"core", KEY_CORE, "FILE", 0, "a core file, of gcore(1) or a crash", 0},
	REPORT_FORMAT_OPTIONS("JSON", "CSV of one table: that of --by, the pages of --pages, the "
				      "block of --block, the total of --check; else the classes"),
	{"by", KEY_BY, "class|heap|page|block|total", 0,
	 "one of the tables alone, also for --csv and --json", 0},
	{"pages", KEY_PAGES, NULL, 0, "one line per page too", 0},
	{"block", KEY_BLOCK, "ADDRESS", 0, "what this address is", 0},
	{"check", KEY_CHECK, NULL, 0, "only look for what is broken; status 1 if anything is", 0},
	{0},
};

static const struct view *find_by(struct argp_state *state, const char *name)
{
	static const struct {
		const char *name;
		const struct view *view;
	} by[] = {{"class", &view_dump},
		  {"heap", &view_dump_heaps},
		  {"page", &view_dump_pages},
		  {"block", &view_dump_block},
		  {"total", &view_dump_total}};

	for (size_t i = 0; i < sizeof(by) / sizeof(by[0]); i++)
		if (!strcmp(by[i].name, name))
			return by[i].view;
	argp_error(state, "--by: class, heap, page, block or total, not %s", name);
	return NULL;
}

static void end(struct options *o, struct argp_state *state)
{
	if (!o->process == !o->core)
		argp_error(state, "one of -p and --core");
	if (o->by == &view_dump_block && !o->has_block)
		argp_error(state, "--by block: of which address? Give it with --block");
	if (!o->by && o->format == REPORT_CSV)
		o->by = o->has_block ? &view_dump_block
			: o->pages   ? &view_dump_pages
			: o->check   ? &view_dump_total
				     : &view_dump;
	o->pages |= o->by == &view_dump_pages;
}

static void parse_block(struct options *o, struct argp_state *state, const char *arg)
{
	char *end;

	errno = 0;
	o->block = strtoull(arg, &end, 0);
	o->has_block = true;
	if (!*arg || *end || errno || *arg == '-')
		argp_error(state, "--block: not an address: %s", arg);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	if (report_format_key(key, &o->format))
		return 0;
	switch (key) {
	case 'p':
		o->process = arg;
		return 0;
	case KEY_CORE:
		o->core = arg;
		return 0;
	case KEY_PAGES:
		o->pages = true;
		return 0;
	case KEY_CHECK:
		o->check = true;
		return 0;
	case KEY_BY:
		o->by = find_by(state, arg);
		return 0;
	case KEY_BLOCK:
		parse_block(o, state, arg);
		return 0;
	case ARGP_KEY_ARG:
		argp_usage(state);
		return 0;
	case ARGP_KEY_END:
		end(o, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void keep_page(const struct dump *d, const struct dump_page *pg, unsigned dirty, void *arg)
{
	struct page_list *l = arg;
	uint32_t capacity = dump_has_blocks(pg) ? pg->capacity : 1;

	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 256;
		struct page_line *more =
			room <= PAGES_MOST ? realloc(l->line, room * sizeof(*more)) : NULL;

		if (!more) {
			l->lost = true;
			return;
		}
		l->line = more;
		l->room = room;
	}
	l->line[l->n++] = (struct page_line){
		.start = pg->start,
		.bytes = pg->kind == PAGE_MAPPED
				 ? pg->map_bytes
				 : (uint64_t)pg->slices * d->root.layout.slice_bytes,
		.class_ = pg->class_,
		.kind = pg->kind,
		.used = capacity > pg->nfree ? capacity - pg->nfree : 0,
		.capacity = capacity,
		.dirty = dirty,
		.owner = dump_owner(d, pg),
	};
}

/* --- text --- */

static void bytes_line(const char *what, uint64_t bytes)
{
	char text[32];

	bytes_text((double)bytes, text, sizeof(text));
	printf("  %-10s %10s  %llu\n", what, text, (unsigned long long)bytes);
}

static uint64_t mapped_bytes(const struct hak_gauges *g)
{
	return g->arena_bytes + g->large_bytes + g->cached_bytes + g->meta_bytes;
}

static uint64_t dirty_bytes(const struct hak_gauges *g)
{
	return g->dirty_bytes + g->returned_bytes + g->cached_bytes;
}

static void print_options(const struct dump *d)
{
	char line[64 * OPTIONS] = "";
	size_t at = 0;

	for (size_t i = 0; i < OPTIONS && i < d->root.layout.options_count; i++)
		at += (size_t)snprintf(line + at, sizeof(line) - at, "%s%s=%llu", i ? " " : "",
				       option_names[i], (unsigned long long)d->option[i]);
	text_print_at(stdout, 2, line, text_fold_width());
}

static const char *misuse_name(uint32_t kind)
{
	for (int i = 0; i < hak_code_list_count; i++)
		if (!strcmp(hak_code_lists[i].name, "HAK_MISUSES"))
			return kind < (uint32_t)hak_code_lists[i].count
				       ? hak_code_lists[i].text[kind]
				       : "unknown";
	return "unknown";
}

static void print_totals(const struct dump *d)
{
	const struct hak_root *r = &d->root;

	printf("libhakmem %s in process %u\n", r->version, r->pid);
	print_options(d);
	bytes_line("live", d->live_bytes);
	bytes_line("cached", d->cached_bytes);
	bytes_line("queued", dump_waiting_bytes(d));
	bytes_line("dirty", dirty_bytes(&r->now));
	bytes_line("metadata", r->now.meta_bytes);
	bytes_line("mapped", mapped_bytes(&r->now));
	if (r->os.misuses)
		printf("  misuse: %llu, the last 0x%llx by thread %u: %s\n",
		       (unsigned long long)r->os.misuses, (unsigned long long)r->misuse.addr,
		       r->misuse.tid, misuse_name(r->misuse.kind));
	for (unsigned i = 0; i < HAK_LOCK_COUNT; i++)
		if (d->locked[i])
			printf("  lock %s is held\n", hak_lock_names[i]);
}

static void print_table(const struct view *v, const struct model *m)
{
	struct report_options o = {
		.view = v, .sort = v->sort, .width = text_width(), .fold = text_fold_width()};

	report_table(stdout, v, m, &o);
}

static void print_block(const struct dump_shown *s)
{
	const struct dump_block *b = &s->block;
	int owner;

	printf("\n%#llx: ", (unsigned long long)s->address);
	if (!s->block_known) {
		printf("not in any page of libhakmem\n");
		return;
	}
	owner = dump_owner(s->d, &b->page);
	printf("byte %llu of the block at %#llx, %llu bytes: %s\n",
	       (unsigned long long)(s->address - b->start), (unsigned long long)b->start,
	       (unsigned long long)b->bytes, dump_state_name(b->state));
	printf("  page %#llx (%s)", (unsigned long long)b->page.start,
	       dump_kind_name(b->page.kind));
	if (owner >= 0)
		printf(", owner heap %d", owner);
	if (b->cache >= 0)
		printf(", in the cache of heap %d", b->cache);
	printf("\n");
}

static void print_findings(const struct dump *d)
{
	printf("\nbroken: %llu", (unsigned long long)d->bad.count);
	if (d->bad.count)
		printf(" (the first: %s)", d->bad.first);
	printf("\n");
	if (d->busy)
		printf("  %u heaps are in a slow operation: their counts may be a batch apart\n",
		       d->busy);
	if (d->m->truncated)
		printf("  the core file is truncated: what is cut off cannot be read\n");
}

/* --- JSON --- */

static void json_options(struct json *j, const struct dump *d)
{
	json_open(j, "options", '{');
	for (size_t i = 0; i < OPTIONS && i < d->root.layout.options_count; i++)
		json_number(j, option_names[i], d->option[i]);
	json_close(j, '}');
}

static void json_last_misuse(struct json *j, const struct hak_root *r)
{
	if (!r->os.misuses)
		return;
	json_open(j, "last_misuse", '{');
	json_number(j, "address", r->misuse.addr);
	json_number(j, "tid", r->misuse.tid);
	json_text(j, "kind", misuse_name(r->misuse.kind));
	json_close(j, '}');
}

static void json_locks(struct json *j, const struct dump *d)
{
	json_open(j, "locks_held", '[');
	for (unsigned i = 0; i < HAK_LOCK_COUNT; i++)
		if (d->locked[i])
			json_text(j, NULL, hak_lock_names[i]);
	json_close(j, ']');
}

static void show_json(const struct model *m, const struct options *o)
{
	const struct dump_shown *s = m->own;
	struct json j = {stdout, false};

	json_open(&j, NULL, '{');
	json_text(&j, "schema", "hakstat.dump/2");
	report_json_columns(&j, &view_dump_total, m, 0);
	if (!o->by) {
		json_options(&j, s->d);
		json_last_misuse(&j, &s->d->root);
		json_locks(&j, s->d);
	}
	if (!o->by || o->by == &view_dump)
		report_json_rows(&j, "classes", &view_dump, m);
	if (!o->by || o->by == &view_dump_heaps)
		report_json_rows(&j, "heaps", &view_dump_heaps, m);
	if (o->pages)
		report_json_rows(&j, "pages", &view_dump_pages, m);
	if (s->has_block) {
		json_open(&j, "block", '{');
		report_json_columns(&j, &view_dump_block, m, 0);
		json_close(&j, '}');
	}
	json_close(&j, '}');
	printf("\n");
}

static void show_text(const struct model *m, const struct options *o, bool lost)
{
	const struct dump_shown *s = m->own;

	if (o->by) {
		print_table(o->by, m);
		return;
	}
	if (!o->check) {
		print_totals(s->d);
		print_table(&view_dump, m);
		print_table(&view_dump_heaps, m);
	}
	if (o->pages)
		print_table(&view_dump_pages, m);
	if (lost)
		printf("  (the rest is not listed)\n");
	if (s->has_block)
		print_block(s);
	print_findings(s->d);
}

static void show_csv(const struct model *m, const struct view *v, bool lost)
{
	struct report_options o = {.view = v, .sort = v->sort};

	report_csv(stdout, v, m, &o);
	if (lost)
		complain("the rest is not listed");
}

static void show_found(const struct dump *d, const struct options *o, const struct page_list *l)
{
	struct dump_shown shown = {.d = d,
				   .page = l->line,
				   .pages = l->n,
				   .has_block = o->has_block,
				   .address = o->block};
	static struct model m;

	m.own = &shown;
	snprintf(shown.digits, sizeof(shown.digits), "%llu", (unsigned long long)o->block);
	if (o->has_block)
		shown.block_known = dump_block(d, o->block, &shown.block);
	switch (o->format) {
	case REPORT_JSON:
		show_json(&m, o);
		break;
	case REPORT_CSV:
		show_csv(&m, o->by, l->lost);
		break;
	case REPORT_TABLE:
		show_text(&m, o, l->lost);
		break;
	}
	m.own = NULL;
}

/* --- */

/* reader: 0 of a core */
static int refuse(const char *what, pid_t reader, int error)
{
	if (reader && !target_alive(reader)) {
		complain("%s: the process has ended", what);
		return EXIT_NO_HAKMEM;
	}
	switch (error) {
	case -ENOENT:
		complain("%s: no libhakmem in it, or one of another version of the contract", what);
		return EXIT_NO_HAKMEM;
	case -EPROTO:
		complain("%s: its libhakmem speaks another version of the contract", what);
		return EXIT_NO_HAKMEM;
	case -EBADMSG:
		complain("%s: the root of its heap is corrupt", what);
		return EXIT_FAIL;
	case -ESRCH:
		complain("%s: it has ended", what);
		return EXIT_NO_HAKMEM;
	default:
		complain("%s: cannot read its heap: %s", what, strerror(-error));
		return EXIT_FAIL;
	}
}

/* A process at work changes while it is read: what is gone at the next look was not broken. */
static int show(const struct memory *m, uint64_t root, const char *what, const struct options *o)
{
	struct page_list list = {0};
	const struct dump_visitor v = {.page = o->pages ? keep_page : NULL, .arg = &list};
	struct dump d;
	int r;

	for (int i = 1;; i++) {
		list.n = 0;
		r = dump_read(&d, m, root, &v);
		if (r || !m->reader || i == TRIES || d.gave_up || (!d.bad.count && !d.busy))
			break;
		dump_free(&d);
		usleep(PAUSE_US);
	}
	for (char *c = d.root.version; !r && *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
	if (r && m->reader && !target_rss(m->reader))
		r = -ESRCH; /* its memory goes first: what is read of it is cut short */
	if (r)
		r = refuse(what, m->reader, r);
	else
		show_found(&d, o, &list);
	if (!r && o->check && d.bad.count)
		r = EXIT_FAIL;
	dump_free(&d);
	free(list.line);
	return r;
}

static int dump_core(const struct options *o)
{
	struct memory m;
	char err[PATH_MAX + 64];
	uint64_t root;
	int r = memory_of_core(&m, o->core, err, sizeof(err));

	if (r) {
		complain("%s", err);
		memory_close(&m);
		return EXIT_FAIL;
	}
	root = memory_find_root(&m);
	if (m.truncated)
		complain("%s is truncated", o->core);
	r = root ? show(&m, root, o->core, o) : refuse(o->core, 0, -ENOENT);
	memory_close(&m);
	return r;
}

static int dump_process(const struct options *o)
{
	static struct target t;
	struct memory m = {.fd = -1};
	char err[512];
	pid_t pid = parse_process(o->process);
	int r;

	if (!pid)
		return EXIT_NO_HAKMEM;
	r = target_await(&t, pid, err, sizeof(err));
	if (r) {
		complain("%s", err);
		return exit_code_of(r);
	}
	m.reader = t.reader;
	m.bytes = target_rss(t.reader);
	return show(&m, t.root_addr, o->process, o);
}

int cmd_dump(int argc, char **argv)
{
	static const struct argp argp = {
		option_table,
		parse,
		NULL,
		"The heap of a process that runs, is stopped, or has left a core file.\v"
		"Nothing runs in the process. A core needs no other file: what is printed is told "
		"by the memory in it.",
		NULL,
		NULL,
		NULL};
	struct options o = {0};

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	keep_to_read();
	return o.core ? dump_core(&o) : dump_process(&o);
}
