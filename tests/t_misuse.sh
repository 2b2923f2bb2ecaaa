#!/usr/bin/env bash
# timeout: 240
# Each program of tests/misuse/ breaks one rule: preloaded, linked and linked statically it must
# end by SIGABRT with one line on stderr that names the address (which the program prints) and
# the reason (the program's first line). Those of tests/misuse/secure/ must with HAKMEM_SECURE=1,
# which the others are run with once more ("secure: " in the second line: another reason then);
# "SIGSEGV" instead of a reason: a guard page stops them. Those of tests/misuse/harmless/ go on.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CC=${CC:-gcc}
ulimit -c 0

build() { # NAME SOURCE [ARGS...]
	local out=$1 src=$2

	shift 2
	"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -g -w -fno-builtin "$src" -o "$TMP/$out" "$@" -pthread \
		2>"$TMP/cc.log" || { not_ok "$out compiles" "$(tail -n 3 "$TMP/cc.log")"; return 1; }
}

# Why a run is wrong; nothing if it is right.
judge() { # STATUS REASON
	local lines address

	lines=$(wc -l <"$TMP/err")
	address=$(head -n 1 "$TMP/out")
	[[ $1 -eq 134 ]] || echo "ended with status $1, not by SIGABRT (134)"
	[[ $lines -eq 1 ]] || echo "$lines lines on stderr, not one"
	grep -Eqx "hakmem: (free|realloc|malloc)\(${address:-no address}\): $2" "$TMP/err" ||
		echo "no line 'hakmem: free($address): $2' in: $(head -n 2 "$TMP/err")"
}

# The same for a program that a guard page stops.
judge_guarded() { # STATUS
	[[ $1 -eq 139 ]] || echo "ended with status $1, not by SIGSEGV (139)"
	[[ ! -s $TMP/err ]] || echo "said: $(head -n 2 "$TMP/err")"
}

run() { # NAME REASON COMMAND...
	local name=$1 reason=$2 wrong status

	shift 2
	# a shell of its own, whose report of the signal does not mix with the program's stderr
	bash -c 'timeout 20 "$@" >"$TMP/out" 2>"$TMP/err"; exit $?' - "$@" 2>/dev/null
	status=$?
	if [[ $reason == SIGSEGV ]]; then
		wrong=$(judge_guarded "$status")
	else
		wrong=$(judge "$status" "$reason")
	fi
	if [[ -z $wrong ]]; then ok "$name"; else not_ok "$name" "$wrong"; fi
}

reason_of() { sed -n '1s|^/\* \(.*\) \*/$|\1|p' "$1"; }

secure_reason_of() {
	local other

	other=$(sed -n '2s|^/\* secure: \(.*\) \*/$|\1|p' "$1")
	echo "${other:-$(reason_of "$1")}"
}

for src in "$ROOT"/tests/misuse/*.c; do
	name=$(basename "$src" .c)
	reason=$(reason_of "$src")
	build "$name" "$src" && run "$name preloaded" "$reason" env LD_PRELOAD="$LIB" "$TMP/$name"
	build "$name.a" "$src" "$BUILD/libhakmem.a" && run "$name linked" "$reason" "$TMP/$name.a"
	build "$name.s" "$src" -static "$BUILD/libhakmem.a" &&
		run "$name static" "$reason" "$TMP/$name.s"
done

for src in "$ROOT"/tests/misuse/harmless/*.c; do
	name=$(basename "$src" .c)
	build "$name" "$src" || continue
	LD_PRELOAD=$LIB timeout 20 "$TMP/$name" >"$TMP/out" 2>"$TMP/err"
	check "harmless: $name" [ "$? $(cat "$TMP/out" "$TMP/err")" = "0 unharmed" ]
done

# Where blocks lie: with HAKMEM_SECURE=1 differently in each run.
build placement "$ROOT/tests/helpers/placement.c"
places() { env LD_PRELOAD="$LIB" "$@" "$TMP/placement"; }
places >"$TMP/places.1" && places >"$TMP/places.2"
same "places are the same in each run" "$TMP/places.1" "$TMP/places.2"
places HAKMEM_SECURE=1 >"$TMP/places.1" && places HAKMEM_SECURE=1 >"$TMP/places.2"
check "secure: places differ from run to run" [ "$(paste "$TMP/places.1" "$TMP/places.2" |
	awk '$1 == $2 { n++ } END { print (NR == 300 && n < 30) }')" = 1 ]
check "secure: places have no order" [ "$(awk '$1 > last { up++ } { last = $1 }
	END { print (NR == 300 && up > 100 && up < 200) }' "$TMP/places.1")" = 1 ]

# Whatever the secrets are: no seal, and no pad, is what is written.
build overflows "$ROOT/tests/helpers/overflows.c"
env HAKMEM_SECURE=1 HAKMEM_ABORT=0 LD_PRELOAD="$LIB" timeout 60 "$TMP/overflows" >"$TMP/out" 2>"$TMP/err"
check "secure: each of 10000 overflows by a zero or a letter is found" \
	[ "$? $(grep -c '): something wrote behind the end of the block$' "$TMP/err")" = "0 10000" ]

export HAKMEM_SECURE=1
for src in "$ROOT"/tests/misuse/*.c; do
	name=$(basename "$src" .c)
	run "$name secure" "$(secure_reason_of "$src")" env LD_PRELOAD="$LIB" "$TMP/$name"
done
for src in "$ROOT"/tests/misuse/secure/*.c; do
	name=$(basename "$src" .c)
	build "$name" "$src" &&
		run "secure: $name" "$(reason_of "$src")" env LD_PRELOAD="$LIB" "$TMP/$name"
	build "$name.s" "$src" -static "$BUILD/libhakmem.a" &&
		run "secure: $name static" "$(reason_of "$src")" "$TMP/$name.s"
done
unset HAKMEM_SECURE

# HAKMEM_ABORT=0: the same line, and the program goes on.
export HAKMEM_ABORT=0
for name in double_free_small foreign_stack misaligned_large; do
	LD_PRELOAD=$LIB timeout 20 "$TMP/$name" >"$TMP/out" 2>"$TMP/err"
	check "$name goes on with HAKMEM_ABORT=0" [ "$? $(grep -c '^hakmem: free(0x' "$TMP/err")" = "0 1" ]
done
finish
