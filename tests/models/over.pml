/*
 * Memory above the limit, and who gives it back when the lock is held by somebody busy with
 * something else.
 *
 * Mirrors: arena.c arena_is_over, arena_lock_to_purge, purge_one; heap.c purge_excess; a user is
 * whoever has the lock and does not look at the limit then: large.c cache_take, a purge by decay.
 *
 * Claim: once all is quiet nothing exceeds the limit (0 here), whoever found the lock held.
 *
 * broken: CONSUMED       assertion   who is refused the lock does not say so
 * broken: NO_SECOND_TRY  assertion   he says so, and does not look whether the holder is gone
 * broken: CLEAR_LATE     assertion   the word is taken away when all is done
 * broken: DROP_RELAXED   assertion   the user looks before others see the lock free
 * broken: SAY_RELAXED    assertion   the lock is tried again before the word is visible
 */
bool lock, over;
byte excess;

inline try(got)
{
	atomic {
		got = !lock;
		lock = true
	}
}

/* The lock for purging, or the word is left for its holder. */
inline try_to_purge()
{
	try(got);
	if
	:: got
	:: else ->
#ifdef SAY_RELAXED
		try(got);
		over = true
#else
#ifndef CONSUMED
		over = true;
#endif
#ifndef NO_SECOND_TRY
		try(got)
#endif
#endif
	fi
}

/* Under the lock all there is goes; what came meanwhile: see returned.pml, the second look. */
inline purge_excess()
{
	if
	:: over ->
#ifndef CLEAR_LATE
		over = false;
#endif
		do
		::	try_to_purge();
			if
			:: !got -> break
			:: else
			fi;
			excess = 0;
			lock = false;
			if
			:: excess == 0 -> break
			:: else
			fi
		od
#ifdef CLEAR_LATE
		;
		over = false
#endif
	:: else
	fi
}

/* Pushes what he frees, which takes no lock. */
proctype Freer()
{
	bool got;

	excess++;
	over = true;
	purge_excess()
}

proctype User()
{
	bool got, seen;

	try(got);
	if
	:: got ->
#ifdef DROP_RELAXED
		seen = over;
		lock = false;
		if
		:: seen -> purge_excess()
		:: else
		fi
#else
		lock = false;
		purge_excess()
#endif
	:: else
	fi
}

init
{
	atomic {
		run Freer();
		run Freer();
		run User()
	}
	_nr_pr == 1;
	assert(!lock && excess == 0)
}
