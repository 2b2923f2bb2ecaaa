/*
 * A system with larger OS pages, as far as the allocator meets it: preloaded before libhakmem.
 * OS_PAGE bytes each. As such a kernel does, addresses that are not at a page are refused, lengths
 * are rounded up to pages, and mappings begin at pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static size_t page_bytes(void)
{
	static size_t bytes;

	if (!bytes) {
		const char *s = getenv("OS_PAGE");

		bytes = s ? strtoul(s, NULL, 10) : 65536;
	}
	return bytes;
}

static size_t round_up(size_t n)
{
	return (n + page_bytes() - 1) & ~(page_bytes() - 1);
}

static int is_off(const void *p)
{
	return ((uintptr_t)p & (page_bytes() - 1)) != 0;
}

static long refuse(void)
{
	errno = EINVAL;
	return -1;
}

/* By more than is needed, and what is too much goes back. */
static void *map_anywhere(size_t bytes, int prot, int flags, int fd, off_t at)
{
	size_t total = bytes + page_bytes();
	uintptr_t p = (uintptr_t)syscall(SYS_mmap, NULL, total, prot, flags, fd, at), start;

	if (p == (uintptr_t)MAP_FAILED)
		return MAP_FAILED;
	start = round_up(p);
	if (start > p)
		syscall(SYS_munmap, p, start - p);
	if (p + total > start + bytes)
		syscall(SYS_munmap, start + bytes, p + total - start - bytes);
	return (void *)start;
}

void *mmap(void *hint, size_t bytes, int prot, int flags, int fd, off_t at)
{
	bytes = round_up(bytes);
	if (!(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
		return map_anywhere(bytes, prot, flags, fd, at);
	if (is_off(hint))
		return (void *)refuse();
	return (void *)syscall(SYS_mmap, hint, bytes, prot, flags, fd, at);
}

int munmap(void *p, size_t bytes)
{
	return (int)(is_off(p) ? refuse() : syscall(SYS_munmap, p, round_up(bytes)));
}

int mprotect(void *p, size_t bytes, int prot)
{
	return (int)(is_off(p) ? refuse() : syscall(SYS_mprotect, p, round_up(bytes), prot));
}

int madvise(void *p, size_t bytes, int advice)
{
	return (int)(is_off(p) ? refuse() : syscall(SYS_madvise, p, round_up(bytes), advice));
}

void *mremap(void *from, size_t old, size_t bytes, int flags, ...)
{
	va_list args;
	void *to;

	va_start(args, flags);
	to = flags & MREMAP_FIXED ? va_arg(args, void *) : NULL;
	va_end(args);
	if (is_off(from) || is_off(to))
		return (void *)refuse();
	return (void *)syscall(SYS_mremap, from, round_up(old), round_up(bytes), flags, to);
}

/* The same for what the kernel tells of itself; read anew, since it is asked before libc is up. */
unsigned long getauxval(unsigned long type)
{
	unsigned long pair[2], value = 0;
	int fd;

	if (type == AT_PAGESZ)
		return page_bytes();
	fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/auxv", O_RDONLY, 0);
	while (fd >= 0 && syscall(SYS_read, fd, pair, sizeof(pair)) == sizeof(pair) && pair[0])
		if (pair[0] == type)
			value = pair[1];
	if (fd >= 0)
		syscall(SYS_close, fd);
	return value;
}
