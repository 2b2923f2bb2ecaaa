/*
 * The futex lock, with its owner over a fork.
 *
 * Mirrors: lock.h lock_take, lock_try, lock_drop; lock.c lock_wait (spinning is another try),
 * lock_wake, lock_hold_over_fork, lock_drop_after_fork.
 *
 * Claim: one holder at a time, and whoever waits gets it in the end: with no thread left that
 * could wake another, none sleeps.
 *
 * broken: SLEEP_AS_ONE    end.state   who sleeps does not leave a 2
 * broken: WOKEN_AS_ONE    end.state   who was woken takes it with a 1, though others sleep
 * broken: NO_WAKE         end.state   the holder does not wake
 * broken: DROP_BY_STORE   end.state   the holder looks at the word, then stores
 * broken: NO_NESTED       end.state   the forking thread waits for what it holds
 * broken: TAKE_BY_STORE   assertion   taken by load and store
 */
#define THREADS 3

byte word;			/* 0 free, 1 held, 2 held and somebody sleeps */
byte holders;
bool asleep[THREADS + 1];
bool forked;			/* xforked */
byte nested;

/* FUTEX_WAIT: sleeps if the word is still so. */
inline futex_wait(value)
{
	atomic {
		if
		:: word == value -> asleep[me] = true
		:: else
		fi
	}
	!asleep[me]
}

/* FUTEX_WAKE of one: whichever. */
inline futex_wake()
{
	atomic {
		if
		:: asleep[0] -> asleep[0] = false
		:: asleep[1] -> asleep[1] = false
		:: asleep[2] -> asleep[2] = false
		:: asleep[3] -> asleep[3] = false
		:: else
		fi
	}
}

inline lock_wait()
{
	do
	::	atomic {
			old = word;
#ifdef SLEEP_AS_ONE
			word = 1
#else
#ifdef WOKEN_AS_ONE
			word = (woken && word == 0 -> 1 : 2)
#else
			word = 2
#endif
#endif
		}
		if
		:: old == 0 -> break
		:: else ->
#ifdef SLEEP_AS_ONE
			futex_wait(1);
#else
			futex_wait(2);
#endif
			woken = true
		fi
	od
}

inline lock_take()
{
#ifdef TAKE_BY_STORE
	old = word;
	if
	:: old == 0 -> word = 1
	:: else
	fi;
#else
	atomic {
		old = word;
		if
		:: old == 0 -> word = 1
		:: else
		fi
	}
#endif
	if
	:: old == 0
#ifndef NO_NESTED
	:: old != 0 && forking && forked -> nested++
	:: old != 0 && !(forking && forked) -> lock_wait()
#else
	:: old != 0 -> lock_wait()
#endif
	fi;
	if
	:: nested == 0 ->
		holders++;
		assert(holders == 1)
	:: else
	fi
}

inline lock_drop()
{
	if
	:: nested > 0 -> nested--
	:: else ->
		holders--;
#ifdef DROP_BY_STORE
		old = word;
		word = 0;
#else
		atomic {
			old = word;
			word = 0
		}
#endif
#ifndef NO_WAKE
		if
		:: old == 2 -> futex_wake()
		:: else
		fi
#endif
	fi
}

proctype Thread(byte me)
{
	byte old, turn;
	bool woken, forking;

	for (turn : 1 .. 2) {
		lock_take();
		lock_drop()
	}
}

/* Only tries; a lock that is held is somebody else's business. */
proctype Trier(byte me)
{
	byte old;
	bool got, forking;

	atomic {
		got = word == 0;
		if
		:: got -> word = 1
		:: else
		fi
	}
	if
	:: got ->
		holders++;
		assert(holders == 1);
		lock_drop()
	:: else
	fi
}

/* fork: takes the lock, and again in others' handlers. */
proctype Forker(byte me)
{
	byte old;
	bool woken, forking;

	lock_take();
	forked = true;
	forking = true;
	lock_take();
	lock_drop();
	forking = false;
	forked = false;
	lock_drop()
}

init
{
	atomic {
		run Thread(0);
		run Thread(1);
		run Trier(2);
		run Forker(3)
	}
	_nr_pr == 1;
	assert(word == 0 && holders == 0)
}
