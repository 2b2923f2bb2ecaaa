/* hakstat stat: one interval as a table or as JSON. */
#include "hakstat.h"
#include "report.h"
#include "views.h"

/* The columns of the classes' table, and what it does not show. */
static void json_class(struct json *j, const struct model *m, unsigned c)
{
	json_open(j, NULL, '{');
	json_number(j, "class", c);
	report_json_columns(j, &view_classes, m, (int)c);
	json_close(j, '}');
}

static void json_large(struct json *j, const struct model *m)
{
	json_open(j, "large", '{');
	json_number(j, "allocs", m->large_allocs);
	json_number(j, "frees", m->large_frees);
	json_number(j, "live_bytes", m->large_live_bytes);
	json_number(j, "cache_hits", m->large_hits);
	json_close(j, '}');
}

static void json_locks(struct json *j, const struct model *m)
{
	json_open(j, "locks", '[');
	for (int i = 0; i < HAK_LOCK_COUNT; i++) {
		const struct lock_delta *l = &m->lock[i];

		json_open(j, NULL, '{');
		json_text(j, "lock", hak_lock_names[i]);
		json_number(j, "waits", l->waits);
		json_number(j, "wait_ns", l->wait_ns);
		json_known(j, "max_ns", l->has_bpf ? (int64_t)l->max_ns : -1);
		json_known(j, "p50_ns", l->has_bpf ? (int64_t)l->p50_ns : -1);
		json_known(j, "p99_ns", l->has_bpf ? (int64_t)l->p99_ns : -1);
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void json_os(struct json *j, const struct model *m)
{
	json_open(j, "os", '{');
	json_number(j, "maps", m->maps);
	json_number(j, "map_bytes", m->map_bytes);
	json_number(j, "unmaps", m->unmaps);
	json_number(j, "unmap_bytes", m->unmap_bytes);
	json_number(j, "purges", m->purges);
	json_number(j, "purge_bytes", m->purge_bytes);
	json_number(j, "fills", m->fills);
	json_number(j, "fill_bytes", m->fill_bytes);
	json_number(j, "mmap_fallbacks", m->fallbacks);
	json_number(j, "mmap_fallback_bytes", m->fallback_bytes);
	json_close(j, '}');
}

/* Sums BPF made of probe arguments beside the counters as of the last probes. */
static void json_check(struct json *j, const struct model *m)
{
	if (!model_knows(m, PROBE_BIT(HAK_P_hakmem_refill) | PROBE_BIT(HAK_P_hakmem_flush))) {
		json_null(j, "check");
		return;
	}
	json_open(j, "check", '{');
	json_number(j, "bpf_allocs", m->bpf_allocs);
	json_number(j, "counter_seen_allocs", m->seen_allocs);
	json_number(j, "bpf_frees", m->bpf_frees);
	json_number(j, "counter_seen_frees", m->seen_frees);
	json_number(j, "bpf_refills", m->bpf_refills);
	json_number(j, "counter_refills", m->seen_refills);
	json_number(j, "bpf_flushes", m->bpf_flushes);
	json_number(j, "counter_flushes", m->seen_flushes);
	json_close(j, '}');
}

static void print_json(FILE *out, const struct model *m)
{
	struct json j = {out, false};

	json_open(&j, NULL, '{');
	json_text(&j, "schema", "hakstat.stat/2");
	json_number(&j, "pid", (uint64_t)m->target->pid);
	json_text(&j, "comm", m->target->comm);
	json_text(&j, "version", m->target->version);
	json_real(&j, "duration_s", m->seconds);
	report_json_times(&j, m);
	json_real(&j, "counters_s", m->counters_seconds);
	json_known(&j, "rss_bytes", m->rss ? (int64_t)m->rss : -1);
	json_known(&j, "threads", m->threads ? m->threads : -1);
	json_open(&j, "classes", '[');
	for (unsigned c = 1; c < m->classes; c++)
		json_class(&j, m, c);
	json_close(&j, ']');
	json_large(&j, m);
	json_open(&j, "remote", '{');
	json_number(&j, "pushes", m->remote_pushes);
	json_number(&j, "blocks", m->remote_blocks);
	json_number(&j, "bytes", m->remote_bytes);
	json_number(&j, "drains", m->drains);
	json_close(&j, '}');
	json_locks(&j, m);
	json_os(&j, m);
	json_open(&j, "memory", '{');
	json_number(&j, "arena_bytes", m->now.arena_bytes);
	json_number(&j, "used_bytes", m->now.used_bytes);
	json_number(&j, "dirty_bytes", m->now.dirty_bytes);
	json_number(&j, "large_bytes", m->now.large_bytes);
	json_number(&j, "cached_bytes", m->now.cached_bytes);
	json_number(&j, "meta_bytes", m->now.meta_bytes);
	json_close(&j, '}');
	report_json_self(&j, m);
	json_check(&j, m);
	json_close(&j, '}');
	fputc('\n', out);
}

static void print_table(FILE *out, const struct model *m, const struct report_options *o)
{
	char line[128];

	report_header(out, m, o);
	for (int v = 0; v < VIEWS; v++)
		if ((!views[v]->source || views[v]->in_stat) && report_table(out, views[v], m, o))
			report_lacks(out, views[v], m);
	snprintf(line, sizeof(line), "%llu allocations, %llu frees in %.3f s",
		 (unsigned long long)m->allocs, (unsigned long long)m->frees, m->seconds);
	fprintf(out, "\n");
	text_print(out, line, o->fold);
	report_ended(out, m, o);
}

void report_stat(FILE *out, const struct model *m, const struct report_options *o)
{
	switch (o->format) {
	case REPORT_JSON:
		print_json(out, m);
		break;
	case REPORT_CSV:
		report_csv(out, o->view, m, o);
		break;
	case REPORT_TABLE:
		print_table(out, m, o);
		break;
	}
}

int cmd_stat(int argc, char **argv)
{
	struct report_options o = {
		.view = &view_classes, .pid_seconds = -1, .probes = ~(uint64_t)0};

	report_parse(argc, argv, &o,
		     "One interval of a process on libhakmem, exactly: with -p until it ends, "
		     "Ctrl-C, or -d SECONDS. JSON is of schema hakstat.stat/2, CSV of the size "
		     "classes.");
	return report_run(&o, NULL, report_stat);
}
