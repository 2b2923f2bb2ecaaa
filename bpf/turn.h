/*
 * Which probe fired. A link cannot leave out one of its probes: another link takes its place, and
 * for a moment both are there. Cookies tell the turn of their link; the events of the other do not
 * count.
 */
#ifndef HAK_BPF_TURN_H
#define HAK_BPF_TURN_H

#include <linux/types.h>

#define TURN_SHIFT 8 /* of a cookie: the probe below, the turn above */

#ifdef __bpf__
__u32 turn = 0; /* by the reader: 0 or 1 */

/* HAK_PROBE_COUNT: none that counts. */
static __always_inline __u64 probe_of(void *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);

	return cookie >> TURN_SHIFT == turn ? cookie & ((1 << TURN_SHIFT) - 1) : HAK_PROBE_COUNT;
}
#endif

#endif
