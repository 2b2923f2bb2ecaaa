/* Every system call the allocator makes. No policy; each call fires its probe and is counted. */
#include "internal.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/* so that none is made that is not in the list */
#define CALL_(name) CALL_##name = SYS_##name,
enum { HAK_CALLS(CALL_) };
#define call6(name, a, b, c, d, e, f) \
	os_call(CALL_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define call3(name, a, b, c) call6(name, a, b, c, 0, 0, 0)

/* What a call returns is an error: the highest addresses are. */
static bool failed(long result)
{
	return (unsigned long)result > -4096UL;
}

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
	return (uint32_t)call3(gettid, 0, 0, 0);
}

uint32_t os_pid(void)
{
	return (uint32_t)call3(getpid, 0, 0, 0);
}

void os_yield(void)
{
	call3(sched_yield, 0, 0, 0);
}

/* Bytes written, or a negative errno. No point where a thread can be cancelled. */
long os_write(int fd, const void *text, size_t bytes)
{
	return call3(write, fd, text, bytes);
}

/* Nobody sleeps longer: should a wake be refused, who waits for it is late, and not lost. */
static const struct timespec wait_most = {.tv_sec = 1};

void os_futex(uint32_t *word, int op, uint32_t value)
{
	call6(futex, word, op, value, &wait_most, 0, 0);
}

/*
 * Whether the aligned word at p can be read. A wait for as long as no time: the system reads the
 * word, and says so if it cannot. Nothing else that programs are always allowed to call tells this.
 */
bool os_can_read(const void *p)
{
	struct timespec none = {0};

	/* any value the word will not have: then there is nothing to wait for. Refused for another
	   reason: who cannot ask does not read */
	long said = call6(futex, p, FUTEX_WAIT_PRIVATE, 0x5A17C0DE, &none, 0, 0);

	return said == -EAGAIN || said == -ETIMEDOUT;
}

/*
 * Whether the aligned word at p can be read and is not zero. The system compares the two and would
 * move no waiters from one queue to the other: the program may be using the word.
 */
bool os_holds_data(const void *p)
{
	static const uint32_t none;

	return call6(futex, p, FUTEX_CMP_REQUEUE_PRIVATE, 0, 0, &none, 0) == -EAGAIN;
}

static void *map_flags(void *hint, size_t bytes, int prot, int flags, enum hak_os_reason why)
{
	uint64_t start = os_now_ns();
	long at = call6(mmap, hint, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	uint64_t ns = os_now_ns() - start;
	void *p = failed(at) ? NULL : (void *)at;

	add_relaxed(&hakmem_root.os.maps, 1);
	if (p)
		add_relaxed(&hakmem_root.os.map_bytes, bytes);
	hak_probe_hakmem_os_map((uintptr_t)p, bytes, why, ns);
	return p;
}

/* Built for smaller OS pages than the system has, nothing could be mapped: better said at once. */
void os_check_page(void)
{
	size_t here = getauxval(AT_PAGESZ);

	if (likely(here <= HAK_OS_PAGE))
		return;
	hak_say("cannot run here, built for smaller OS pages (make OS_PAGE=", here, ")");
	abort();
}

/* Fresh zeroed memory, or NULL. bytes: a multiple of the OS page. */
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
	return !call3(mprotect, p, bytes, PROT_NONE);
}

/* The same, and its memory goes back to the system. */
void os_hide(void *p, size_t bytes)
{
	long at = call6(mmap, p, bytes, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);

	add_relaxed(&hakmem_root.os.maps, 1);
	if (failed(at)) {
		os_guard(p, bytes);
		os_purge(p, bytes, HAK_OS_LARGE);
	}
}

/* 0 where the system gives none. */
uint64_t os_random(void)
{
	uint64_t x;

	return call3(getrandom, &x, sizeof(x), 1 /* do not wait */) == sizeof(x) ? x : 0;
}

/* Bytes of memory the machine has; 0 if it does not say. */
size_t os_ram_bytes(void)
{
	struct sysinfo s;

	return call3(sysinfo, &s, 0, 0) ? 0 : (size_t)s.totalram * s.mem_unit;
}

/* Bytes of address space the process may have; SIZE_MAX if that is not limited. */
size_t os_space_limit(void)
{
	struct rlimit r;

	if (call6(prlimit64, 0, RLIMIT_AS, NULL, &r, 0, 0) || r.rlim_cur == RLIM_INFINITY)
		return SIZE_MAX;
	return r.rlim_cur;
}

