/* Every process on libhakmem, by its counters alone: found, followed, and let go by itself. */
#ifndef HAKSTAT_HOST_H
#define HAKSTAT_HOST_H

#include "model.h"

struct host;

struct host *host_open(void); /* NULL: no memory */
void host_close(struct host *h);
/* 0, or a negative errno: /proc could not be read. */
int host_look(struct host *h);
/* What lies between the last two looks: rows, and their sums as those of one process. */
void host_model(struct host *h, struct model *m);

#endif
