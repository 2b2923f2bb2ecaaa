/*
 * Every C++ operator new and delete, in C, by their mangled names (size_t is unsigned long on
 * the machines we build for). libstdc++ is not needed: where the program has it, its new-handler
 * is called and bad_alloc thrown; where it has not, running out of memory in a throwing new ends
 * the process with a message.
 */
#include "alloc.h"

#include <dlfcn.h>
#include <stdlib.h>

_Static_assert(sizeof(size_t) == sizeof(unsigned long), "mangled names below say m");

typedef void (*new_handler)(void);
extern new_handler _ZSt15get_new_handlerv(void) __attribute__((weak));
extern void _ZSt17__throw_bad_allocv(void) __attribute__((weak, noreturn));

/* What a static program that catches bad_alloc has of libstdc++, if not the function above. */
extern void *__cxa_allocate_exception(size_t) __attribute__((weak));
extern void __cxa_throw(void *, const void *, void (*)(void *)) __attribute__((weak, noreturn));
extern const void *const _ZTVSt9bad_alloc[] __attribute__((weak));
extern const char _ZTISt9bad_alloc[] __attribute__((weak));
extern void _ZNSt9bad_allocD1Ev(void *) __attribute__((weak));

typedef new_handler (*get_handler_fn)(void);
typedef void (*throw_fn)(void);

/*
 * dlopen by name: a reference, weak or not, would make ld warn about every static program. With
 * libc inside a static program dlsym is usually absent too.
 */
#pragma weak dlsym

/*
 * A function of libstdc++ that was brought in by a library dlopened later, perhaps out of
 * everybody's sight. dlopen may allocate, hence the order of things in new_failed; out of memory
 * for a large block there is usually enough for that.
 */