/* Address space that reads as zero and takes no memory; NULL if refused. */
void *os_reserve(size_t bytes)
{
	return map_flags(NULL, bytes, PROT_READ, MAP_NORESERVE, HAK_OS_META);
}

/* Makes part of it writable. */
bool os_commit(void *p, size_t bytes)
{
	return !call3(mprotect, p, bytes, PROT_READ | PROT_WRITE);
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
	uint64_t start = os_now_ns();
	bool done = !call3(munmap, p, bytes, 0);
	uint64_t ns = os_now_ns() - start;

	add_relaxed(&hakmem_root.os.unmaps, 1);
	if (done)
		add_relaxed(&hakmem_root.os.unmap_bytes, bytes);
	hak_probe_hakmem_os_unmap((uintptr_t)p, bytes, why, ns);
	return done;
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
	uint64_t start = os_now_ns();
	bool done = !call3(madvise, p, bytes, MADV_DONTNEED);
	uint64_t ns = os_now_ns() - start;

	add_relaxed(&hakmem_root.os.purges, 1);
	if (done)
		add_relaxed(&hakmem_root.os.purge_bytes, bytes);
	hak_probe_hakmem_os_purge((uintptr_t)p, bytes, why, ns);
	return done;
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

static bool xno_fill; /* the system cannot, or may not */

bool os_may_fill(void)
{
	return !peek(&xno_fill);
}

/*
 * Memory for a range that is about to be written to. False: refused, it comes by page faults as
 * ever. A system that cannot is asked once; EINVAL may also be about this range only.
 */
bool os_fill(void *p, size_t bytes, enum hak_os_reason why)
{
	uint64_t start, ns;
	long failure;

	if (unlikely(peek(&xno_fill)))
		return false;
	start = os_now_ns();
	failure = call3(madvise, p, bytes, MADV_POPULATE_WRITE);
	ns = os_now_ns() - start;
	add_relaxed(&hakmem_root.os.fills, 1);
	if (!failure)
		add_relaxed(&hakmem_root.os.fill_bytes, bytes);
	else if (failure == -EPERM || failure == -ENOSYS ||
		 (failure == -EINVAL && !peek(&hakmem_root.os.fill_bytes)))
		poke(&xno_fill, true);
	hak_probe_hakmem_os_fill((uintptr_t)p, bytes, why, ns);
	return !failure;
}

/* A range becomes huge pages as it is touched, where the system has some. */
void os_huge(void *p, size_t bytes)
{
	call3(madvise, p, bytes, MADV_HUGEPAGE);
}

/* What such a range gives back does not become a huge page again by itself. */
void os_plain(void *p, size_t bytes)
{
	call3(madvise, p, bytes, MADV_NOHUGEPAGE);
}

#ifndef MADV_COLD
#define MADV_COLD 20 /* Linux 5.4 */
#endif

/* The huge page that p is in becomes many: what is said of a part of it, by the way, does that. */
void os_split(void *p)
{
	call3(madvise, p, HAK_OS_PAGE_LEAST, MADV_COLD);
}

/*
 * Whether all of a range is. After EFAULT, which says that the source was several mappings, this
 * tells older kernels, which have unmapped the target by then, from 6.17 and later ones.
 */
static bool is_mapped(void *p, size_t bytes)
{
	return !call3(msync, p, bytes, MS_ASYNC); /* does nothing to anonymous memory */
}

/*
 * Moves the contents of one mapping over another, which must be ours and at least as long.
 * The old range is gone afterwards. Counted as one map (of `to`, grown) by its reason.
 * Refused, *to_is_gone says that the system may have unmapped `to` before it found it could not
 * go on: it is not ours any more then.
 */
bool os_move(void *from, size_t old_bytes, void *to, size_t new_bytes, bool *to_is_gone)
{
	uint64_t start = os_now_ns();
	long at = call6(mremap, from, old_bytes, new_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to, 0);
	uint64_t ns = os_now_ns() - start;

	*to_is_gone =
		at == -ENOMEM || at == -EAGAIN || (at == -EFAULT && !is_mapped(to, new_bytes));
	add_relaxed(&hakmem_root.os.maps, 1);
	hak_probe_hakmem_os_map(failed(at) ? 0 : (uint64_t)at, new_bytes, HAK_OS_REALLOC, ns);
	return !failed(at);
}
