#!/usr/bin/env bash
# timeout: 120
# No system call in a steady state, none per free ever: N rounds and 10 N rounds of the same work
# make the same number of calls, up to a handful for the decay of memory that fell unused.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CC=${CC:-gcc}
HANDFUL=40
need strace
need_lib
"$CC" -std=gnu11 -D_GNU_SOURCE -O2 -fno-builtin "$ROOT/tests/helpers/steady.c" -o "$TMP/steady" -pthread ||
	{ not_ok "helpers/steady.c compiles"; finish; }

# "calls name" lines
count() { # ROUNDS
	timeout 100 strace -f -c -U calls,name -o "$TMP/strace.$1" -E LD_PRELOAD="$LIB" "$TMP/steady" "$1" ||
		not_ok "$1 rounds run under strace"
	awk '$1 ~ /^[0-9]+$/ && $2 != "total" { print $2, $1 }' "$TMP/strace.$1" | sort >"$TMP/calls.$1"
}

calls_of() { # ROUNDS NAME
	awk -v n="$2" '$1 == n { c = $2 } END { print c + 0 }' "$TMP/calls.$1"
}

count 20000
count 200000
check "strace counted" test "$(calls_of 20000 mmap)" -gt 0
for name in mmap munmap madvise mremap futex mincore gettid brk sched_yield clock_gettime mprotect membarrier; do
	few=$(calls_of 20000 $name)
	many=$(calls_of 200000 $name)
	check "$name: $few calls for 20,000 rounds, $many for 200,000" test "$many" -le $((few + HANDFUL))
done
for name in mincore gettid; do	# gettid: once per thread, at its start
	check "$name: no more than threads" test "$(calls_of 200000 $name)" -le 4
done
total() { awk '{ n += $2 } END { print n + 0 }' "$TMP/calls.$1"; }
check "all calls together: $(total 20000), then $(total 200000)" test "$(total 200000)" -le $(($(total 20000) + 3 * HANDFUL))
finish
