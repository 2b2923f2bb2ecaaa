#!/usr/bin/env bash
# timeout: 600
# The benchmark programs under preload: they find no broken block, mid_large_mt makes exactly the
# calls it is known for, and the library keeps the three promises it was built for: page faults near
# the peak of live pages, few mmaps, no system call for each free.
# shellcheck source=tests/lib.sh disable=SC2317  # functions are called through check
. "$(dirname "$0")/../lib.sh"
need strace
need_lib
bench=$BUILD/bench
[[ -x $bench/mid_large_mt ]] || { echo "there is no $bench/mid_large_mt: make bench-bin"; exit 1; }

value() { sed -n "s/.* $1=\([0-9]*\).*/\1/p" "$2"; }

# calls NAME: how often strace counted it
calls() { awk -v name="$1" '$NF == name { n = $4 } END { print n + 0 }' "$TMP/strace"; }

# traced CYCLES: leaves the counts of a run under preload in $TMP/strace
traced() {
	strace -f -c -o "$TMP/strace" -E "LD_PRELOAD=$LIB" "$bench/mid_large_mt" 2 "$1" 2048 42 >"$TMP/out"
}

counts_are() {
	[[ $(value mallocs "$TMP/out") -eq 41045 && $(value frees "$TMP/out") -eq 38955 &&
		$(value drained "$TMP/out") -eq 2090 ]]
}

# measured METRIC: of mid_large_mt, by measure
measured() { awk -v name="$1" '$1 == name { print $2 }' "$TMP/cost"; }

uses_lib "mid_large_mt takes its malloc from the library" "$bench/mid_large_mt" 2 40000 2048 42
check "mid_large_mt under preload finds no broken block" traced 40000
check "41,045 mallocs, 38,955 frees, 2,090 drained" counts_are
few=$(calls total) mmaps=$(calls mmap)
check "at most 40 mmaps, program start included ($mmaps)" test "$mmaps" -le 40
traced 4000000
many=$(calls total)
check "100 times the frees, at most 500 more system calls ($few and $many)" \
	test $((many - few)) -le 500
# 2,158 blocks of 1 touched page are live at the peak; about 350 faults start the program
check "measure runs it" "$bench/measure" "$TMP/cost" "$LIB" "$bench/mid_large_mt" 2 40000 2048 42
faults=$(measured minor_faults)
check "page faults near the peak of live pages ($faults)" test "$faults" -le 3300
check "larson, small" preloaded "$bench/larson" 1 8 1024 1000 10 1 4
check "larson, 2 to 32 KiB" preloaded "$bench/larson" 1 2048 32768 1000 1 1 4
check "random_mixed" preloaded "$bench/random_mixed" 3000000 8192 7

# The whole suite, small: every program checks its own blocks; the figures come out whole. System
# calls are counted where a part of it runs: under strace all of it takes minutes on some machines.
suite() { # ALLOCATORS RUNS NAME STRACE [PATTERN]
	BUILD=$BUILD ONLY="$1" SIZE=small RUNS=$2 OUT="$TMP/$3" STRACE=$4 bash "$ROOT/bench/run.sh" "${5:-.}" >"$TMP/$3.txt"
}
every_cell_is_there() {
	local cells

	cells=$(awk -F '|' '/^[a-z]/ && $3 !~ /^ *-/ { n += split($2, t, " ") } END { print n }' "$ROOT/bench/cells")
	[[ $(awk -F , '$4 == "seconds_per_op" { n++ } END { print n }' "$TMP/all.csv") == "$cells" ]]
}
check "the suite runs on the library, small" suite hakmem 1 all 0
check "with every cell of bench/cells" every_cell_is_there
check "its drawing is well-formed" python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' "$TMP/all.svg"
check "two allocators side by side" suite "glibc hakmem" 2 two 1 "pairs (fifo|random)"
check "with geometric means" grep -q "geometric" "$TMP/two.txt"
check "a run compares with itself" "$ROOT/bench/compare" "$TMP/two.csv" "$TMP/two.csv"
check "workload" preloaded "$bench/workload" 4 2
finish
