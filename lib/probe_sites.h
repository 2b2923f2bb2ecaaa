/*
 * The probes' sites: one function each, expanded from probes/probes.def. Included twice:
 * <sys/sdt.h> makes either all sites of a file with a semaphore or none. HAK_SEMAPHORES says which:
 * 0 or 1.
 */
#define STAP_SDT_ARG_CONSTRAINT nr
#if HAK_SEMAPHORES
#define _SDT_HAS_SEMAPHORES 1 /* NOLINT(bugprone-reserved-identifier): its name for it */
#endif
#include <sys/sdt.h>

#include "probes.h"

#undef HAK_PARAM
#define HAK_PARAM(arg) HAK_ARG_T arg
#define HAK_TYPE_(t, n, u, m) hak_##t
#define HAK_NAME_(t, n, u, m) n

/* A register variable is the one way to tell the compiler which register an operand is in. */
#if defined(__x86_64__)
#define HAK_REG1 "rdi"
#define HAK_REG2 "rsi"
#define HAK_REG3 "rdx"
#define HAK_REG4 "rcx"
#define HAK_REG5 "r8"
#define HAK_REG6 "r9"
#elif defined(__aarch64__)
#define HAK_REG1 "x0"
#define HAK_REG2 "x1"
#define HAK_REG3 "x2"
#define HAK_REG4 "x3"
#define HAK_REG5 "x4"
#define HAK_REG6 "x5"
#else
#error "the registers that a call's first six arguments are in"
#endif
/* clang-format never agrees with itself on these */
/* clang-format off */
/* HAK_HERE(...): its arguments if HAK_SEM, at that place of probes.def, is HAK_SEMAPHORES. */
#define HAK_CAT_(a, b, c) a##b##c
#define HAK_CAT(a, b, c) HAK_CAT_(a, b, c)
#define HAK_HERE_00(...) __VA_ARGS__
#define HAK_HERE_11(...) __VA_ARGS__
#define HAK_HERE_01(...)
#define HAK_HERE_10(...)
#define HAK_HERE(...) HAK_CAT(HAK_HERE_, HAK_SEMAPHORES, HAK_SEM)(__VA_ARGS__)

#define HAK_PIN(i, arg) register HAK_TYPE_ arg r##i __asm__(HAK_REG##i) = HAK_NAME_ arg;

#define HAK_BODY(p, n) __attribute__((noinline, cold, used)) void hak_probe_##p##_##n

#define HAK_PROBE1(p, n, when, a) HAK_HERE(HAK_BODY(p, n)(HAK_PARAM(a)) \
	{ \
		HAK_PIN(1, a) \
		STAP_PROBE1(HAK_PROVIDER(p), n, r1); \
	})
#define HAK_PROBE2(p, n, when, a, b) HAK_HERE(HAK_BODY(p, n)(HAK_PARAM(a), HAK_PARAM(b)) \
	{ \
		HAK_PIN(1, a) HAK_PIN(2, b) \
		STAP_PROBE2(HAK_PROVIDER(p), n, r1, r2); \
	})
#define HAK_PROBE3(p, n, when, a, b, c) HAK_HERE(HAK_BODY(p, n)(HAK_PARAM(a), HAK_PARAM(b), HAK_PARAM(c)) \
	{ \
		HAK_PIN(1, a) HAK_PIN(2, b) HAK_PIN(3, c) \
		STAP_PROBE3(HAK_PROVIDER(p), n, r1, r2, r3); \
	})
#define HAK_PROBE4(p, n, when, a, b, c, d) HAK_HERE(HAK_BODY(p, n)(HAK_PARAM(a), HAK_PARAM(b), HAK_PARAM(c), HAK_PARAM(d)) \
	{ \
		HAK_PIN(1, a) HAK_PIN(2, b) HAK_PIN(3, c) HAK_PIN(4, d) \
		STAP_PROBE4(HAK_PROVIDER(p), n, r1, r2, r3, r4); \
	})
#define HAK_PROBE5(p, n, when, a, b, c, d, e) HAK_HERE(HAK_BODY(p, n)(HAK_PARAM(a), HAK_PARAM(b), HAK_PARAM(c), HAK_PARAM(d), HAK_PARAM(e)) \
	{ \
		HAK_PIN(1, a) HAK_PIN(2, b) HAK_PIN(3, c) HAK_PIN(4, d) HAK_PIN(5, e) \
		STAP_PROBE5(HAK_PROVIDER(p), n, r1, r2, r3, r4, r5); \
	})
#define HAK_PROBE6(p, n, when, a, b, c, d, e, f) HAK_HERE(HAK_BODY(p, n)(HAK_PARAM(a), HAK_PARAM(b), HAK_PARAM(c), HAK_PARAM(d), HAK_PARAM(e), HAK_PARAM(f)) \
	{ \
		HAK_PIN(1, a) HAK_PIN(2, b) HAK_PIN(3, c) HAK_PIN(4, d) HAK_PIN(5, e) HAK_PIN(6, f) \
		STAP_PROBE6(HAK_PROVIDER(p), n, r1, r2, r3, r4, r5, r6); \
	})
/* clang-format on */
#include "probes.def"
