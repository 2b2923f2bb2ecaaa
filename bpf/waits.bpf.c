/* Waits for locks by thread. Loaded while somebody looks at threads. */
#include "thread.h"
#include "turn.h"
#include "waits.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WAIT_THREADS_MAX);
	__type(key, __u32);
	__type(value, struct wait_sums);
} by_tid SEC(".maps");

__u64 dropped = 0;

static __always_inline void count(struct regs *r, __u64 id)
{
	struct args_hakmem_lock_wait_done a = read_hakmem_lock_wait_done(r);
	struct wait_sums zero = {}, *s;
	__u32 tid;

	if (id != HAK_P_hakmem_lock_wait_done)
		return;
	tid = own_tid();
	s = bpf_map_lookup_elem(&by_tid, &tid);
	if (!s) {
		bpf_map_update_elem(&by_tid, &tid, &zero, BPF_NOEXIST);
		s = bpf_map_lookup_elem(&by_tid, &tid);
	}
	if (!s) {
		ADD(dropped, 1);
		return;
	}
	ADD(s->waits, 1);
	ADD(s->wait_ns, a.wait_ns);
}

PROBE_PROGRAM(on_wait, count)

char LICENSE[] SEC("license") = "Dual MIT/GPL";
