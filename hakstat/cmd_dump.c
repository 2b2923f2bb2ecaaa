/* hakstat dump: the heap of a process, running, stopped or dead, as its memory tells it. */
#include "columns.h"
#include "contract.h"
#include "dump.h"
#include "emit.h"
#include "hakstat.h"
#include "privilege.h"
#include "target.h"
#include "text.h"

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
	bool json, pages, check, has_block;
	uint64_t block;
};

/* A page as it is listed. */
struct page_line {
	uint64_t start, bytes;
	uint32_t class_, kind, used, capacity, dirty;
	int owner;
};

struct page_list {
	struct page_line *line;
	size_t n, room;
	bool lost; /* there are more */
};

static const char *const kinds[] = {"unused", "blocks", "run", "mapped", "cached", "marked"};
static const char *const states[] = {"unknown", "free", "free, in a cache", "live",
				     "live, or freed and waiting in a queue"};
static const char *const option_names[] = {
#define X(name, env, def, min, max, unit, meaning) env,
#include "../lib/options.def"
#undef X
};
#define OPTIONS (sizeof(option_names) / sizeof(option_names[0]))

enum { KEY_CORE = 256, KEY_PAGES, KEY_BLOCK, KEY_CHECK };

static const struct argp_option option_table[] = {
	{"pid", 'p', "PID|NAME", 0, "a process; stopped, its numbers are of one instant", 0},
	{"core", KEY_CORE, "FILE", 0, "a core file, of gcore(1) or a crash", 0},
	{"json", 'j', NULL, 0, "JSON", 0},
	{"pages", KEY_PAGES, NULL, 0, "one line per page too", 0},
	{"block", KEY_BLOCK, "ADDRESS", 0, "what this address is", 0},
	{"check", KEY_CHECK, NULL, 0, "only look for what is broken; status 1 if anything is", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	char *end;

	switch (key) {
	case 'p':
		o->process = arg;
		return 0;
	case 'j':
		o->json = true;
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
	case KEY_BLOCK:
		errno = 0;
		o->block = strtoull(arg, &end, 0);
		o->has_block = true;
		if (!*arg || *end || errno || *arg == '-')
			argp_error(state, "--block: not an address: %s", arg);
		return 0;
	case ARGP_KEY_ARG:
		argp_usage(state);
		return 0;
	case ARGP_KEY_END:
		if (!o->process == !o->core)
			argp_error(state, "one of -p and --core");
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
		.owner = pg->kind == PAGE_SMALL ? dump_heap_at(d, pg->owner) : -1,
	};
}

/* --- text --- */

static void bytes_line(const char *what, uint64_t bytes)
{
	char text[32];

	bytes_text((double)bytes, text, sizeof(text));
	printf("  %-10s %10s  %llu\n", what, text, (unsigned long long)bytes);
}

static uint64_t waiting_bytes(const struct dump *d)
{
	uint64_t sum = 0;

	for (unsigned c = 1; c < d->root.classes; c++)
		if (dump_waiting(d, c) > 0)
			sum += (uint64_t)dump_waiting(d, c) * d->root.class_bytes[c];
	return sum;
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
	bytes_line("waiting", waiting_bytes(d));
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

static double used_percent(const struct dump *d, unsigned c)
{
	const struct dump_class *k = &d->class_[c];
	double held = (double)k->pages * d->root.page_bytes[c];

	return held > 0 ? 100 * (double)(k->allocs - k->frees) * d->root.class_bytes[c] / held : 0;
}

static bool class_is_empty(const struct dump_class *k)
{
	return !k->pages && !k->cached && k->allocs == k->frees;
}

static void print_classes(const struct dump *d)
{
	printf("\n%7s %8s %11s %9s %9s %10s %14s %5s\n", "BLOCK", "PAGES", "LIVE", "CACHED",
	       "WAITING", "FREE", "HELD", "USE%");
	for (unsigned c = 0; c < d->root.classes; c++) {
		const struct dump_class *k = &d->class_[c];

		if (class_is_empty(k))
			continue;
		if (c)
			printf("%7u", d->root.class_bytes[c]);
		else
			printf("%7s", "large");
		printf(" %8llu %11lld %9llu %9lld %10llu", (unsigned long long)k->pages,
		       (long long)(k->allocs - k->frees), (unsigned long long)k->cached,
		       (long long)dump_waiting(d, c), (unsigned long long)(k->capacity - k->out));
		if (c)
			printf(" %14llu %5.1f\n",
			       (unsigned long long)k->pages * d->root.page_bytes[c],
			       used_percent(d, c));
		else
			printf(" %14s %5s\n", "-", "-");
	}
}

static void print_heaps(const struct dump *d)
{
	printf("\n%5s %8s %-5s %12s %8s %10s  %s\n", "HEAP", "THREAD", "STATE", "CACHED", "PAGES",
	       "BLOCKS", "");
	for (uint32_t i = 0; i < d->nheaps; i++) {
		const struct dump_heap *h = &d->heaps[i];

		printf("%5u %8u %-5s %12llu %8llu %10llu  %s%s%s\n", i, h->tid,
		       h->state == HAK_HEAP_LIVE ? "live" : "idle",
		       (unsigned long long)h->cached_bytes, (unsigned long long)h->npages,
		       (unsigned long long)h->out, h->queued ? "queue " : "",
		       h->locked ? "lock-held " : "", h->busy ? "slow-operation" : "");
	}
}

static void print_pages(const struct dump *d, const struct page_list *l)
{
	printf("\n%18s %-7s %8s %10s %5s %6s %8s %6s\n", "PAGE", "KIND", "BLOCK", "BYTES", "HEAP",
	       "USED", "CAPACITY", "DIRTY");
	for (size_t i = 0; i < l->n; i++) {
		const struct page_line *p = &l->line[i];
		char owner[16] = "-";

		if (p->owner >= 0)
			snprintf(owner, sizeof(owner), "%d", p->owner);
		printf("%#18llx %-7s %8u %10llu %5s %6u %8u %6u\n", (unsigned long long)p->start,
		       p->kind <= PAGE_MARKED ? kinds[p->kind] : "?",
		       p->class_ < d->root.classes ? d->root.class_bytes[p->class_] : 0,
		       (unsigned long long)p->bytes, owner, p->used, p->capacity, p->dirty);
	}
	if (l->lost)
		printf("  (the rest is not listed)\n");
}

static void print_block(const struct dump *d, uint64_t addr)
{
	struct dump_block b;
	int owner;

	printf("\n%#llx: ", (unsigned long long)addr);
	if (!dump_block(d, addr, &b)) {
		printf("not in any page of libhakmem\n");
		return;
	}
	owner = b.page.kind == PAGE_SMALL ? dump_heap_at(d, b.page.owner) : -1;
	printf("byte %llu of the block at %#llx, %llu bytes: %s\n",
	       (unsigned long long)(addr - b.start), (unsigned long long)b.start,
	       (unsigned long long)b.bytes, states[b.state]);
	printf("  page %#llx (%s)", (unsigned long long)b.page.start,
	       b.page.kind <= PAGE_MARKED ? kinds[b.page.kind] : "?");
	if (owner >= 0)
		printf(", owner heap %d", owner);
	if (b.cache >= 0)
		printf(", in the cache of heap %d", b.cache);
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

static void json_totals(struct json *j, const struct dump *d)
{
	const struct hak_root *r = &d->root;

	json_text(j, "schema", "hakstat.dump/1");
	json_text(j, "version", r->version);
	json_number(j, "pid", r->pid);
	json_open(j, "options", '{');
	for (size_t i = 0; i < OPTIONS && i < r->layout.options_count; i++)
		json_number(j, option_names[i], d->option[i]);
	json_close(j, '}');
	json_number(j, "live_bytes", d->live_bytes);
	json_number(j, "cached_bytes", d->cached_bytes);
	json_number(j, "waiting_bytes", waiting_bytes(d));
	json_number(j, "dirty_bytes", dirty_bytes(&r->now));
	json_number(j, "meta_bytes", r->now.meta_bytes);
	json_number(j, "mapped_bytes", mapped_bytes(&r->now));
	json_number(j, "misuses", r->os.misuses);
	if (r->os.misuses) {
		json_open(j, "last_misuse", '{');
		json_number(j, "address", r->misuse.addr);
		json_number(j, "tid", r->misuse.tid);
		json_text(j, "kind", misuse_name(r->misuse.kind));
		json_close(j, '}');
	}
	json_open(j, "locks_held", '[');
	for (unsigned i = 0; i < HAK_LOCK_COUNT; i++)
		if (d->locked[i])
			json_text(j, NULL, hak_lock_names[i]);
	json_close(j, ']');
}

static void json_classes(struct json *j, const struct dump *d)
{
	json_open(j, "classes", '[');
	for (unsigned c = 0; c < d->root.classes; c++) {
		const struct dump_class *k = &d->class_[c];

		if (class_is_empty(k))
			continue;
		json_open(j, NULL, '{');
		json_number(j, "block_bytes", d->root.class_bytes[c]);
		json_number(j, "pages", k->pages);
		json_number(j, "live", k->allocs - k->frees);
		json_number(j, "cached", k->cached);
		json_known(j, "waiting", dump_waiting(d, c));
		json_number(j, "free", k->capacity - k->out);
		json_number(j, "held_bytes", k->pages * d->root.page_bytes[c]);
		json_number(j, "unbacked_bytes", k->gone);
		json_real(j, "use_percent", used_percent(d, c));
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void json_heaps(struct json *j, const struct dump *d)
{
	json_open(j, "heaps", '[');
	for (uint32_t i = 0; i < d->nheaps; i++) {
		const struct dump_heap *h = &d->heaps[i];

		json_open(j, NULL, '{');
		json_number(j, "tid", h->tid);
		json_text(j, "state", h->state == HAK_HEAP_LIVE ? "live" : "idle");
		json_number(j, "cached_bytes", h->cached_bytes);
		json_number(j, "pages", h->npages);
		json_bool(j, "queue", h->queued);
		json_bool(j, "locked", h->locked);
		json_bool(j, "slow_operation", h->busy != 0);
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void json_pages(struct json *j, const struct dump *d, const struct page_list *l)
{
	json_open(j, "pages", '[');
	for (size_t i = 0; i < l->n; i++) {
		const struct page_line *p = &l->line[i];

		json_open(j, NULL, '{');
		json_number(j, "address", p->start);
		json_text(j, "kind", p->kind <= PAGE_MARKED ? kinds[p->kind] : "?");
		json_number(j, "block_bytes",
			    p->class_ < d->root.classes ? d->root.class_bytes[p->class_] : 0);
		json_number(j, "bytes", p->bytes);
		json_known(j, "heap", p->owner);
		json_number(j, "used", p->used);
		json_number(j, "capacity", p->capacity);
		json_number(j, "segment_dirty_slices", p->dirty);
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void json_block(struct json *j, const struct dump *d, uint64_t addr)
{
	struct dump_block b;
	bool known = dump_block(d, addr, &b);

	json_open(j, "block", '{');
	json_number(j, "address", addr);
	json_text(j, "state", states[b.state]);
	if (known) {
		json_number(j, "start", b.start);
		json_number(j, "bytes", b.bytes);
		json_number(j, "page", b.page.start);
		json_known(j, "heap",
			   b.page.kind == PAGE_SMALL ? dump_heap_at(d, b.page.owner) : -1);
		json_known(j, "cache_of_heap", b.cache);
	}
	json_close(j, '}');
}

static void show_json(const struct dump *d, const struct options *o, const struct page_list *l)
{
	struct json j = {stdout, false};

	json_open(&j, NULL, '{');
	json_totals(&j, d);
	json_classes(&j, d);
	json_heaps(&j, d);
	if (o->pages)
		json_pages(&j, d, l);
	if (o->has_block)
		json_block(&j, d, o->block);
	json_number(&j, "broken", d->bad.count);
	json_text(&j, "first_broken", d->bad.first);
	json_number(&j, "heaps_busy", d->busy);
	json_bool(&j, "truncated", d->m->truncated);
	json_close(&j, '}');
	printf("\n");
}

static void show_text(const struct dump *d, const struct options *o, const struct page_list *l)
{
	if (!o->check) {
		print_totals(d);
		print_classes(d);
		print_heaps(d);
	}
	if (o->pages)
		print_pages(d, l);
	if (o->has_block)
		print_block(d, o->block);
	print_findings(d);
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
	else if (o->json)
		show_json(&d, o, &list);
	else
		show_text(&d, o, &list);
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
