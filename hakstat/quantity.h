/* Numbers with units, as people write them: 95%, 100MiB, 5ms, 10k, 1MiB/min. */
#ifndef HAKSTAT_QUANTITY_H
#define HAKSTAT_QUANTITY_H

#include "columns.h"

struct quantity {
	double number; /* in what values of the unit are shown in: percent, bytes, ns, ... */
	double per;    /* seconds of what stands after "/"; 0: nothing does */
	const char *per_name;
};

/* Where it ends, or NULL with what is wrong in err and where in *at. */
const char *quantity_parse(const char *text, enum unit unit, struct quantity *q, char *err,
			   size_t errlen, const char **at);
/* "10s", "5min", "1.5 h"; likewise. */
const char *duration_parse(const char *text, double *seconds, char *err, size_t errlen,
			   const char **at);

/* The whole text is a number of bytes, as 100, 64K, 1.5 MiB. */
bool size_parse(const char *text, double *bytes);

#endif
