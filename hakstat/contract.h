/* The contract as tables, expanded from probes/probes.def and probes/shared.h. */
#ifndef HAKSTAT_CONTRACT_H
#define HAKSTAT_CONTRACT_H

#include "probe_ids.h"
#include "shared.h"

#include <stddef.h>

struct probe_arg {
	const char *type, *name, *unit, *meaning;
};

struct probe_desc {
	const char *provider, *name, *when;
	int nargs;
	struct probe_arg arg[6];
};

struct code_list {
	const char *name; /* as in the unit "enum:NAME" */
	int count;
	const char *const *text;
};

extern const struct probe_desc hak_probes[HAK_PROBE_COUNT];
/* By its name, "PROVIDER:NAME", or lock_wait for lock_wait_done; -1: there is none. */
int contract_probe(const char *name);
/* All names, a blank before each. */
void contract_probe_names(char *out, size_t len);

extern const struct code_list hak_code_lists[];
extern const int hak_code_list_count;

extern const char *const hak_source_names[];
extern const char *const hak_flush_names[];
extern const char *const hak_lock_names[];
extern const char *const hak_lock_protects[];
extern const char *const hak_fallback_names[];
extern const char *const hak_os_names[];

#endif
