/* What the program of waits adds up by thread. */
#ifndef HAK_BPF_WAITS_H
#define HAK_BPF_WAITS_H

#include <linux/types.h>

#define WAIT_THREADS_MAX 16384 /* threads that waited; of more, `dropped` counts the waits */

struct wait_sums {
	__u64 waits, wait_ns;
};

#endif
