/* The sites of the probes without a semaphore. */
#ifndef HAK_NO_PROBES
#define HAK_SEMAPHORES 0
#include "probe_sites.h"
#else
typedef int hak_no_probes; /* a translation unit must not be empty */
#endif
