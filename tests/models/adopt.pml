/*
 * A page that moves between heaps while its blocks are on their way home.
 *
 * Mirrors: page.c page_steal, page_give, release; heap.c steal_from; remote.c give_run, batch_for,
 * take_some. The queue itself is in remote.pml; here it is a set that is taken whole.
 *
 * Claim: a bit of the page is set only by who holds the lock of the heap that owns the page; every
 * block arrives once, by however many heaps; no sender looks at a page that was given back; nobody
 * waits for ever.
 *
 * broken: NO_OWNER_CHECK  assertion   the drainer does not ask whose page it is
 * broken: STEAL_UNLOCKED  assertion   a page is taken without the lock of the heap it leaves
 * broken: STEAL_WAITS     end.state   a stealer waits for the second lock
 * broken: NO_FORWARD      assertion   what came to the wrong heap is not sent on
 * broken: READ_LATE       assertion   the sender looks at the page after it has sent the block
 */
#define BLOCKS 2
#define ALL 3			/* one bit each */

byte owner;			/* page.xowner: heap 0 or 1 */
byte bits;			/* free blocks of the page */
bool page = true;		/* false once it has gone to the arena */
byte queue[2];			/* blocks, one bit each */
bool lock[2];
byte gone;

/* What is in q of heap h, whose lock is held, goes home or on. */
inline drain(h)
{
	atomic {
		q = queue[h];
		queue[h] = 0
	}
	b = 1;
	do
	:: b > ALL -> break
	:: else ->
		if
		:: q & b ->
			assert(page);
#ifdef NO_OWNER_CHECK
			at = h;
#else
			at = owner;
#endif
			if
			:: at == h ->
				assert(lock[h] && owner == h && !(bits & b));
				bits = bits | b
			:: else ->
#ifndef NO_FORWARD
				at = owner;	/* batch_for asks again; it cannot have come to h */
				assert(at != h);
				atomic { queue[at] = queue[at] | b };
#endif
				skip
			fi
		:: else
		fi;
		b = b << 1
	od;
	if
	:: page && owner == h && bits == ALL -> page = false
	:: else
	fi
}

/* A thread of heap `me` refills: drains, then takes the page from the other heap. */
proctype Thread(byte me)
{
	byte q, b, at, turn;
	bool got;

	for (turn : 1 .. 2) {
		atomic { !lock[me]; lock[me] = true };
		drain(me);
#ifdef STEAL_UNLOCKED
		if
		:: page && owner != me -> owner = me
		:: else
		fi;
#else
#ifdef STEAL_WAITS
		atomic { !lock[1 - me]; lock[1 - me] = true; got = true };
#else
		atomic { got = !lock[1 - me]; lock[1 - me] = true };
#endif
		if
		:: got ->
			if
			:: page && owner != me -> owner = me
			:: else
			fi;
			lock[1 - me] = false
		:: else
		fi;
#endif
		lock[me] = false
	}
	gone++
}

/* Frees block b. */
proctype Sender(byte b)
{
	byte to;

#ifdef READ_LATE
	to = owner;
	atomic { queue[to] = queue[to] | b };
	assert(page);
#else
	assert(page);
	to = owner;
	atomic { queue[to] = queue[to] | b };
#endif
	gone++
}

init
{
	byte q, b, at, h;

	atomic {
		run Thread(0);
		run Thread(1);
		run Sender(1);
		run Sender(2)
	}
	gone == 4;
	/* Each heap drains once more, twice over: what was sent on may be sent on again no more. */
	for (h : 0 .. 3) {
		lock[h % 2] = true;
		drain(h % 2);
		lock[h % 2] = false
	}
	assert(bits == ALL && !page && !queue[0] && !queue[1])
}
