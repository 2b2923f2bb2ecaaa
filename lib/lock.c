#include "internal.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPINS 100 /* about a microsecond: longer than any of our critical sections */

__thread bool lock_forking __attribute__((tls_model("initial-exec")));

static bool try_spin(struct lock *l, uint32_t *spins)
{
	for (unsigned i = 0; i < SPINS; i++) {
		uint32_t free = 0;

		++*spins;
		if (peek(&l->xword) == 0 &&
		    __atomic_compare_exchange_n(&l->xword, &free, 1, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return true;
		cpu_relax();
	}
	return false;
}

static void count_wait(const struct lock *l, uint64_t ns, uint32_t spins)
{
	struct hak_lock_view *v = &hakmem_root.lock[l->id];

	add_relaxed(&v->waits, 1);
	add_relaxed(&v->wait_ns, ns);
	add_relaxed(&v->spins, spins);
	if (ns > peek(&v->max_ns))
		poke(&v->max_ns, ns);
}

HAK_COLD void lock_wait(struct lock *l)
{
	uint64_t start = os_now_ns(), ns;
	uint32_t spins = 0;

	if (unlikely(lock_forking) && peek(&l->xforked)) {
		l->nested++;
		return;
	}
	hak_probe_hakmem_lock_wait_start(l->id, (uintptr_t)&l->xword);
	if (!try_spin(l, &spins)) {
		/* from here on the word stays 2 while held, so the holder wakes us */
		while (__atomic_exchange_n(&l->xword, 2, __ATOMIC_ACQUIRE) != 0)
			os_futex(&l->xword, FUTEX_WAIT_PRIVATE, 2);
	}
	ns = os_now_ns() - start;
	count_wait(l, ns, spins);
	hak_probe_hakmem_lock_wait_done(l->id, (uintptr_t)&l->xword, ns, spins);
}

void lock_hold_over_fork(struct lock *l)
{
	lock_take(l);
	poke(&l->xforked, true);
}

void lock_drop_after_fork(struct lock *l)
{
	poke(&l->xforked, false);
	lock_drop(l);
}

/* In the child: whoever waited for it, or held it, is not there. */
void lock_reset(struct lock *l)
{
	l->nested = 0;
	poke(&l->xforked, false);
	store_release(&l->xword, 0);
}

HAK_COLD void lock_wake(struct lock *l)
{
	os_futex(&l->xword, FUTEX_WAKE_PRIVATE, 1);
}
