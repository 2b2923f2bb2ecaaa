/* The compiler seam: hints, named atomics, and the only way to die. */
#ifndef HAK_BASE_H
#define HAK_BASE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define HAK_COLD __attribute__((noinline, cold))
#define HAK_NOINLINE __attribute__((noinline))
#define HAK_INLINE static inline __attribute__((always_inline))
/* on a declaration: no other library can define it, so no table leads to it */
#define HAK_HIDDEN __attribute__((visibility("hidden")))
#define HAK_EXPORT __attribute__((visibility("default")))
#define HAK_CACHE_LINE 64

/* Loads p where a function returns it, so that returning it is no instruction of its own. */
#if defined(__x86_64__)
#define in_result(p) __asm__("" : "+a"(p))
#else /* elsewhere the first argument is there */
#define in_result(p) ((void)(p))
#endif

/*
 * Atomics by meaning. A "count" is written by one thread and read by any at any time: a plain
 * memory operand in the code, no tearing on the machines we build for, and no order promised.
 */
#define peek(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define poke(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define load_seq_cst(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define swap_acq_rel(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
#define add_relaxed(p, v) ((void)__atomic_fetch_add((p), (v), __ATOMIC_RELAXED))
#define sub_relaxed(p, v) ((void)__atomic_fetch_sub((p), (v), __ATOMIC_RELAXED))

/* count += v for a single-writer count: one instruction, except where TSan must see it. */
#ifdef __SANITIZE_THREAD__
#define HAK_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAK_TSAN 1
#endif
#endif
/* Keeps the compiler from swapping two counts; readers elsewhere rely on their order. */
#define count_order() __atomic_signal_fence(__ATOMIC_RELEASE)
#ifdef HAK_TSAN
#define count_add(p, v) poke((p), peek(p) + (v))
#define count_set(p, v) poke((p), (v))
#define count_get(p) peek(p)
#else
#define count_get(p) (*(p))
#define count_add(p, v) ((void)(*(p) += (v)))
#define count_set(p, v) ((void)(*(p) = (v)))
#endif

HAK_INLINE size_t align_up(size_t n, size_t to)
{
	return (n + to - 1) & ~(to - 1);
}

HAK_INLINE bool is_pow2(size_t n)
{
	return n && !(n & (n - 1));
}

/* How many bits are set from bit `first` on, up to the next that is not. */
HAK_INLINE unsigned bits_set_from(uint64_t mask, unsigned first)
{
	uint64_t rest = ~(mask >> first);

	return rest ? (unsigned)__builtin_ctzll(rest) : 64 - first;
}

/* Checks that stay in every build: cheap, on slow paths only. */
#define hak_assert(cond)                                 \
	do {                                             \
		if (unlikely(!(cond)))                   \
			hak_die_assert(#cond, __func__); \
	} while (0)

/* The same, in the debug build only. */
#ifdef HAK_DEBUG
#define hak_debug_assert(cond) hak_assert(cond)
#else
#define hak_debug_assert(cond) ((void)0)
#endif

_Noreturn void hak_die_assert(const char *cond, const char *where);

#endif
