#!/usr/bin/env bash
# timeout: 120
# Heap samples of a running program, by who attaches to their probes: with the mean interval that he
# asks for, in every thread, and gone without a trace when he is killed, also in a child; the
# program goes on through fork and exec. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ $(id -u) -eq 0 ]] || skip_all "needs root"
CC=${CC:-gcc}
need bpftrace python3
need_lib
for program in sampled hit; do
	"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -fno-builtin -I"$ROOT/probes" "$ROOT/tests/helpers/$program.c" \
		-o "$TMP/$program" -pthread -ldl || { not_ok "helpers/$program.c compiles"; finish; }
done
# a copy, so that nothing but this test has the file in use
SO=$TMP/libhakmem.so
cp "$LIB" "$SO"
mkfifo "$TMP/in" "$TMP/hit_in"

LD_PRELOAD=$SO "$TMP/sampled" <"$TMP/in" >"$TMP/out" 2>"$TMP/err" &
pid=$!
end_at_exit $pid
exec 7>"$TMP/in"
LD_PRELOAD=$SO "$TMP/hit" wait <"$TMP/hit_in" >"$TMP/steps" 2>/dev/null &
hit=$!
end_at_exit $hit
exec 8>"$TMP/hit_in"
lines=1
# shellcheck disable=SC2317 # called by wait_for
has_lines() { (($(wc -l <"$TMP/out") >= lines)); }
ask() { # QUESTION: sets turns, samples, freed, bad
	lines=$((lines + 1))
	echo "$1" >&7
	wait_for 20 has_lines || not_ok "it answers: $1"
	read -r turns samples freed bad < <(sed -n "${lines}p" "$TMP/out")
}
# shellcheck disable=SC2317 # called by wait_for
is_on() { ask "${1:-state}" && ((turns % 2 == 1)); }
# shellcheck disable=SC2317 # called by wait_for
is_off() { ask "${1:-state}" && ((turns % 2 == 0)); }
# shellcheck disable=SC2317 # called by wait_for
samples_since() { ask state && ((samples >= $1)); }

# attach PID BITS...: in $watcher
attach() {
	local bit text="usdt:$SO:otel_memory:alloc { @n = count(); }"

	for bit in "${@:2}"; do
		text+=" usdt:$SO:hakmem:sample_bit$bit { @never = count(); }"
	done
	bpftrace -p "$1" -e "$text" >"$TMP/bpftrace" 2>&1 &
	watcher=$!
	end_at_exit $watcher
}
kill_watcher() {
	kill -KILL $watcher
	wait $watcher 2>/dev/null
}

wait_for 20 has_lines || { not_ok "the program runs"; finish; }
ask state
check "nobody watches: nothing is sampled" [ "$turns $samples" = "0 0" ]

attach $pid 4 # 2^16 bytes
check "who attaches switches sampling on" wait_for 20 is_on
ask state
from=$samples
check "all threads are sampled, all the time" wait_for 20 samples_since $((from + 1000))
check "the heap is whole while samples are taken" [ "$bad" -eq 0 ]
ask fork
check "a child goes on, its heap is whole" [ "$bad" -eq 0 ]
ask child
kill_watcher
check "killed, the switch falls back" wait_for 20 is_off
ask state
from=$samples
ask state
check "and no sample is taken any more" [ "$samples" -eq "$from" ]
check "the heap is whole after" [ "$bad" -eq 0 ]
check "in the child, too" wait_for 20 is_off child
check "whose heap is whole" [ "$bad" -eq 0 ]

# exec while samples are taken: another process image, with a switch of its own
attach $pid
check "on again" wait_for 20 is_on
lines=$((lines + 1))
echo exec >&7
wait_for 20 has_lines
check "exec: the program begins anew" [ "$(sed -n "${lines}p" "$TMP/out")" = ready ]
ask state
check "and its heap is whole" [ "$bad" -eq 0 ]
kill_watcher
check "killed, the switch falls back" wait_for 20 is_off

# The hit paths, stepped through in a process that was watched: as in one that never was.
LD_PRELOAD=$SO "$TMP/hit" >"$TMP/steps.never"
# It does nothing but hits: hakstat has to see to it that the switch is seen, or say that it may not.
if command -v setpriv >/dev/null; then
	setpriv --bounding-set=-sys_ptrace "$HAKSTAT" heap -p $hit -d 0.1 >"$TMP/unseen" 2>"$TMP/err" 7>&- 8>&-
	check "who may not write to it says that no thread has noticed" \
		grep -q 'no thread has noticed.* may not write to the process' "$TMP/unseen"
fi
"$HAKSTAT" heap -p $hit -d 60 --mean 4K >/dev/null 2>"$TMP/err" 7>&- 8>&- &
watcher=$!
end_at_exit $watcher
# shellcheck disable=SC2317 # called by wait_for
hit_is_on() { [[ $(tail -n 1 "$TMP/steps") == on ]]; }
# shellcheck disable=SC2317 # called by wait_for
hit_is_off() { [[ $(tail -n 1 "$TMP/steps") == off ]]; }
check "a program of nothing but hits is sampled" wait_for 20 hit_is_on
kill_watcher
check "until hakstat is killed" wait_for 20 hit_is_off
exec 8>&-
wait $hit
sed -i '/^o/d' "$TMP/steps"
same "then its hits are as if nobody had ever watched" "$TMP/steps.never" "$TMP/steps"
check "something was stepped" [ "$(wc -l <"$TMP/steps")" -gt 100 ]
exec 7>&-
finish
