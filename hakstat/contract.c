#include "contract.h"

#include "provider.h"

#include <stdio.h>
#include <string.h>

#define ARG_(t, n, u, m)      \
	{                     \
#t, #n, #u, m \
	}
#define ARG(a) ARG_ a
#define HAK_PROBE1(p, n, w, a) {HAK_PROVIDER_TEXT(p), #n, w, 1, {ARG(a)}},
#define HAK_PROBE2(p, n, w, a, b) {HAK_PROVIDER_TEXT(p), #n, w, 2, {ARG(a), ARG(b)}},
#define HAK_PROBE3(p, n, w, a, b, c) {HAK_PROVIDER_TEXT(p), #n, w, 3, {ARG(a), ARG(b), ARG(c)}},
#define HAK_PROBE4(p, n, w, a, b, c, d) \
	{HAK_PROVIDER_TEXT(p), #n, w, 4, {ARG(a), ARG(b), ARG(c), ARG(d)}},
#define HAK_PROBE5(p, n, w, a, b, c, d, e) \
	{HAK_PROVIDER_TEXT(p), #n, w, 5, {ARG(a), ARG(b), ARG(c), ARG(d), ARG(e)}},
#define HAK_PROBE6(p, n, w, a, b, c, d, e, f) \
	{HAK_PROVIDER_TEXT(p), #n, w, 6, {ARG(a), ARG(b), ARG(c), ARG(d), ARG(e), ARG(f)}},
const struct probe_desc hak_probes[HAK_PROBE_COUNT] = {
#include "probes.def"
};

#define TEXT_(id, text, ...) text,
#define PROTECTS_(id, text, protects) protects,
const char *const hak_source_names[] = {HAK_SOURCES(TEXT_)};
const char *const hak_flush_names[] = {HAK_FLUSH_REASONS(TEXT_)};
const char *const hak_lock_names[] = {HAK_LOCKS(TEXT_)};
const char *const hak_lock_protects[] = {HAK_LOCKS(PROTECTS_)};
const char *const hak_fallback_names[] = {HAK_FALLBACK_REASONS(TEXT_)};
const char *const hak_os_names[] = {HAK_OS_REASONS(TEXT_)};
static const char *const oom_names[] = {HAK_OOM_REASONS(TEXT_)};
static const char *const misuse_names[] = {HAK_MISUSES(TEXT_)};

const struct code_list hak_code_lists[] = {
	{"HAK_SOURCES", HAK_SOURCE_COUNT, hak_source_names},
	{"HAK_FLUSH_REASONS", HAK_FLUSH_COUNT, hak_flush_names},
	{"HAK_LOCKS", HAK_LOCK_COUNT, hak_lock_names},
	{"HAK_FALLBACK_REASONS", HAK_FALLBACK_COUNT, hak_fallback_names},
	{"HAK_OS_REASONS", HAK_OS_COUNT, hak_os_names},
	{"HAK_OOM_REASONS", HAK_OOM_COUNT, oom_names},
	{"HAK_MISUSES", HAK_MISUSE_COUNT, misuse_names},
};
const int hak_code_list_count = sizeof(hak_code_lists) / sizeof(hak_code_lists[0]);

int contract_probe(const char *name)
{
	const char *colon = strchr(name, ':');

	if (!strcmp(name, "lock_wait"))
		return HAK_P_hakmem_lock_wait_done; /* this one knows how long */
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		if (!strcmp(hak_probes[i].name, colon ? colon + 1 : name) &&
		    (!colon || !strncmp(hak_probes[i].provider, name, (size_t)(colon - name))))
			return i;
	return -1;
}

void contract_probe_names(char *out, size_t len)
{
	size_t at = 0;

	out[0] = '\0';
	for (int i = 0; i < HAK_PROBE_COUNT && at < len; i++)
		at += (size_t)snprintf(out + at, len - at, " %s", hak_probes[i].name);
}
