/* Of several copies of libhakmem in a process, the one that serves it. */
#ifndef HAKSTAT_COPIES_H
#define HAKSTAT_COPIES_H

#include "target.h"

/* Takes `other`, another copy in the same process, if it is rather the one to be watched. */
void copies_keep(struct target *t, const struct target *other);

#endif
