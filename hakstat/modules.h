/*
 * The files a process runs, as libdwfl sees them: programs, libraries and the vdso, opened while
 * the process is there, so that names can be looked up after it has gone.
 */
#ifndef HAKSTAT_MODULES_H
#define HAKSTAT_MODULES_H

#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct modules;

/* NULL: no memory. With no file that could be read, there are no modules. */
struct modules *modules_open(void);
void modules_close(struct modules *m);

/*
 * Looks at the mappings of a process (a thread that runs, target_reader), and what changed. What
 * was unmapped stays known until its addresses are taken by something else: then everything
 * starts over, as a new generation.
 */
void modules_look(struct modules *m, pid_t reader);
Dwfl *modules_dwfl(const struct modules *m); /* of the newest generation */
/* The number of that generation, and the libdwfl of any; they all stay until modules_close. */
unsigned modules_generation(const struct modules *m);
Dwfl *modules_dwfl_of(const struct modules *m, unsigned generation);

/* Another number when modules have come. */
unsigned modules_version(const struct modules *m);

/* An address in code that is mapped, of a file or not. */
bool modules_is_code(const struct modules *m, uint64_t addr);
/* Files that could not be opened, and whether it was permission that was missing. */
unsigned modules_closed(const struct modules *m, bool *denied);

#endif
