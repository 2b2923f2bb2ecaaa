/* The BPF program on a target's probes. Nothing is pinned: everything goes with our process. */
#ifndef HAKSTAT_ATTACH_H
#define HAKSTAT_ATTACH_H

#include "budget.h"
#include "sums.h"
#include "target.h"
#include "turn.h"

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
/* Did loading or attaching fail as before 6.6? */
bool probes_before_multi(int error);
/*
 * Those without a semaphore. To attach to one of the others switches something on in the target;
 * and the kernel lets all who attach to it do so with its semaphore, or all without.
 */
uint64_t probes_that_fire(const struct target *t);
/*
 * state: the variable `program' of the program's object (bpf/turn.h). NULL on failure: a negative
 * errno in *error.
 */
struct probes_link *probes_attach(const struct bpf_program *p, const struct target *t, bool multi,
				  uint64_t wanted, struct program_state *state, int *error);
void probes_detach(struct probes_link *l); /* NULL is fine */
/* ns in all programs on probes so far, those that are gone too: what they say of themselves. */
uint64_t probes_spent(void);
/* By one perf event a probe, where the kernel does not know better. */
bool probes_by_events(const struct probes_link *l);

/*
 * Takes probes that fire more often than the budget allows off the target, and puts them back; by
 * all programs of this process that are on them. To be called again and again with what one of the
 * programs, which is on all of them, has counted; true: others are off than before.
 */
struct budget *probes_budget_open(void);
void probes_budget_close(struct budget *b); /* all are put back, the next time */
bool probes_keep_budget(struct budget *b, const struct probe_events events[HAK_PROBE_COUNT],
			pid_t pid);

/*
 * What the program of the sums is on from here on, also where it is attached anew;
 * at first every probe there is. LIGHT: those that tell what no counter does, and seldom fire.
 */
#define PROBES_LIGHT                                                               \
	(PROBE_BIT(HAK_P_hakmem_lock_wait_done) | PROBE_BIT(HAK_P_hakmem_os_map) | \
	 PROBE_BIT(HAK_P_hakmem_os_unmap) | PROBE_BIT(HAK_P_hakmem_os_purge) |     \
	 PROBE_BIT(HAK_P_hakmem_os_fill) | PROBE_BIT(HAK_P_hakmem_mmap_fallback))
void attach_want(uint64_t probes);
uint64_t attach_wanted(void);

/* With what the program of the sums has counted. */
void attach_keep_budget(struct attachment *a);
/* For how long each probe has been off so far, in seconds. */
void attach_time_off(const struct attachment *a, double off_s[HAK_PROBE_COUNT]);

/* A copy of the sums so far; the maxima start over. */
void attach_read(struct attachment *a, struct bpf_sums *out);
/* Probe hits handled, hits the kernel could not hand to us, and run time of all programs on probes;
 * -1 if unknown. */
void attach_cost(struct attachment *a, int64_t *events, int64_t *lost, int64_t *run_ns);
/* By one perf event a probe, where the kernel does not know better. */
bool attach_by_events(const struct attachment *a);
/* Is this a kernel on which it will be, before anything is attached? */
bool attach_before_multi(void);
/* How it is attached, for people. */
const char *attach_method(const struct attachment *a);

#endif
