/*
 * The remote queue of a heap and the threads that use, leave, inherit and help it.
 *
 * Mirrors: remote.c push, send, remote_drain; heap.c heap_help, is_left_alone, drop_other,
 * give_back, pick_locked; lock.h lock_try, lock_drop.
 *
 * One or two senders, with an heir, somebody who takes the lock for something else, or both. (All
 * five at once: 62,402,364 states, eight minutes, no error.)
 *
 * Claim: once all threads have gone, every block sent was freed once; nobody reads a letter that
 * is not written yet.
 *
 * Steps here are sequentially consistent. Where an order in C is stronger than relaxed, a variant
 * does what a weaker one would allow, and must fail:
 *
 * broken: PUSH_RELAXED   assertion   the letter becomes visible after the queue's head
 * broken: SEND_RELAXED   assertion   the sender reads the state before its push is visible
 * broken: LEAVE_RELAXED  assertion   the leaver reads the queue before its new state is visible
 * broken: DROP_RELAXED   assertion   the holder reads the queue before others see the lock free
 * broken: TRY_RELAXED    assertion   a lock_try that fails reads the lock before the push is visible
 * and what would be wrong in any order:
 * broken: NO_CAS         assertion   push by load and store
 * broken: NO_LAST_LOOK   assertion   the leaver does not look at the queue
 * broken: NO_SECOND_LOOK assertion   nobody looks again after dropping the lock
 */
#define SENDERS 2
#define NONE 0
#define LIVE 1
#define IDLE 2

byte queue = NONE;		/* head: sender's number + 1 */
byte link[SENDERS + 1];		/* letter.next */
bool written[SENDERS + 1];	/* the letter's words */
byte freed[SENDERS + 1];
byte state = LIVE;
bool lock;

inline try_lock()
{
	atomic {
		got = !lock;
		lock = true
	}
}

/* Waiting for the lock and the exchange are one step: nobody minds when it is taken before. */
inline lock_and_drain()
{
	atomic {
		!lock;
		lock = true;
		drain()
	}
}

/* One exchange; after it the chain is the drainer's, who goes from letter to letter. */
inline drain()
{
	d_step {
		letter = queue;
		queue = NONE;
		do
		:: letter == NONE -> break
		:: else ->
			assert(written[letter]);
			freed[letter]++;
			letter = link[letter]
		od
	}
}

/* lock_drop, then is_left_alone into `alone`. */
inline drop_and_look()
{
#ifdef DROP_RELAXED
	seen_queue = queue;
	seen_state = state;
	lock = false;
#else
	lock = false;
	seen_queue = queue;
	seen_state = state;
#endif
	alone = seen_queue != NONE && seen_state != LIVE;
#ifdef NO_SECOND_LOOK
	alone = false
#endif
}

/* After the first lock_try, whose result is `got`. */
inline help()
{
	do
	:: !got -> break
	:: else ->
		drain();
		drop_and_look();
		if
		:: alone -> try_lock()
		:: else -> break
		fi
	od
}

/* The thread leaves its heap: give_back. */
inline go()
{
	lock_and_drain();
	lock = false;
#ifdef LEAVE_RELAXED
	seen_queue = queue;
	state = IDLE;
#else
	state = IDLE;
	seen_queue = queue;
#endif
#ifdef NO_LAST_LOOK
	seen_queue = NONE;
#endif
	if
	:: seen_queue != NONE ->
		try_lock();
		help()
	:: else
	fi
}

#define LOCALS \
	byte letter, seen_queue, seen_state; \
	bool got, alone

proctype Owner()
{
	LOCALS;
	lock_and_drain();	/* a refill */
	lock = false;
	go()
}

/* A new thread takes over the heap once it is idle, or none does. */
proctype Heir()
{
	LOCALS;
	if
	:: atomic { state == IDLE -> state = LIVE };
		go()
	:: true
	fi
}

/* Takes the heap's lock for something else: a page, hak_check, a trim. */
proctype Thief()
{
	LOCALS;
	try_lock();
	if
	:: got ->
		drop_and_look();
		if
		:: alone ->
			try_lock();
			help()
		:: else
		fi
	:: else
	fi
}

proctype Sender(byte me)
{
	LOCALS;
	byte head;
	bool held_early;

#ifndef PUSH_RELAXED
	written[me] = true;
#endif
#ifdef TRY_RELAXED
	held_early = lock;
#endif
#ifdef SEND_RELAXED
	seen_state = state;
#endif
	head = queue;
	do
	::
#ifdef NO_CAS
		atomic {
			link[me] = head;
			queue = me;
			break
		}
#else
		atomic {
			if
			:: queue == head ->
				link[me] = head;
				queue = me;
				break
			:: else -> head = queue
			fi
		}
#endif
	od;
#ifdef PUSH_RELAXED
	written[me] = true;
#endif
#ifndef SEND_RELAXED
	seen_state = state;
#endif
	if
	:: seen_state != LIVE && !held_early ->
		try_lock();
		help()
	:: seen_state == LIVE	/* its thread will come */
	:: seen_state == LIVE -> /* it has not for long: xpending */
		try_lock();
		help()
	:: else
	fi
}

init
{
	byte i;

	atomic {
		run Owner();
		run Sender(1);
		if
		:: run Heir();
			run Thief();
			freed[2] = 1
		:: run Heir();
			run Sender(2)
		:: run Thief();
			run Sender(2)
		fi
	}
	_nr_pr == 1;
	assert(queue == NONE && !lock);
	for (i : 1 .. SENDERS) {
		assert(freed[i] == 1)
	}
}
