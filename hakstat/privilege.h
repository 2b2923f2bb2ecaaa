/* Giving up what is not needed any more, so that a fault in here is worth little. */
#ifndef HAKSTAT_PRIVILEGE_H
#define HAKSTAT_PRIVILEGE_H

#include <stdbool.h>

/*
 * Capabilities for good: of those it has, the process keeps what it takes to read other processes
 * (list, dump, probes), with `again` also to attach to a program that a watched process becomes,
 * `by_events` where that is by perf events (kernels before 6.6), and with `command` to end a
 * command of ours that changed its user. Without a command nothing is executed any more.
 */
bool has_capability(unsigned capability);
void keep_nothing(void);
void keep_to_read(void);
void keep_to_watch(bool by_events, bool command);

#endif
