/*
 * A library by what of it is in memory, where its file cannot be opened: deleted or in another
 * mount namespace, for who may read the process but not open what it runs.
 */
#ifndef HAKSTAT_MAPPED_H
#define HAKSTAT_MAPPED_H

#include "target.h"

/*
 * The address of hak_root by the table of dynamic symbols, and the build id (hex, "" if it has
 * none); m: the first mapping of the file. 0; -ENOENT: a library that is none of ours; -EACCES:
 * that cannot be told without the file; or another negative errno.
 */
int mapped_root(pid_t reader, const struct mapping *m, uint64_t *root_addr, char build_id[48]);

#endif
