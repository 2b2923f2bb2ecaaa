/* The command line of a process, or what it has put in its place: "postgres: checkpointer". */
#ifndef HAKSTAT_TITLE_H
#define HAKSTAT_TITLE_H

#include <stddef.h>
#include <sys/types.h>

#define TITLE_BYTES 96

/* Empty: not known. Safe to print. */
void title_read(pid_t pid, char *out, size_t len);

#endif
