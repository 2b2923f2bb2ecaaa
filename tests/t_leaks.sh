#!/usr/bin/env bash
# timeout: 60
# hakstat leaks: finds a leak in a busy program, 1 MB a second in place of 1 MiB a minute, and what
# looks like one it tells from it: what is freed later, a cache that was filled, a ring whose
# newest replaces the oldest; of the same program without the leak it names nothing. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[[ $(id -u) -eq 0 ]] || skip_all "needs root"
CC=${CC:-gcc}
need python3 "$CC"
need_lib
HELP=$ROOT/tests/hakstat
"$CC" -std=gnu11 -D_GNU_SOURCE -g -O2 -fno-builtin "$HELP/leaky.c" -o "$TMP/leaky" || not_ok "leaky.c compiles"

mkfifo "$TMP/go.0" "$TMP/go.1000000"
pids=() watchers=()
for bytes in 1000000 0; do
	LD_PRELOAD=$LIB "$TMP/leaky" "$TMP/ready.$bytes" $bytes <"$TMP/go.$bytes" &
	pids+=($!)
	end_at_exit $!
done
exec 7>"$TMP/go.0" 8>"$TMP/go.1000000"
wait_for 20 test -s "$TMP/ready.1000000" -a -s "$TMP/ready.0"
watch() { # NAME PID ARGS...
	local name=$1 pid=$2

	shift 2
	"$HAKSTAT" leaks -p "$pid" --mean 32K --all "$@" >"$TMP/$name" 2>"$TMP/$name.err" 7>&- 8>&- &
	watchers+=($!)
	end_at_exit $!
}
watch leak "${pids[0]}" -d 9 --json
watch clean "${pids[1]}" -d 9 --json
watch text "${pids[0]}" -d 9 --interval 1
# shellcheck disable=SC2317 # called by wait_for
all_wait() {
	local w

	for w in "${watchers[@]}"; do
		grep -qsE '^(7|271) ' "/proc/$w/syscall" || return
	done
}
check "all attach" wait_for 20 all_wait
echo >&7
echo >&8
for w in "${watchers[@]}"; do
	wait "$w" || not_ok "hakstat ends with 0" "it ended with $?"
done
exec 7>&- 8>&-
for mode in leak clean; do
	wrong=$(python3 "$HELP/leaks.py" $mode "$TMP/$mode" 2>&1)
	name="$mode: what is a leak is named, what is not is told from it"
	if [[ -z $wrong ]]; then ok "$name"; else not_ok "$name" "$(head -n 8 <<<"$wrong")"; fi
done
check "text: the leak comes first" bash -c "grep -A 4 VERDICT '$TMP/text' | grep -q '^!.* leak\$'"
check "text: how it grew, and ages" grep -Eq 'growth by interval of 1 s: .*[0-9]+K\.\.' "$TMP/text"
check "text: how sure that is" grep -q '^ 1 of .* stacks only accumulate (at 99 % confidence' "$TMP/text"
for p in "${pids[@]}"; do
	wait "$p" || not_ok "the program ends with 0" "it ended with $?"
done
timeout 10 "$HAKSTAT" leaks -p $$ --interval x >"$TMP/out" 2>"$TMP/err"
check "usage: exit code 2" [ $? -eq 2 ]
finish
