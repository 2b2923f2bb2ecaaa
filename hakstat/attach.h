/* The BPF program on a target's probes. Nothing is pinned: everything goes with our process. */
#ifndef HAKSTAT_ATTACH_H
#define HAKSTAT_ATTACH_H

#include "sums.h"
#include "target.h"

/* What hakstat needs instead of root. */
#define HAKSTAT_CAPS "cap_bpf,cap_perfmon,cap_sys_ptrace,cap_checkpoint_restore"

struct attachment;

/*
 * Loads the program and attaches it to every probe the target has. NULL on failure, with the
 * reason and the remedy in err and a negative errno in *error.
 */
struct attachment *attach_probes(const struct target *t, int *error, char *err, size_t errlen);
void attach_close(struct attachment *a);

/* A copy of the sums so far; the maxima start over. */
void attach_read(struct attachment *a, struct bpf_sums *out);
/* Probe hits handled, hits the kernel could not hand to us, and run time; -1 if unknown. */
void attach_cost(struct attachment *a, int64_t *events, int64_t *lost, int64_t *run_ns);
/* By one perf event a probe, where the kernel does not know better. */
bool attach_by_events(const struct attachment *a);
/* How it is attached, for people. */
const char *attach_method(const struct attachment *a);

#endif
