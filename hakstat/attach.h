/* The BPF program on a target's probes. Nothing is pinned: everything goes with our process. */
#ifndef HAKSTAT_ATTACH_H
#define HAKSTAT_ATTACH_H

#include "budget.h"
#include "sums.h"
#include "target.h"

struct attachment;

/*
 * Loads the program and attaches it to every probe the target has. NULL on failure, with the
 * reason and the remedy in err and a negative errno in *error.
 */
struct attachment *attach_probes(const struct target *t, int *error, char *err, size_t errlen);
void attach_close(struct attachment *a);

/*
 * The same for a program of another object: any uprobe program may be put on some of a target's
 * probes, and gets enum hak_probe from probe_of (bpf/turn.h). Before loading the object
 * probes_prepare has to be called for each such program, and loading tried again with multi false
 * where the first attempt fails (kernels before 6.6). Probes that are off for all are left out.
 */
struct bpf_program;
struct probes_link;
#define PROBE_BIT(id) ((uint64_t)1 << (id)) /* HAK_P_hakmem_refill and so on */
void probes_prepare(struct bpf_program *p, bool multi);
/*
 * Those without a semaphore. To attach to one of the others switches something on in the target;
 * and the kernel lets all who attach to it do so with its semaphore, or all without.
 */
uint64_t probes_that_fire(const struct target *t);
/* turn: the variable of the program's object. NULL on failure: a negative errno in *error. */
struct probes_link *probes_attach(const struct bpf_program *p, const struct target *t, bool multi,
				  uint64_t wanted, uint32_t *turn, int *error);
void probes_detach(struct probes_link *l); /* NULL is fine */
/* By one perf event a probe, where the kernel does not know better. */
bool probes_by_events(const struct probes_link *l);

/*
 * Takes probes that fire more often than the budget allows off the target, and puts them back; by
 * all programs of this process that are on them. To be called again and again.
 */
void attach_keep_budget(struct attachment *a);
/* For how long each probe has been off so far, in seconds. */
void attach_time_off(const struct attachment *a, double off_s[HAK_PROBE_COUNT]);

/* A copy of the sums so far; the maxima start over. */
void attach_read(struct attachment *a, struct bpf_sums *out);
/* Probe hits handled, hits the kernel could not hand to us, and run time; -1 if unknown. */
void attach_cost(struct attachment *a, int64_t *events, int64_t *lost, int64_t *run_ns);
/* By one perf event a probe, where the kernel does not know better. */
bool attach_by_events(const struct attachment *a);
/* Is this a kernel on which it will be, before anything is attached? */
bool attach_before_multi(void);
/* The kernel takes the time of every run of every BPF program, or not: then run time is
 * unknown. It takes CAP_SYS_ADMIN to turn it on. */
void attach_take_time(bool take);
bool attach_takes_time(void);
/* How it is attached, for people. */
const char *attach_method(const struct attachment *a);

#endif
