/* Last words: one line by write(2), no stdio, no allocation. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct line {
	char text[256];
	size_t len;
};

static void put(struct line *l, const char *s)
{
	while (*s && l->len < sizeof(l->text) - 1)
		l->text[l->len++] = *s++;
}

static void put_number(struct line *l, uint64_t n, unsigned base)
{
	char digits[24];
	unsigned i = sizeof(digits);

	digits[--i] = 0;
	do
		digits[--i] = "0123456789abcdef"[n % base];
	while ((n /= base) && i);
	put(l, digits + i);
}

/*
 * Not by write(2)'s wrapper, where a cancelled thread ends: a message may be said with locks held,
 * and with HAKMEM_ABORT=0 what said it goes on.
 */
static void send(struct line *l)
{
	l->text[l->len++] = '\n';
	while (os_write(STDERR_FILENO, l->text, l->len) == -EINTR)
		;
}

/* "hakmem: text[number][more]"; number UINT64_MAX is left out. */
void hak_say(const char *text, uint64_t number, const char *more)
{
	struct line l = {.len = 0};

	put(&l, "hakmem: ");
	put(&l, text);
	if (number != UINT64_MAX)
		put_number(&l, number, 10);
	put(&l, more);
	send(&l);
}

HAK_COLD void hak_misuse(const void *p, enum hak_misuse kind, const char *who)
{
#define TEXT_(id, text) text,
	static const char *const texts[] = {HAK_MISUSES(TEXT_)};
	struct line l = {.len = 0};

	put(&l, "hakmem: ");
	put(&l, who);
	put(&l, "(0x");
	put_number(&l, (uintptr_t)p, 16);
	put(&l, "): ");
	put(&l, texts[kind]);
	send(&l);
	/* of two at once any may stay: each has its line above */
	poke(&hakmem_root.misuse.addr, (uint64_t)(uintptr_t)p);
	poke(&hakmem_root.misuse.kind, (uint32_t)kind);
	poke(&hakmem_root.misuse.tid, os_tid());
	add_relaxed(&hakmem_root.os.misuses, 1);
	hak_probe_hakmem_misuse((uintptr_t)p, kind);
	if (hak_options.abort)
		abort();
}

HAK_COLD _Noreturn void hak_die_assert(const char *cond, const char *where)
{
	struct line l = {.len = 0};

	put(&l, "hakmem: heap is corrupt, found in ");
	put(&l, where);
	put(&l, ": not ");
	put(&l, cond);
	send(&l);
	hak_probe_hakmem_misuse(0, HAK_MISUSE_CORRUPT);
	abort();
}

HAK_COLD void *hak_oom(size_t bytes, enum hak_oom_reason why)
{
	add_relaxed(&hakmem_root.os.ooms, 1);
	hak_probe_hakmem_oom(bytes, why);
	errno = ENOMEM;
	return NULL;
}
