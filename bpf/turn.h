/*
 * Which probe fired. A link cannot leave out one of its probes: another link takes its place, and
 * for a moment both are there. Cookies tell the turn of their link; the events of the other do not
 * count.
 */
#ifndef HAK_BPF_TURN_H
#define HAK_BPF_TURN_H

#include <linux/types.h>

#define TURN_SHIFT 8 /* of a cookie: the probe below, the turn above */

/* What each program on probes shares with its reader. */
struct program_state {
	__u32 turn; /* by the reader: 0 or 1 */
	__u32 pad;
	__u64 spent_ns; /* in the program, by itself; */
	__u64 told_ns;	/* by the reader: of it, what was added up already */
};

#ifdef __bpf__
struct program_state program = {0};

/* HAK_PROBE_COUNT: none that counts. */
static __always_inline __u64 probe_of(void *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);

	return cookie >> TURN_SHIFT == program.turn ? cookie & ((1 << TURN_SHIFT) - 1)
						    : HAK_PROBE_COUNT;
}

/*
 * The program NAME runs handle(registers, probe) for each event that counts, and takes the time of
 * it. The kernel would, too, but for CAP_SYS_ADMIN only, and of every program of the machine.
 */
#define PROBE_PROGRAM(name, handle)                                \
	SEC("uprobe")                                              \
	int name(struct regs *r)                                   \
	{                                                          \
		__u64 id = probe_of(r), begin;                     \
                                                                   \
		if (id >= HAK_PROBE_COUNT)                         \
			return 0;                                  \
		begin = bpf_ktime_get_ns();                        \
		handle(r, id);                                     \
		ADD(program.spent_ns, bpf_ktime_get_ns() - begin); \
		return 0;                                          \
	}
#endif

#endif
