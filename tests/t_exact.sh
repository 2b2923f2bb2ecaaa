#!/usr/bin/env bash
# timeout: 240
# hakstat's numbers are the program's own, none approximately. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/hakstat/watch.sh
. "$ROOT/tests/hakstat/watch.sh"

# One scenario watched by -p over an interval that contains it whole. If the program was not done
# when the interval ended (a busy machine), a longer one is taken; the numbers decide nothing then.
watched() { # SCENARIO [PROGRAM]
	local scenario=$1 program=${2:-$TMP/known} seconds

	for seconds in 2 5 15; do
		start_known "$program" "$scenario" || return
		"$HAKSTAT" stat -p "$known_pid" -d $seconds --budget 0 --json >"$TMP/json" 2>"$TMP/err" 7>&- &
		local watcher=$!
		wait_attached "$known_pid" $watcher || { not_ok "$scenario: hakstat attaches" "$(cat "$TMP/err")"; end_known; return; }
		go
		wait_for 60 grep -qs '^done' "$TMP/counts"
		local in_time=0
		kill -0 $watcher 2>/dev/null && in_time=1
		wait $watcher
		local status=$?
		end_known
		[[ $in_time -eq 1 ]] && break
	done
	check "$scenario: hakstat stat ends with 0" [ "$status" -eq 0 ]
	compare "$scenario: every number" "$TMP/counts" "$TMP/json"
}

# The same started by hakstat: everything since the process began.
started() { # SCENARIO
	rm -f "$TMP/counts"
	timeout 60 "$HAKSTAT" stat -c "$TMP/known $1 $TMP/counts now" -d 3 --budget 0 --json >"$TMP/json" 2>"$TMP/err" < <(sleep 5)
	check "$1 by -c: hakstat stat ends with 0" [ $? -eq 0 ]
	compare "$1 by -c: every number" "$TMP/counts" "$TMP/json" only
}

# A command that ends within the interval is seen to its very last call.
to_its_end() { # SCENARIO
	rm -f "$TMP/counts"
	timeout 60 "$HAKSTAT" stat -c "$TMP/known $1 $TMP/counts now" -d 30 --budget 0 --json >"$TMP/json" 2>"$TMP/err" </dev/null
	check "$1 by -c, to its end: hakstat stat ends with 0" [ $? -eq 0 ]
	compare "$1 by -c, to its end: every number" "$TMP/counts" "$TMP/json" only
}

for scenario in pairs threads remote ends large forks; do
	watched $scenario
done
watched child
watched pairs "$TMP/known.static"
for scenario in pairs threads remote ends large; do
	started $scenario
	to_its_end $scenario
done
finish
