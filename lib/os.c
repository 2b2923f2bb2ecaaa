/* Every system call the allocator makes. No policy; each call fires its probe and is counted. */
#include "internal.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/* Where the clock takes a system call it may be refused: then no time passes. errno is kept. */
static struct timespec now(clockid_t clock)
{
	struct timespec t = {0};
	int saved = errno;

	if (unlikely(clock_gettime(clock, &t)))
		errno = saved;
	return t;
}

uint64_t os_now_ns(void)
{
	struct timespec t = now(CLOCK_MONOTONIC);

	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

uint64_t os_now_ms(void)
{
	/* coarse: a few ns, no better than the scheduler's tick, enough for decay */
	struct timespec t = now(CLOCK_MONOTONIC_COARSE);

	return (uint64_t)t.tv_sec * 1000U + (uint64_t)t.tv_nsec / 1000000U;
}

uint32_t os_tid(void)
{
	return (uint32_t)syscall(SYS_gettid);
}

void os_futex(uint32_t *word, int op, uint32_t value)
{
	int saved = errno;

	syscall(SYS_futex, word, op, value, NULL, NULL, 0);
	errno = saved;
}

static void *map_flags(void *hint, size_t bytes, int prot, int flags, enum hak_os_reason why)
{
	int saved = errno;
	uint64_t start = os_now_ns();
	void *p = mmap(hint, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	uint64_t ns = os_now_ns() - start;

	if (p == MAP_FAILED)
		p = NULL;
	errno = saved;
	add_relaxed(&hakmem_root.os.maps, 1);
	if (p)
		add_relaxed(&hakmem_root.os.map_bytes, bytes);
	hak_probe_hakmem_os_map((uintptr_t)p, bytes, why, ns);
	return p;
}

/* Fresh zeroed memory, or NULL. bytes: a multiple of the OS page. errno is kept. */
void *os_map(size_t bytes, enum hak_os_reason why)
{
	return map_flags(NULL, bytes, PROT_READ | PROT_WRITE, 0, why);
}

/* The same at `hint` exactly, or NULL if that range is taken. */
void *os_map_at(void *hint, size_t bytes, enum hak_os_reason why)
{
	void *p = map_flags(hint, bytes, PROT_READ | PROT_WRITE, MAP_FIXED_NOREPLACE, why);

	if (p && p != hint) { /* kernels before 4.17 take it for a mere hint */
		os_unmap(p, bytes, why);
		return NULL;
	}
	return p;
}

/*
 * The same with a page before and after that cannot be touched, so that no write that runs on
 * from elsewhere gets in. To be unmapped with them: see os_unmap_guarded.
 */
void *os_map_guarded(size_t bytes, enum hak_os_reason why)
{
	char *p = map_flags(NULL, bytes + 2 * HAK_OS_PAGE, PROT_NONE, 0, why);

	if (!p)
		return NULL;
	if (os_commit(p + HAK_OS_PAGE, bytes))
		return p + HAK_OS_PAGE;
	os_unmap(p, bytes + 2 * HAK_OS_PAGE, why);
	return NULL;
}

void os_unmap_guarded(void *p, size_t bytes, enum hak_os_reason why)
{
	os_unmap((char *)p - HAK_OS_PAGE, bytes + 2 * HAK_OS_PAGE, why);
}

/* From now on whoever touches it faults. False if refused. */
bool os_guard(void *p, size_t bytes)
{
	int saved = errno;
	bool done = !mprotect(p, bytes, PROT_NONE);

	errno = saved;
	return done;
}

/* The same, and its memory goes back to the system. */
void os_hide(void *p, size_t bytes)
{
	int saved = errno;
	void *q = mmap(p, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
		       -1, 0);

	errno = saved;
	add_relaxed(&hakmem_root.os.maps, 1);
	if (q == MAP_FAILED) {
		os_guard(p, bytes);
		os_purge(p, bytes, HAK_OS_LARGE);
	}
}

/* 0 where the system gives none. */
uint64_t os_random(void)
{
	int saved = errno;
	uint64_t x;
	bool done = syscall(SYS_getrandom, &x, sizeof(x), 1 /* do not wait */) == sizeof(x);

	errno = saved;
	return done ? x : 0;
}

/* Bytes of memory the machine has; 0 if it does not say. */
size_t os_ram_bytes(void)
{
	struct sysinfo s;

	return sysinfo(&s) ? 0 : (size_t)s.totalram * s.mem_unit;
}

/* Bytes of address space the process may have; SIZE_MAX if that is not limited. */
size_t os_space_limit(void)
{
	struct rlimit r;

	return getrlimit(RLIMIT_AS, &r) || r.rlim_cur == RLIM_INFINITY ? SIZE_MAX : r.rlim_cur;
}

/* Address space that reads as zero and takes no memory; NULL if refused. errno is kept. */
void *os_reserve(size_t bytes)
{
	return map_flags(NULL, bytes, PROT_READ, MAP_NORESERVE, HAK_OS_META);
}

/* Makes part of it writable. */
bool os_commit(void *p, size_t bytes)
{
	int saved = errno;
	bool done = !mprotect(p, bytes, PROT_READ | PROT_WRITE);

	errno = saved;
	return done;
}

/*
 * Ranges the system would not unmap: it may have to split a mapping, and refuses when there are as
 * many as it allows (vm.max_map_count). Without their memory, and tried again later. A range for
 * which there is no room here stays mapped, empty.
 */
#define OWED 4096U
#define TAKEN ((void *)1) /* by whoever writes or tries it */
static struct {
	void *xp;
	size_t bytes;
} owed[OWED];
static uint32_t xowed; /* about how many */

static void owe(void *p, size_t bytes)
{
	os_purge(p, bytes, HAK_OS_TRIM);
	for (unsigned i = 0; i < OWED; i++) {
		void *none = NULL;

		if (!__atomic_compare_exchange_n(&owed[i].xp, &none, TAKEN, false, __ATOMIC_ACQUIRE,
						 __ATOMIC_RELAXED))
			continue;
		owed[i].bytes = bytes;
		add_relaxed(&xowed, 1);
		store_release(&owed[i].xp, p); /* with its length */
		return;
	}
}

static bool unmap(void *p, size_t bytes, enum hak_os_reason why)
{
	int saved = errno;
	uint64_t start = os_now_ns();
	int failed = munmap(p, bytes);
	uint64_t ns = os_now_ns() - start;

	errno = saved;
	add_relaxed(&hakmem_root.os.unmaps, 1);
	if (!failed)
		add_relaxed(&hakmem_root.os.unmap_bytes, bytes);
	hak_probe_hakmem_os_unmap((uintptr_t)p, bytes, why, ns);
	return !failed;
}

/* Up to `most` of the ranges owed are unmapped; ends with the first that is refused again. */
void os_settle(unsigned most)
{
	for (unsigned i = 0; i < OWED && most && peek(&xowed); i++) {
		void *p = peek(&owed[i].xp);

		/* acquire: its length */
		if (!p || p == TAKEN ||
		    !__atomic_compare_exchange_n(&owed[i].xp, &p, TAKEN, false, __ATOMIC_ACQUIRE,
						 __ATOMIC_RELAXED))
			continue;
		if (!unmap(p, owed[i].bytes, HAK_OS_TRIM)) {
			store_release(&owed[i].xp, p);
			return;
		}
		store_release(&owed[i].xp, NULL);
		sub_relaxed(&xowed, 1);
		most--;
	}
}

void os_unmap(void *p, size_t bytes, enum hak_os_reason why)
{
	if (unlikely(!unmap(p, bytes, why)))
		owe(p, bytes);
	else if (unlikely(peek(&xowed)))
		os_settle(1);
}

/* Gives the memory back, keeps the range, which reads as zero afterwards. False if refused. */
bool os_purge(void *p, size_t bytes, enum hak_os_reason why)
{
	int saved = errno;
	uint64_t start = os_now_ns();
	int failed = madvise(p, bytes, MADV_DONTNEED);
	uint64_t ns = os_now_ns() - start;

	errno = saved;
	add_relaxed(&hakmem_root.os.purges, 1);
	if (!failed)
		add_relaxed(&hakmem_root.os.purge_bytes, bytes);
	hak_probe_hakmem_os_purge((uintptr_t)p, bytes, why, ns);
	return !failed;
}

/*
 * Whether all of a range is. After EFAULT, which says that the source was several mappings, this
 * tells older kernels, which have unmapped the target by then, from 6.17 and later ones.
 */
static bool is_mapped(void *p, size_t bytes)
{
	return !msync(p, bytes, MS_ASYNC); /* does nothing to anonymous memory */
}

/*
 * Moves the contents of one mapping over another, which must be ours and at least as long.
 * The old range is gone afterwards. Counted as one map (of `to`, grown) by its reason.
 * Refused, *to_is_gone says that the system may have unmapped `to` before it found it could not
 * go on: it is not ours any more then.
 */
bool os_move(void *from, size_t old_bytes, void *to, size_t new_bytes, bool *to_is_gone)
{
	int saved = errno;
	uint64_t start = os_now_ns();
	void *p = mremap(from, old_bytes, new_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	uint64_t ns = os_now_ns() - start;

	*to_is_gone = p == MAP_FAILED && (errno == ENOMEM || errno == EAGAIN ||
					  (errno == EFAULT && !is_mapped(to, new_bytes)));
	errno = saved;
	add_relaxed(&hakmem_root.os.maps, 1);
	hak_probe_hakmem_os_map(p == MAP_FAILED ? 0 : (uintptr_t)p, new_bytes, HAK_OS_REALLOC, ns);
	return p != MAP_FAILED;
}
