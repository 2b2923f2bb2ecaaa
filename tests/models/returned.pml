/*
 * Runs of slices (and large spans) on their way back to a lock that frees do not wait for.
 *
 * Mirrors: arena.c give, push_returned, take_returned, arena_alloc, arena_free, purge_one,
 * arena_purge; large.c push_returned, take_returned, take_oldest are the same.
 *
 * Claim: no run is lost or handed out twice; who needs a run gets one that was returned before he
 * had the lock; and once all is quiet nothing is kept beyond the limit (0 here), though whoever
 * found the lock held went away: the holder looks again.
 *
 * broken: NO_CAS         assertion   push by load and store
 * broken: NO_TAKE        assertion   who needs a run does not look at the stack
 * broken: TAKE_BY_LOAD   assertion   the stack is read, then emptied
 * broken: NO_SECOND_LOOK assertion   the holder does not look again after dropping the lock
 * broken: DROP_RELAXED   assertion   he looks before others see the lock free
 * broken: TRY_RELAXED    assertion   a lock_try that fails reads the lock before the push is visible
 */
#define RUNS 2
#define NONE 0
#define LIVE 1
#define FREE 2			/* dirty, in a segment's mask */
#define CLEAN 3			/* purged, in the mask */
#define PUSHED 4		/* dirty, on the stack */
#define PUSHED_CLEAN 5
#define PURGING 6

byte stack = NONE;		/* xreturned: run's number + 1 */
byte link[RUNS + 1];
byte is[RUNS + 1];
bool lock;
byte excess;			/* runs unused and dirty: the gauges */

inline push(r, as)
{
	head = stack;
	do
	::	link[r] = head;
#ifdef NO_CAS
		atomic { stack = r; is[r] = as };
		break
#else
		atomic {
			if
			:: stack == head ->
				stack = r;
				is[r] = as;
				break
			:: else -> head = stack
			fi
		}
#endif
	od
}

/* Lock held. */
inline take_returned()
{
	seen = stack;
	d_step {
#ifndef TAKE_BY_LOAD
		seen = stack;
#endif
		stack = NONE;
		do
		:: seen == NONE -> break
		:: else ->
			assert(is[seen] == PUSHED || is[seen] == PUSHED_CLEAN);
			is[seen] = (is[seen] == PUSHED -> FREE : CLEAN);
			seen = link[seen]
		od
	}
}

/* Some run in state `as`, or NONE; lock held. */
inline find(as)
{
	d_step {
		run_ = NONE;
		for (i : 1 .. RUNS) {
			if
			:: is[i] == as -> run_ = i
			:: else
			fi
		}
		i = 0
	}
}

/* arena_purge for the limit. */
inline purge()
{
	do
	::
#ifdef TRY_RELAXED
		got = !held_early;
		if
		:: got -> atomic { got = !lock; lock = true }
		:: else
		fi;
#else
		atomic { got = !lock; lock = true };
#endif
		if
		:: !got -> break
		:: else
		fi;
		take_returned();
		find(FREE);
		if
		:: run_ != NONE ->
			is[run_] = PURGING;
			excess--;
			mine = run_;
			lock = false;
			push(mine, PUSHED_CLEAN)
		:: else ->
#ifdef DROP_RELAXED
			seen = stack;
			lock = false;
#else
			lock = false;
			seen = stack;
#endif
#ifdef NO_SECOND_LOOK
			seen = NONE;
#endif
			if
			:: seen != NONE && excess > 0
			:: else -> break
			fi
		fi;
#ifdef TRY_RELAXED
		held_early = false
#endif
	od
}

#define LOCALS \
	byte head, run_, mine, seen, i; \
	bool got, held_early

/* arena_free of a live run. */
inline free_run(r)
{
#ifdef TRY_RELAXED
	held_early = lock;
#endif
	atomic { got = !lock; lock = true };
	if
	:: got ->
		assert(is[r] == LIVE);
		is[r] = FREE;
		excess++;
		lock = false
#ifdef TRY_RELAXED
		;
		held_early = false
#endif
	:: else ->
		excess++;
		push(r, PUSHED)
	fi;
	if
	:: excess > 0 -> purge()
	:: else
	fi
}

proctype Freer(byte r)
{
	LOCALS;
	free_run(r)
}

/* Who needs a run finds what was returned before. Nobody else is there: no lock. */
inline take_run()
{
#ifndef NO_TAKE
	take_returned();
#endif
	find(CLEAN);
	if
	:: run_ == NONE -> find(FREE)
	:: else
	fi;
	assert(run_ != NONE);
	is[run_] = LIVE
}

init
{
	LOCALS;

	atomic {
		is[1] = LIVE;
		is[2] = LIVE;
		run Freer(1);
		run Freer(2)
	}
	_nr_pr == 1;
	assert(!lock && excess == 0);
	/* one after the other: as many as there are, each once */
	take_run();
	take_run();
	assert(is[1] == LIVE && is[2] == LIVE && stack == NONE)
}
