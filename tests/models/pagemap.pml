/*
 * Reserving entries of the class table, of which addresses far apart share parts, and of the
 * page map.
 *
 * Mirrors: pagemap.c is_free, reserve_chunk, reserve_leaf, pagemap_claim, pagemap_set; pagemap.h
 * pagemap_class, pagemap_page.
 *
 * Roots 1 and 2 share a chunk of the table. Two threads map memory in root 1, one in root 2.
 *
 * Claim: a chunk never describes two roots; it is writable when somebody writes to it; an entry
 * that was set is what whoever has the block reads, whatever others reserve meanwhile.
 *
 * broken: NO_CAS_OWNER    assertion   the chunk's owner is looked at, then stored
 * broken: NO_CAS_LEAF     assertion   the same with the root's leaf
 * broken: MARK_FIRST      assertion   the mark "writable" is visible before the chunk is
 * broken: ANY_LOSER_WINS  assertion   who lost the exchange takes the chunk all the same
 * broken: LEAF_UNZEROED   assertion   the leaf is visible before its zeroes
 */
#define ROOTS 2
#define LEAVES 3		/* one made by each thread */
#define RANGES 3

byte owner;			/* 0 nobody, 2 * root, + 1 once writable */
bool writable;
byte leaf[ROOTS + 1];		/* hak_pagemap_root: leaf's number, 0 none */
bool zeroed[LEAVES + 1];
byte page[(LEAVES + 1) * (RANGES + 1)];	/* of a leaf: range's number, or 255 for garbage */
byte class_of[RANGES + 1];	/* bytes of the chunk: the root they were set for */
byte readers;

inline may_have(r)
{
	now = owner;
	ok = now == 0 || (now | 1) == (2 * r + 1)
}

inline reserve_chunk(r)
{
	may_have(r);
	if
	:: ok && now != 2 * r + 1 ->
#ifndef MARK_FIRST
		writable = true;
#endif
#ifdef NO_CAS_OWNER
		owner = 2 * r + 1;
#else
		atomic {
			if
			:: owner == now -> owner = 2 * r + 1
			:: else ->
#ifdef ANY_LOSER_WINS
				ok = true
#else
				ok = owner == 2 * r + 1
#endif
			fi
		}
#endif
#ifdef MARK_FIRST
		writable = true;
#endif
		skip
	:: else
	fi
}

/* me: the leaf this thread would make */
inline reserve_leaf(r)
{
	now = leaf[r];
	if
	:: now == 0 ->
#ifndef LEAF_UNZEROED
		zeroed[me] = true;
#endif
#ifdef NO_CAS_LEAF
		leaf[r] = me;
#else
		atomic {
			if
			:: leaf[r] == 0 -> leaf[r] = me
			:: else
			fi
		}
#endif
#ifdef LEAF_UNZEROED
		zeroed[me] = true;
#endif
		skip
	:: else
	fi
}

/* Whoever has a block of the range frees it. */
proctype Reader(byte r; byte range)
{
	assert(owner == 2 * r + 1);
	assert(class_of[range] == r);
	assert(leaf[r] != 0 && page[leaf[r] * (RANGES + 1) + range] == range);
	readers++
}

/* A thread maps a range in root r. me is its number, its leaf's and its range's. */
proctype Mapper(byte r; byte me)
{
	byte now;
	bool ok;

	may_have(r);
	if
	:: ok ->
		reserve_chunk(r);
		if
		:: ok ->
			reserve_leaf(r);
			now = leaf[r];
			assert(now != 0 && zeroed[now]);
			page[now * (RANGES + 1) + me] = me;
			assert(writable);
			class_of[me] = r;
			run Reader(r, me)
		:: else
		fi
	:: else
	fi
}

init
{
	atomic {
		if			/* keep_program_apart may have kept it for root 1 */
		:: owner = 0
		:: owner = 2
		fi;
		run Mapper(1, 1);
		run Mapper(1, 2);
		run Mapper(2, 3)
	}
	_nr_pr == 1;
	/* one of the roots has the chunk: at least one range was mapped */
	assert(readers > 0)
}
