/*
 * The library's side of the contract: expands probes.def to one function per probe,
 * hak_probe_NAME(args). Each is noinline and cold and holds the probe's only site, so a
 * consumer plants one breakpoint per probe and sees the same stack shape everywhere.
 *
 * The arguments are pinned to the registers of a System V call, in order. Consumers that parse
 * operands (perf, bpftrace, libbpf) and those that read registers get the same values.
 * (On aarch64 those of its first six arguments, x0 to x5.) The site is one plain nop, on x86-64 a
 * single byte: a five-byte one may lose its red zone to the kernel's optimised uprobes
 * (docs/DESIGN.md, "Probes").
 *
 * PROBES=0 turns every function into an empty inline.
 */
#ifndef HAK_PROBES_H
#define HAK_PROBES_H

#include "provider.h"
#include "shared.h"

typedef __u32 hak_u32;
typedef __u64 hak_u64;

#define HAK_ARG_T(t, n, unit, meaning) hak_##t n
#define HAK_PARAM(arg) HAK_ARG_T arg

#ifndef HAK_NO_PROBES
#define HAK_PROBE_FN __attribute__((cold))
#define HAK_PROBE_END ;
#else
#define HAK_PROBE_FN static inline
#define HAK_PROBE_END \
	{             \
	}
#endif

#define HAK_FN(prov, name) HAK_FN_(prov, name)
#define HAK_FN_(prov, name) HAK_PROBE_FN void hak_probe_##prov##_##name

#define HAK_PROBE1(p, n, when, a) HAK_FN(p, n)(HAK_PARAM(a)) HAK_PROBE_END
#define HAK_PROBE2(p, n, when, a, b) HAK_FN(p, n)(HAK_PARAM(a), HAK_PARAM(b)) HAK_PROBE_END
#define HAK_PROBE3(p, n, when, a, b, c) \
	HAK_FN(p, n)(HAK_PARAM(a), HAK_PARAM(b), HAK_PARAM(c)) HAK_PROBE_END
#define HAK_PROBE4(p, n, when, a, b, c, d) \
	HAK_FN(p, n)(HAK_PARAM(a), HAK_PARAM(b), HAK_PARAM(c), HAK_PARAM(d)) HAK_PROBE_END
#define HAK_PROBE5(p, n, when, a, b, c, d, e) \
	HAK_FN(p, n)                          \
	(HAK_PARAM(a), HAK_PARAM(b), HAK_PARAM(c), HAK_PARAM(d), HAK_PARAM(e)) HAK_PROBE_END
#define HAK_PROBE6(p, n, when, a, b, c, d, e, f)                                             \
	HAK_FN(p, n)                                                                         \
	(HAK_PARAM(a), HAK_PARAM(b), HAK_PARAM(c), HAK_PARAM(d), HAK_PARAM(e), HAK_PARAM(f)) \
		HAK_PROBE_END
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "probes.def"
#pragma GCC diagnostic pop
#undef HAK_PROBE1
#undef HAK_PROBE2
#undef HAK_PROBE3
#undef HAK_PROBE4
#undef HAK_PROBE5
#undef HAK_PROBE6

/*
 * Somebody is attached to a probe that has a semaphore. 0 while not; the system changes it at any
 * time. In the child of a fork it stays as it was until whoever is attached to the parent goes.
 */
#define HAK_SEMAPHORE_NAME(p, n) HAK_SEMAPHORE_NAME_(p, n)
#define HAK_SEMAPHORE_NAME_(p, n) p##_##n##_semaphore
#ifndef HAK_NO_PROBES
#define HAK_EXTERN_SEMAPHORE(p, n) \
	extern __attribute__((visibility("hidden"))) unsigned short HAK_SEMAPHORE_NAME(p, n);
HAK_EXTERN_SEMAPHORE(HAK_PROVIDER(otel_memory), alloc)
HAK_EXTERN_SEMAPHORE(hakmem, sample_bit0)
HAK_EXTERN_SEMAPHORE(hakmem, sample_bit1)
HAK_EXTERN_SEMAPHORE(hakmem, sample_bit2)
HAK_EXTERN_SEMAPHORE(hakmem, sample_bit3)
HAK_EXTERN_SEMAPHORE(hakmem, sample_bit4)
HAK_EXTERN_SEMAPHORE(hakmem, watch_sites)
#define hak_watched(p, n) \
	(__atomic_load_n(&HAK_SEMAPHORE_NAME(HAK_PROVIDER(p), n), __ATOMIC_RELAXED) != 0)
#else
#define hak_watched(p, n) 0
#endif

#endif
