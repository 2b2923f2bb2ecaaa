/* What every command shares: exit codes, messages, option helpers. */
#ifndef HAKSTAT_H
#define HAKSTAT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define HAKSTAT_VERSION "0.1.0"

enum exit_code {
	EXIT_OK = 0,
	EXIT_FAIL = 1,
	EXIT_USAGE = 2,
	EXIT_NO_HAKMEM = 3,
	EXIT_PRIVILEGE = 4,
	EXIT_ALERT = 5, /* of watch: an alert fired */
};

/* "hakstat: ..." on stderr */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* From here on messages go into text, which a screen shows; with NULL to stderr again. */
void complain_into(char *text, size_t len);
/* The exit code for a negative errno of target_open or attach. */
int exit_code_of(int error);
/* Nobody reads our output any more, as with head(1): no failure of ours. */
bool reader_is_gone(void);

/* errno of a flush of stdout that failed, for main to tell; 0 */
extern int output_error;

double clock_s(void); /* CLOCK_MONOTONIC */
/* ns from a time by CLOCK_MONOTONIC to the same by CLOCK_REALTIME, as the clocks stand now */
int64_t wall_less_monotonic(void);
/* Seconds as "1", "0.5"; negative on anything else. */
double parse_seconds(const char *text);
/* A process: its number, or the name of exactly one hakmem process. 0 after a message. */
pid_t parse_process(const char *text);

/* Set by SIGINT and SIGTERM once catch_signals was called. */
extern volatile sig_atomic_t stop_requested;
void catch_signals(void); /* SIGCHLD is blocked from there on, for signalfd(2) */
void restore_signals(void);

int cmd_list(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_locks(int argc, char **argv);
int cmd_syscalls(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_threads(int argc, char **argv);
int cmd_memory(int argc, char **argv);
int cmd_remote(int argc, char **argv);
int cmd_route(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_record(int argc, char **argv);
int cmd_report(int argc, char **argv);

int cmd_probes(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_stacks(int argc, char **argv);
int cmd_heap(int argc, char **argv);
int cmd_leaks(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_watch(int argc, char **argv);
int cmd_help(int argc, char **argv);

#endif
