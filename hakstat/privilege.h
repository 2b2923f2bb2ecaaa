/* Giving up what is not needed any more, so that a fault in here is worth little. */
#ifndef HAKSTAT_PRIVILEGE_H
#define HAKSTAT_PRIVILEGE_H

#include <stdbool.h>
#include <stddef.h>

/* What hakstat needs instead of root: for BPF, and counters of every process by it; for all. */
#define CAPS_BPF "cap_bpf,cap_perfmon"
#define CAPS_ALL CAPS_BPF ",cap_sys_ptrace,cap_checkpoint_restore"
#define CAPS_PAGES "cap_dac_read_search" /* beside them, for files of other users alone */

/* "run as root, or: setcap CAPS+ep FILE", of this program's file. more: further ones, or "". */
void remedy(const char *caps, const char *more, char *out, size_t len);
/* "no permission WHAT: " and the remedy, what BPF needs. */
void no_permission(const char *what, char *out, size_t len);
/* May BPF programs be loaded and attached, as far as capabilities go? */
bool may_use_bpf(void);

/*
 * Capabilities for good: of those it has, the process keeps what it takes to read other processes
 * (list, dump, probes), with `again` also to attach to a program that a watched process becomes,
 * `by_events` where that is by perf events (kernels before 6.6), and with `command` to end a
 * command of ours that changed its user. Without a command nothing is executed any more.
 */
bool has_capability(unsigned capability);
void keep_to_read(void);
void keep_to_watch(bool by_events, bool command);

#endif
