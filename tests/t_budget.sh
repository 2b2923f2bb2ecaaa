#!/usr/bin/env bash
# timeout: 240
# The budget of events: a probe that fires more often is taken off, which is said, and comes back
# when the rate has fallen; below it no event is lost. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/hakstat/watch.sh
. "$ROOT/tests/hakstat/watch.sh"

"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -fno-builtin "$ROOT/tests/hakstat/firing.c" -o "$TMP/firing" -pthread ||
	{ not_ok "hakstat/firing.c compiles"; finish; }

start_firing() { # ARGS...: sets firing
	rm -f "$TMP/ready"
	LD_PRELOAD=$SO "$TMP/firing" "$@" >"$TMP/ready" &
	firing=$!
	end_at_exit $firing
	wait_for 20 grep -q ready "$TMP/ready" || not_ok "the program starts"
}

# says FILE EXPRESSION: of the report r, in Python
says() { python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); sys.exit(not eval(sys.argv[2]))' "$@"; }

# A program that refills some 100,000 times a second: how often does not decide, 1000 is far less.
start_firing 2
"$HAKSTAT" stat -p $firing -d 0.5 --budget 0 --json >"$TMP/json" 2>"$TMP/err"
check "no budget: nothing is off" says "$TMP/json" 'r["self"]["off_s"] == {} and r["self"]["budget"] == 0'
check "no budget: all events come, none is lost" \
	says "$TMP/json" 'r["self"]["events"] >= r["check"]["bpf_refills"] > 2000 and r["self"]["lost"] == 0'
"$HAKSTAT" stat -p $firing -d 0.8 --budget 1000 --json >"$TMP/json" 2>"$TMP/err"
check "above the budget: refill is off, and for how long is told" \
	says "$TMP/json" '0.1 < r["self"]["off_s"]["refill"] <= r["duration_s"]'
check "above the budget: the counters go on" says "$TMP/json" \
	'next(c for c in r["classes"] if c["size"] == 32768)["refills"] > 10000'
check "above the budget: what only events tell is unknown" says "$TMP/json" 'r["check"] is None'
"$HAKSTAT" route -p $firing -d 0.8 --budget 1000 --json >"$TMP/json" 2>"$TMP/err"
check "above the budget: sources of refills are unknown, too, not 0" says "$TMP/json" \
	'[x["from_page"] for x in r["rows"] if x["to_bytes"] == 32768] == [None]'
"$HAKSTAT" stacks -p $firing -d 2 --on refill --budget 1000 --json >"$TMP/json" 2>"$TMP/err"
check "above the budget: stacks, of the time they could be taken" says "$TMP/json" \
	'r["self"]["off_s"]["refill"] > 0 and len(r["rows"]) > 0'
timeout 20 "$HAKSTAT" trace -p $firing -d 1.2 --rate 10 --budget 1000 --json >"$TMP/trace" 2>"$TMP/err"
check "trace: refill goes off, which is told where it happens" grep -q '^{"off":"refill","off_s":' "$TMP/trace"
check "and at the end" grep -Eq '^hakstat: refill was off for 0\.[3-9] s' "$TMP/err"
kill $firing

# System calls likewise: tracepoints that are passed too often are left.
LD_PRELOAD=$SO dd if=/dev/zero of=/dev/null bs=1 2>/dev/null &
calling=$!
end_at_exit $calling
wait_for 20 grep -q libhakmem /proc/$calling/maps
"$HAKSTAT" syscalls -p $calling -d 1.2 --budget 1000 --json >"$TMP/json" 2>"$TMP/err"
check "system calls above the budget: some are counted, and for how long is told" \
	says "$TMP/json" '0 < r["watched_s"] < r["duration_s"] - 0.3 and sum(x["calls"] for x in r["rows"]) > 100'
check "and rates are of that time" says "$TMP/json" \
	'all(abs(x["calls_per_s"] * r["watched_s"] - x["calls"]) < 1 for x in r["rows"])'
"$HAKSTAT" syscalls -p $calling -d 0.7 --budget 0 --json >"$TMP/json" 2>"$TMP/err"
check "no budget: all the time" says "$TMP/json" 'r["watched_s"] == r["duration_s"]'
kill $calling

# It comes back: the same process, hot and calm in turn. Whether a probe is on is told by its site.
start_firing
kill -USR1 $firing # calm
# shellcheck disable=SC2034 # of watch.sh
site_file=$SO
"$HAKSTAT" stat -p $firing -d 120 --budget 20000 --json >"$TMP/json" 2>"$TMP/err" &
watcher=$!
end_at_exit $watcher
# shellcheck disable=SC2317 # called by wait_for
some_are_off() { some_attached $firing && ! all_attached $firing; }
check "all probes are on at first" wait_for 20 all_attached $firing
kill -USR1 $firing
check "those that fire too often go off" wait_for 20 some_are_off
kill -USR1 $firing
check "when the rate has fallen they come back" wait_for 30 all_attached $firing
sleep 1
check "and stay" all_attached $firing
kill -USR1 $firing
check "and go again" wait_for 20 some_are_off
kill -INT $watcher
wait $watcher
check "it is told" says "$TMP/json" '0 < r["self"]["off_s"]["refill"] < r["duration_s"]'
check "nothing stays attached" wait_for 5 none_attached $firing

# top is on what it shows, and that fires seldom.
"$HAKSTAT" top -p $firing -b -d 0.3 >"$TMP/top" 2>"$TMP/err" &
watcher=$!
end_at_exit $watcher
check "top attaches" wait_for 20 some_attached $firing
wait_for 20 grep -q 'events/s' "$TMP/top"
check "top is not on probes of refills and pages" [ "$(attached_sites $firing | cut -d ' ' -f 1)" -le 6 ]
check "top: nothing has to go off" grep -q 'lost 0   BPF' "$TMP/top"
kill $watcher
kill $firing

# Nothing is lost where nothing is taken off: a whole program as fast as it can, to its end.
timeout 60 "$HAKSTAT" stat -c "$TMP/firing 2 200" --budget 0 --json -o "$TMP/json" >/dev/null 2>"$TMP/err" </dev/null
check "no event of a whole program is lost" says "$TMP/json" \
	'r["self"]["lost"] == 0 and r["check"]["bpf_refills"] == r["check"]["counter_refills"] > 10000'
check "not a number of events" [ "$("$HAKSTAT" stat -p $$ --budget x 2>/dev/null; echo $?)" = 2 ]
finish
