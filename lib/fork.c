/*
 * fork in a program with threads: all locks are held over the fork, so that no structure under
 * a lock is caught half-changed; the child then takes over what its vanished threads had.
 * Handlers of others may run before ours, or after, and allocate in any case: the forking thread
 * may take again what it holds.
 */
#include "internal.h"

#include <pthread.h>

/*
 * glibc's word for it; other C libraries have none, and count as with threads. A process with one
 * thread may fork in a signal handler, in the middle of an allocation or of another fork: its locks
 * are not touched, what was interrupted goes on in both processes.
 */
extern char __libc_single_threaded __attribute__((weak));

static bool is_alone(void)
{
	return &__libc_single_threaded && __libc_single_threaded;
}

static struct lock *const locks[] = {&marks_lock, &arena_lock, &large_lock, &meta_lock};
#define LOCKS (sizeof(locks) / sizeof(locks[0]))

static void before(void)
{
	if (is_alone())
		return;
	heap_fork_before();
	transfer_each_lock(lock_hold_over_fork);
	for (unsigned i = 0; i < LOCKS; i++) {
		if (locks[i] == &meta_lock) /* which a purge may need before it ends */
			arena_fork_before();
		lock_hold_over_fork(locks[i]);
	}
	lock_forking = true;
}

static void in_parent(void)
{
	if (!lock_forking) /* nothing is held */
		return;
	lock_forking = false;
	for (unsigned i = LOCKS; i-- > 0;)
		lock_drop_after_fork(locks[i]);
	transfer_each_lock(lock_drop_after_fork);
	heap_fork_parent();
}

static void in_child(void)
{
	heap_fork_named();
	if (!lock_forking)
		return;
	lock_forking = false;
	for (unsigned i = 0; i < LOCKS; i++)
		lock_reset(locks[i]);
	transfer_each_lock(lock_reset);
	heap_fork_child();
}

void fork_init(void)
{
	static uint32_t done;

	if (!__atomic_exchange_n(&done, 1, __ATOMIC_RELAXED) &&
	    pthread_atfork(before, in_parent, in_child))
		__atomic_store_n(&done, 0, __ATOMIC_RELAXED); /* the next thread tries again */
}
