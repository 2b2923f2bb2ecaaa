#!/usr/bin/env bash
# timeout: 240
# Memory stays in proportion to what is live (bench/bounded.c): never more than 1.5 times its peak
# and the documented constant, and no growth from the middle third of the work to the last. Judged by
# bytes. The constant is made small by options, so that what is live counts; once it is as usual.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_lib
PROGRAM=$BUILD/bench/bounded
[[ -x $PROGRAM ]] || { echo "there is no $PROGRAM; run make bench-bin"; exit 1; }

# KiB that may stay whatever is live (README, Limits): of all threads, and of each; and the program
# with its libraries (2 MiB)
constant() { # KEEP CACHE THREADS
	echo $(($1 + 8 * $2 + $3 * ($2 + 1600 + $1 / 4) + 2048))
}

# What leaks makes both peaks of the last third higher than those of the middle one: the highest, and
# the usual one (the median of four parts). Runs differ now in the one and now in the other.
is_level() { # MIDDLE LAST USUAL_MIDDLE USUAL_LAST
	[[ $2 -le $(($1 + $1 / 20 + 2048)) || $4 -le $(($3 + $3 / 20 + 2048)) ]]
}

# pattern NAME QUARTERS THREADS ARGS...: RSS at most QUARTERS/4 of the live peak, and the constant
pattern() {
	local name=$1 quarters=$2 threads=$3 sum most keep cache

	shift 3
	keep=$((${HAKMEM_KEEP_BYTES:-16777216} / 1024))
	cache=$((${HAKMEM_CACHE_BYTES:-4194304} / 1024))
	sum=$(LD_PRELOAD=$LIB timeout 100 "$PROGRAM" "$@" | tail -n 1)
	[[ $sum == live_peak=* ]] || { not_ok "$name runs" "$sum"; return; }
	declare $sum # live_peak rss_peak middle last settled usual_middle usual_last, in KiB
	most=$((live_peak * quarters / 4 + $(constant $keep $cache "$threads")))
	echo "# $name: $sum, at most $most"
	check "$name: RSS stays within bounds" [ "$rss_peak" -le "$most" ]
	[[ $name == *"(grows)" ]] ||
		check "$name: no growth in the last third" \
			is_level "$middle" "$last" "$usual_middle" "$usual_last"
}

pattern "a wave, as usual" 6 1 wave 96 6
pattern "sizes that shift, as usual" 6 1 shift 32 2
export HAKMEM_KEEP_BYTES=2097152 HAKMEM_CACHE_BYTES=524288
# long enough for both thirds to see how threads can come in each other's way
pattern "lives of threads" 6 5 threads 24 40 4
pattern "a pipe" 6 5 pipe 24 100 4
pattern "a wave" 6 1 wave 48 12
# what a freed block of 80 KiB touched of its 128 is estimated
pattern "sizes that shift" 7 1 shift 32 2
# what pages of one class, or blocks that are not moved, cannot keep to: see docs/RELIABILITY.md
pattern "waves of other sizes (grows)" 10 1 mixes 32 12
pattern "a block in each 64 KiB stays (grows)" 12 1 pin 32 1
pattern "Robson's program (grows)" 28 1 robson 32
finish