static void *late(const char *name)
{
	union {
		void *p;
		void *(*call)(const char *, int);
	} open;
	void *handle;

	open.p = dlsym ? dlsym(RTLD_DEFAULT, "dlopen") : NULL;
	handle = open.p ? open.call("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD) : NULL;
	/* never closed: it is only one more reference to a library that stays anyway */
	return handle ? dlsym(handle, name) : NULL;
}

/* Calls the new-handler, which may free memory, throw, or end the program. */
static bool handled(void)
{
	get_handler_fn get = _ZSt15get_new_handlerv;
	new_handler handler;

	if (!get)
		get = (get_handler_fn)(uintptr_t)late("_ZSt15get_new_handlerv");
	handler = get ? get() : NULL;
	if (!handler)
		return false;
	handler();
	return true;
}

/* throw std::bad_alloc(): an object that is one pointer, behind the table's two first entries. */
static void throw_bad_alloc(void)
{
	const void **object;

	if (!__cxa_allocate_exception || !__cxa_throw || !_ZTVSt9bad_alloc || !_ZTISt9bad_alloc)
		return;
	object = __cxa_allocate_exception(sizeof(void *));
	*object = _ZTVSt9bad_alloc + 2;
	__cxa_throw(object, _ZTISt9bad_alloc, _ZNSt9bad_allocD1Ev);
}

static HAK_COLD void *new_failed(size_t alignment, size_t bytes)
{
	throw_fn fail = _ZSt17__throw_bad_allocv;
	void *p = NULL;

	while (!p && is_pow2(alignment) && handled())
		p = alloc_aligned(alignment, bytes);
	if (p)
		return p;
	if (!fail)
		fail = (throw_fn)(uintptr_t)late("_ZSt17__throw_bad_allocv");
	if (fail)
		fail();
	throw_bad_alloc();
	hak_say("out of memory in operator new, bytes: ", bytes, "");
	abort();
}

/*
 * A new-handler may throw, which only C++ can catch: libstdc++'s own nothrow operators call the
 * throwing ones, which are ours, and return NULL for an exception. Without a handler there is
 * nothing to catch. The static library keeps these four to itself (Makefile): a static program
 * has libstdc++'s, there is no way to find both.
 */
static HAK_COLD void *new_failed_nothrow(size_t alignment, size_t bytes)
{
	static const char nothrow; /* an empty class: any address will do */
	get_handler_fn get = _ZSt15get_new_handlerv;
	union {
		void *p;
		void *(*plain)(size_t, const void *);
		void *(*aligned)(size_t, size_t, const void *);
	} theirs;

	if (!get)
		get = (get_handler_fn)(uintptr_t)late("_ZSt15get_new_handlerv");
	if (!get || !get())
		return NULL;
	theirs.p = late(alignment > HAK_ALIGN ? "_ZnwmSt11align_val_tRKSt9nothrow_t"
					      : "_ZnwmRKSt9nothrow_t");
	if (!theirs.p)
		return NULL;
	return alignment > HAK_ALIGN ? theirs.aligned(bytes, alignment, &nothrow)
				     : theirs.plain(bytes, &nothrow);
}

HAK_INLINE void *new_plain(size_t bytes)
{
	void *p = alloc_fast(bytes);

	return likely(p != NULL) ? p : new_failed(HAK_ALIGN, bytes);
}

/* As in libstdc++, an alignment that is none is as good as no memory. */
HAK_INLINE void *aligned_or_null(size_t alignment, size_t bytes)
{
	return likely(is_pow2(alignment)) ? alloc_aligned(alignment, bytes) : NULL;
}

HAK_INLINE void *new_aligned(size_t bytes, size_t alignment)
{
	void *p = aligned_or_null(alignment, bytes);

	return likely(p != NULL) ? p : new_failed(alignment, bytes);
}

HAK_INLINE void *new_nothrow(size_t bytes)
{
	void *p = alloc_fast(bytes);

	return likely(p != NULL) ? p : new_failed_nothrow(HAK_ALIGN, bytes);
}

HAK_INLINE void *new_aligned_nothrow(size_t bytes, size_t alignment)
{
	void *p = aligned_or_null(alignment, bytes);

	return likely(p != NULL) ? p : new_failed_nothrow(alignment, bytes);
}

#define NEW(name, params, call)       \
	HAK_EXPORT void *name params; \
	HAK_EXPORT void *name params  \
	{                             \
		return call;          \
	}
#define DELETE(name, ...)                             \
	HAK_EXPORT void name(void *p, ##__VA_ARGS__); \
	HAK_EXPORT void name(void *p, ##__VA_ARGS__)  \
	{                                             \
		free_fast(p);                         \
	}

#pragma GCC diagnostic ignored "-Wunused-parameter"

NEW(_Znwm, (size_t n), new_plain(n))
NEW(_Znam, (size_t n), new_plain(n))
NEW(_ZnwmRKSt9nothrow_t, (size_t n, const void *t), new_nothrow(n))
NEW(_ZnamRKSt9nothrow_t, (size_t n, const void *t), new_nothrow(n))
NEW(_ZnwmSt11align_val_t, (size_t n, size_t a), new_aligned(n, a))
NEW(_ZnamSt11align_val_t, (size_t n, size_t a), new_aligned(n, a))
NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, (size_t n, size_t a, const void *t),
    new_aligned_nothrow(n, a))
NEW(_ZnamSt11align_val_tRKSt9nothrow_t, (size_t n, size_t a, const void *t),
    new_aligned_nothrow(n, a))
DELETE(_ZdlPv)
DELETE(_ZdaPv)
DELETE(_ZdlPvm, size_t n)
DELETE(_ZdaPvm, size_t n)
DELETE(_ZdlPvRKSt9nothrow_t, const void *t)
DELETE(_ZdaPvRKSt9nothrow_t, const void *t)
DELETE(_ZdlPvSt11align_val_t, size_t a)
DELETE(_ZdaPvSt11align_val_t, size_t a)
DELETE(_ZdlPvmSt11align_val_t, size_t n, size_t a)
DELETE(_ZdaPvmSt11align_val_t, size_t n, size_t a)
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, size_t a, const void *t)
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, size_t a, const void *t)
