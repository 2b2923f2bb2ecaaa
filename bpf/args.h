/*
 * What every BPF program here shares: the arguments of probes by name and type, expanded from
 * probes.def.
 *
 *   struct args_hakmem_refill a = read_hakmem_refill(regs);   then a.class, a.got ...
 */
#ifndef HAK_BPF_ARGS_H
#define HAK_BPF_ARGS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "probe_ids.h"
#include "regs.h"
#include "shared.h"

typedef __u32 hak_u32;
typedef __u64 hak_u64;

#define ADD(field, v) ((void)__sync_fetch_and_add(&(field), (v)))

/* All six, whichever of them the probe has. */
static __always_inline void copy_args(__u64 arg[6], const struct regs *r)
{
	arg[0] = r->di;
	arg[1] = r->si;
	arg[2] = r->dx;
	arg[3] = r->cx;
	arg[4] = r->r8;
	arg[5] = r->r9;
}

#define FIELD_(t, n, u, m) hak_##t n;
#define FIELD(arg) FIELD_ arg
#define FROM_(t, n, u, m) .n = (hak_##t)
#define FROM(arg) FROM_ arg
#define READER(p, n, fields, values)                                                \
	struct args_##p##_##n {                                                     \
		fields                                                              \
	};                                                                          \
	static __always_inline struct args_##p##_##n read_##p##_##n(struct regs *r) \
	{                                                                           \
		return (struct args_##p##_##n){values};                             \
	}
#define COMMA ,
#define HAK_PROBE1(p, n, w, a) READER(p, n, FIELD(a), FROM(a) r->di)
#define HAK_PROBE2(p, n, w, a, b) READER(p, n, FIELD(a) FIELD(b), FROM(a) r->di COMMA FROM(b) r->si)
#define HAK_PROBE3(p, n, w, a, b, c)             \
	READER(p, n, FIELD(a) FIELD(b) FIELD(c), \
	       FROM(a) r->di COMMA FROM(b) r->si COMMA FROM(c) r->dx)
#define HAK_PROBE4(p, n, w, a, b, c, d)                   \
	READER(p, n, FIELD(a) FIELD(b) FIELD(c) FIELD(d), \
	       FROM(a) r->di COMMA FROM(b) r->si COMMA FROM(c) r->dx COMMA FROM(d) r->cx)
#define HAK_PROBE5(p, n, w, a, b, c, d, e)                                         \
	READER(p, n, FIELD(a) FIELD(b) FIELD(c) FIELD(d) FIELD(e),                 \
	       FROM(a) r->di COMMA FROM(b) r->si COMMA FROM(c) r->dx COMMA FROM(d) \
		       r->cx COMMA FROM(e) r->r8)
#define HAK_PROBE6(p, n, w, a, b, c, d, e, f)                                      \
	READER(p, n, FIELD(a) FIELD(b) FIELD(c) FIELD(d) FIELD(e) FIELD(f),        \
	       FROM(a) r->di COMMA FROM(b) r->si COMMA FROM(c) r->dx COMMA FROM(d) \
		       r->cx COMMA FROM(e) r->r8 COMMA FROM(f) r->r9)
#include "probes.def"

#undef HAK_PROBE1
#undef HAK_PROBE2
#undef HAK_PROBE3
#undef HAK_PROBE4
#undef HAK_PROBE5
#undef HAK_PROBE6

#endif
