/*
 * Everything that is made from the contract as text, on the machine that builds:
 *   gen markdown   docs/PROBES.md
 *   gen notes [aarch64]  what `readelf -n` must show: "provider name operand ..." a line
 *   gen options    the option table of docs/man/hakmem.7 (troff)
 */
#include <stdio.h>
#include <string.h>

#include "provider.h"
#include "shared.h"

struct arg {
	const char *type, *name, *unit, *meaning;
};

struct probe {
	const char *provider, *name, *when;
	int semaphore, nargs;
	struct arg arg[6];
};

#define ARG_(t, n, u, m)      \
	{                     \
#t, #n, #u, m \
	}
#define ARG(a) ARG_ a
#define HAK_PROBE1(p, n, w, a) {HAK_PROVIDER_TEXT(p), #n, w, HAK_SEM, 1, {ARG(a)}},
#define HAK_PROBE2(p, n, w, a, b) {HAK_PROVIDER_TEXT(p), #n, w, HAK_SEM, 2, {ARG(a), ARG(b)}},
#define HAK_PROBE3(p, n, w, a, b, c) \
	{HAK_PROVIDER_TEXT(p), #n, w, HAK_SEM, 3, {ARG(a), ARG(b), ARG(c)}},
#define HAK_PROBE4(p, n, w, a, b, c, d) \
	{HAK_PROVIDER_TEXT(p), #n, w, HAK_SEM, 4, {ARG(a), ARG(b), ARG(c), ARG(d)}},
#define HAK_PROBE5(p, n, w, a, b, c, d, e) \
	{HAK_PROVIDER_TEXT(p), #n, w, HAK_SEM, 5, {ARG(a), ARG(b), ARG(c), ARG(d), ARG(e)}},
#define HAK_PROBE6(p, n, w, a, b, c, d, e, f) \
	{HAK_PROVIDER_TEXT(p), #n, w, HAK_SEM, 6, {ARG(a), ARG(b), ARG(c), ARG(d), ARG(e), ARG(f)}},
static const struct probe probes[] = {
#include "probes.def"
};
#define PROBES (sizeof(probes) / sizeof(probes[0]))

#define TEXT_(id, text, ...) text,
#define LIST_(list)                      \
	{                                \
#list,                   \
		{                        \
			list(TEXT_) NULL \
		}                        \
	}
static const struct list {
	const char *name;
	const char *text[16];
} lists[] = {
	LIST_(HAK_SOURCES),	     LIST_(HAK_FLUSH_REASONS), LIST_(HAK_LOCKS),
	LIST_(HAK_FALLBACK_REASONS), LIST_(HAK_OS_REASONS),    LIST_(HAK_OOM_REASONS),
	LIST_(HAK_MISUSES),
};

static void print_unit(const char *unit)
{
	const char *list = strchr(unit, ':');

	if (list)
		printf("[%s](#%s)", list + 1, list + 1);
	else
		printf("%s", unit);
}

static void markdown_probe(const struct probe *p)
{
	printf("\n### %s:%s\nFires %s%s.%s\n\n", p->provider, p->name,
	       strncmp(p->when, "never", 5) ? "when " : "", p->when,
	       p->semaphore ? " Has a semaphore." : "");
	printf("| # | argument | type | unit | meaning |\n|---|---|---|---|---|\n");
	for (int i = 0; i < p->nargs; i++) {
		printf("| arg%d | %s | %s | ", i, p->arg[i].name, p->arg[i].type);
		print_unit(p->arg[i].unit);
		printf(" | %s |\n", p->arg[i].meaning);
	}
}

static int markdown(void)
{
	printf("# Probes of libhakmem\n\n"
	       "Made from `probes/probes.def` and `probes/shared.h` by `make docs`; do not "
	       "edit.\n\n"
	       "Every probe has one site. Arguments are in the registers of a System V call, in\n"
	       "order; `arg0` is the first. A probe's arguments never change: new arguments mean "
	       "a\n"
	       "new name.\n\n"
	       "Some have a semaphore, which the system raises in the process while somebody is\n"
	       "attached who names it (`readelf -n` shows where it is; perf, bpftrace and libbpf "
	       "do).\n"
	       "These are switches: attach to `otel_memory:alloc` and samples are taken; attach to "
	       "the\n"
	       "`sample_bit` probes whose bits make up the binary logarithm of the mean interval "
	       "you want\n"
	       "before it, or in the same link. Whoever goes, or dies, takes his settings along. "
	       "Attached\n"
	       "to everything, the mean is 2 GiB: next to nothing is sampled.\n\n"
	       "## Probes\n");
	for (size_t i = 0; i < PROBES; i++)
		markdown_probe(&probes[i]);
	printf("\n## Codes\n");
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		printf("\n### %s\n| code | meaning |\n|---|---|\n", lists[i].name);
		for (int k = 0; lists[i].text[k]; k++)
			printf("| %d | %s |\n", k, lists[i].text[k]);
	}
	return 0;
}

/* The registers of a call's first six arguments: u32, then u64. */
static const char *const x86_64[2][6] = {
	{"4@%edi", "4@%esi", "4@%edx", "4@%ecx", "4@%r8d", "4@%r9d"},
	{"8@%rdi", "8@%rsi", "8@%rdx", "8@%rcx", "8@%r8", "8@%r9"},
};
static const char *const aarch64[2][6] = {
	{"4@x0", "4@x1", "4@x2", "4@x3", "4@x4", "4@x5"},
	{"8@x0", "8@x1", "8@x2", "8@x3", "8@x4", "8@x5"},
};

static int notes(const char *const reg[2][6])
{

	for (size_t i = 0; i < PROBES; i++) {
		printf("%s %s%s", probes[i].provider, probes[i].name,
		       probes[i].semaphore ? " SEMAPHORE" : "");
		for (int k = 0; k < probes[i].nargs; k++)
			printf(" %s", reg[!strcmp(probes[i].arg[k].type, "u64")][k]);
		printf("\n");
	}
	return 0;
}

static int options(void)
{
#define X(name, env, def, min, max, unit, meaning)                                            \
	printf(".TP\n.B %s\n%c%s (%s; default %llu, from %llu to %llu).\n", env,              \
	       (meaning)[0] >= 'a' && (meaning)[0] <= 'z' ? (meaning)[0] - 32 : (meaning)[0], \
	       (meaning) + 1, unit, (unsigned long long)(def), (unsigned long long)(min),     \
	       (unsigned long long)(max));
#include "../lib/options.def"
#undef X
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "markdown"))
		return markdown();
	if (argc == 2 && !strcmp(argv[1], "notes"))
		return notes(x86_64);
	if (argc == 3 && !strcmp(argv[1], "notes") && !strcmp(argv[2], "aarch64"))
		return notes(aarch64);
	if (argc == 2 && !strcmp(argv[1], "options"))
		return options();
	fprintf(stderr, "usage: gen markdown|notes [aarch64]|options\n");
	return 2;
}
