/*
 * Remote frees: who frees whose blocks, and how long they wait in queues. Loaded while somebody
 * looks at them.
 *
 * A drain is of the thread's own queue, unless remote_help said whose. A push and a drain at the
 * same time may come in the other order than they happened: sums are right as soon as both are in.
 */
#include "thread.h"
#include "remote.h"
#include "turn.h"

#define MAP(name, kind, entries, k, v)        \
	struct {                              \
		__uint(type, kind);           \
		__uint(max_entries, entries); \
		__type(key, k);               \
		__type(value, v);             \
	} name SEC(".maps")

MAP(pairs, BPF_MAP_TYPE_HASH, REMOTE_PAIRS_MAX, struct remote_pair, struct pair_sums);
MAP(owners, BPF_MAP_TYPE_HASH, REMOTE_OWNERS_MAX, __u32, struct owner_sums);
MAP(helps, BPF_MAP_TYPE_LRU_HASH, 4096, __u32, __u32);		  /* thread -> owner it helps */
MAP(names, BPF_MAP_TYPE_LRU_HASH, 4096, __u32, struct last_name); /* of threads that ended */

__u64 dropped = 0;
const volatile __u32 from_start; /* of the program: queues were empty */
static const struct owner_sums no_owner;

static __always_inline struct owner_sums *owner_of(__u32 tid)
{
	struct owner_sums *o = bpf_map_lookup_elem(&owners, &tid);

	if (o)
		return o;
	bpf_map_update_elem(&owners, &tid, &no_owner, BPF_NOEXIST);
	return bpf_map_lookup_elem(&owners, &tid);
}

static __always_inline void count_pair(__u32 from, __u32 to, __u32 blocks, __u64 bytes)
{
	struct remote_pair key = {from, to};
	struct pair_sums zero = {}, *p = bpf_map_lookup_elem(&pairs, &key);

	if (!p) {
		bpf_map_update_elem(&pairs, &key, &zero, BPF_NOEXIST);
		p = bpf_map_lookup_elem(&pairs, &key);
	}
	if (!p) {
		ADD(dropped, 1);
		return;
	}
	ADD(p->batches, 1);
	ADD(p->blocks, blocks);
	ADD(p->bytes, bytes);
}

static __always_inline void on_push(struct regs *r)
{
	struct args_hakmem_remote_push a = read_hakmem_remote_push(r);
	struct owner_sums *o;

	count_pair(own_tid(), a.owner_tid, a.blocks, a.bytes);
	o = owner_of(a.owner_tid);
	if (!o)
		return;
	ADD(o->pushed_blocks, a.blocks);
	ADD(o->pushed_bytes, a.bytes);
	if (a.queue_was_empty)
		o->since_ns = bpf_ktime_get_ns();
}

static __always_inline __u32 log2_of(__u64 v)
{
	__u32 r = 0;

	for (__u32 s = 32; s; s >>= 1)
		if (v >> s) {
			v >>= s;
			r += s;
		}
	return r;
}

static __always_inline void count_wait(struct owner_sums *o)
{
	__u64 since = o->since_ns, now = bpf_ktime_get_ns();

	if (!since || since > now)
		return;
	o->since_ns = 0;
	ADD(o->waits, 1);
	ADD(o->wait_ns, now - since);
	ADD(o->hist[log2_of(now - since) & (REMOTE_HIST - 1)], 1);
	if (now - since > o->max_ns)
		o->max_ns = now - since; /* a queue is drained by one thread at a time */
}

static __always_inline void on_drain(struct regs *r)
{
	struct args_hakmem_remote_drain a = read_hakmem_remote_drain(r);
	__u32 tid = own_tid(), *helped = bpf_map_lookup_elem(&helps, &tid);
	struct owner_sums *o = owner_of(helped ? *helped : tid);

	if (o) {
		count_wait(o);
		ADD(o->drains, 1);
		ADD(o->drained_blocks, a.blocks);
		ADD(o->drained_bytes, a.bytes);
		if (helped)
			ADD(o->helped, 1);
		if (!from_start && o->drains == 1 && o->drained_blocks > o->pushed_blocks)
			o->before = o->drained_blocks - o->pushed_blocks;
	}
	if (helped)
		bpf_map_delete_elem(&helps, &tid);
}

/* They never reached the queue, so it is no older for that. */
static __always_inline void on_take(struct regs *r)
{
	struct args_hakmem_remote_take a = read_hakmem_remote_take(r);
	struct owner_sums *o = owner_of(a.owner_tid);

	if (!o)
		return;
	ADD(o->drained_blocks, a.blocks);
	ADD(o->drained_bytes, a.bytes);
}

static __always_inline void on_help(struct regs *r)
{
	struct args_hakmem_remote_help a = read_hakmem_remote_help(r);
	__u32 tid = own_tid(), owner = a.owner_tid;

	bpf_map_update_elem(&helps, &tid, &owner, BPF_ANY);
}

/* Its name goes with it. */
static __always_inline void on_exit(void)
{
	struct last_name name = {};
	__u32 tid = own_tid();

	bpf_get_current_comm(name.text, sizeof(name.text));
	bpf_map_update_elem(&names, &tid, &name, BPF_ANY);
}

static __always_inline void count(struct regs *r, __u64 id)
{
	switch (id) {
	case HAK_P_hakmem_remote_push:
		on_push(r);
		break;
	case HAK_P_hakmem_remote_drain:
		on_drain(r);
		break;
	case HAK_P_hakmem_remote_take:
		on_take(r);
		break;
	case HAK_P_hakmem_remote_help:
		on_help(r);
		break;
	case HAK_P_hakmem_thread_exit:
		on_exit();
		break;
	}
}

PROBE_PROGRAM(on_remote, count)

char LICENSE[] SEC("license") = "Dual MIT/GPL";
