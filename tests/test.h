/*
 * The few lines every C test needs. A test is a list of cases; a case fails by CHECK, and every
 * case prints one line "ok - name" or "not ok - name". Nothing here allocates, so that counters
 * can be compared across a check.
 */
#ifndef TEST_H
#define TEST_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif
#ifndef TEST_SANITIZED
#define TEST_SANITIZED 0
#endif

static unsigned test_bad __attribute__((unused));    /* failed checks of this case */
static unsigned test_failed __attribute__((unused)); /* failed cases */

/* Formats on the stack: dprintf would allocate. */
__attribute__((format(printf, 1, 2))) static inline void test_say(const char *format, ...)
{
	char line[512];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n > (int)sizeof(line) - 1)
		n = sizeof(line) - 1;
	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		_exit(1);
}

/* Records a failure and goes on; safe in any thread. */
#define CHECK(cond) ((cond) ? true : (test_fail(__FILE__, __LINE__, #cond), false))

static inline void test_fail(const char *file, int line, const char *what)
{
	/* the first few tell the story */
	if (__atomic_fetch_add(&test_bad, 1, __ATOMIC_RELAXED) < 10)
		test_say("# %s:%d: not %s\n", file, line, what);
}

/* The same with the two numbers. */
#define CHECK_EQ(a, b) test_eq(__FILE__, __LINE__, #a " == " #b, (intmax_t)(a), (intmax_t)(b))

static inline bool test_eq(const char *file, int line, const char *what, intmax_t a, intmax_t b)
{
	if (a == b)
		return true;
	test_fail(file, line, what);
	test_say("#   %jd and %jd\n", a, b);
	return false;
}

#define RUN(fn) test_run(#fn, fn)

static inline void test_run(const char *name, void (*fn)(void))
{
	test_bad = 0;
	fn();
	test_say("%s - %s\n", test_bad ? "not ok" : "ok", name);
	test_failed += test_bad != 0;
}

static inline int test_done(void)
{
	if (test_failed)
		test_say("%u cases failed\n", test_failed);
	return test_failed ? 1 : 0;
}

/* Keeps the compiler from knowing a value, and so from removing or warning about calls. */
#define HIDE(v)                                       \
	({                                            \
		__typeof__((v) + 0) hidden_ = (v);    \
		__asm__ volatile("" : "+r"(hidden_)); \
		hidden_;                              \
	})

/* Bytes of this process in memory now. */
static inline size_t test_rss(void)
{
	char text[128];
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	char *p = text;

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return 0;
	text[n] = 0;
	strtoul(p, &p, 10);
	return strtoul(p, NULL, 10) * 4096;
}

/* A small generator: the same numbers in every run. */
static inline uint32_t test_random(uint64_t *state)
{
	*state = *state * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(*state >> 33);
}

/* A byte pattern that depends on the block and its size: misplaced or shared bytes show. */
static inline void test_fill(void *p, size_t n, uint32_t seed)
{
	unsigned char *b = (unsigned char *)p;

	for (size_t i = 0; i < n; i++)
		b[i] = (unsigned char)(seed + i * 7);
}

static inline bool test_verify(const void *p, size_t n, uint32_t seed)
{
	const unsigned char *b = (const unsigned char *)p;

	for (size_t i = 0; i < n; i++)
		if (b[i] != (unsigned char)(seed + i * 7))
			return false;
	return true;
}

#endif
