/*
 * A futex lock. Uncontended: one compare-exchange, no system call, no probe. Contended: the
 * probes lock_wait_start and lock_wait_done, and the counts in hak_root.lock[].
 * Nobody waits for a lock while holding one, except below a heap's own, which comes first; other
 * heaps' are only tried. fork (fork.c) holds all of them while the handlers of others run; what
 * those allocate may take them again.
 */
#ifndef HAK_LOCK_H
#define HAK_LOCK_H

#include "base.h"

struct lock {
	uint32_t xword;	 /* 0 free, 1 held, 2 held and somebody sleeps */
	uint32_t id;	 /* const: enum hak_lock_id */
	uint16_t nested; /* holder only: times the forking thread took it again */
	bool xforked;	 /* held over a fork, by the thread that forks */
};

/* This thread holds all locks for its fork. Its own in the child, too: no number is compared. */
extern __thread bool lock_forking __attribute__((tls_model("initial-exec")));

void lock_wait(struct lock *l);
void lock_wake(struct lock *l);
void lock_hold_over_fork(struct lock *l);
void lock_drop_after_fork(struct lock *l);
void lock_reset(struct lock *l);

HAK_INLINE void lock_take(struct lock *l)
{
	uint32_t free = 0;

	/* acquire: what the previous holder wrote is visible */
	if (unlikely(!__atomic_compare_exchange_n(&l->xword, &free, 1, false, __ATOMIC_ACQUIRE,
						  __ATOMIC_RELAXED)))
		lock_wait(l);
}

/*
 * Never waits. False: held by somebody, who will look at what we left when done: seq_cst in that
 * case too, so that we do not find the lock held before what we left is seen.
 */
HAK_INLINE bool lock_try(struct lock *l)
{
	uint32_t free = 0;

	return __atomic_compare_exchange_n(&l->xword, &free, 1, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

HAK_INLINE void lock_drop(struct lock *l)
{
	if (unlikely(l->nested)) {
		l->nested--;
		return;
	}
	/* release: the next holder sees what we wrote; seq_cst: who failed in lock_try before this
	   has what it left seen by what we read after it */
	if (unlikely(__atomic_exchange_n(&l->xword, 0, __ATOMIC_SEQ_CST) == 2))
		lock_wake(l);
}

#endif
