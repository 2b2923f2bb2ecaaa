#!/usr/bin/env bash
# timeout: 180
# hakstat threads, remote, route and memory tell what a program is known to do, in every format.
# Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/hakstat/watch.sh
. "$ROOT/tests/hakstat/watch.sh"

"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -fno-builtin "$ROOT/tests/hakstat/views.c" -o "$TMP/views" -pthread ||
	{ echo "hakstat/views.c does not compile"; exit 1; }
unset NO_COLOR COLUMNS

# judge NAME ARGS...: of views.py
judge() {
	local name=$1 wrong

	shift
	wrong=$(python3 "$ROOT/tests/hakstat/views.py" "$@" 2>&1)
	if [[ -z $wrong ]]; then ok "$name"; else not_ok "$name" "$(head -n 8 <<<"$wrong")" "$(head -n 3 "$TMP/err")"; fi
}

# watched SCENARIO COMMAND: a report of step 1, no more and no less, in $TMP/COMMAND.json
watched() {
	local watcher

	start_known "$TMP/views" "$1" || return 1
	"$HAKSTAT" "$2" -p "$known_pid" -d 0.1 --json >"$TMP/before.json" 2>"$TMP/err"
	"$HAKSTAT" "$2" -p "$known_pid" -d 60 --json >"$TMP/$2.json" 2>"$TMP/err" 7>&- &
	watcher=$!
	wait_attached "$known_pid" $watcher || not_ok "$2 attaches" "$(cat "$TMP/err")"
	go
	wait_for 30 grep -qs '^1' "$TMP/counts"
	kill -INT $watcher
	wait $watcher
	check "$2: ends with 0" [ $? -eq 0 ]
}

watched pairs threads
judge "threads: who allocates, frees, sends and keeps" threads "$TMP/threads.json" "$TMP/before.json"
# the same process, now at rest, in the other formats
"$HAKSTAT" threads -p "$known_pid" -d 0.1 --csv >"$TMP/csv" 2>"$TMP/err"
judge "threads: CSV has the columns of JSON" csv "$TMP/threads.json" "$TMP/csv"
"$HAKSTAT" threads -p "$known_pid" -d 0.1 -s tid -n 1 >"$TMP/out" 2>"$TMP/err"
check "threads: the table names threads" grep -q '^ taker ' "$TMP/out"
check "threads: as many rows as asked for" grep -q '^ \.\.\. 2 more rows' "$TMP/out"
LC_ALL=C "$HAKSTAT" threads -p "$known_pid" -d 0.1 -w 60 >"$TMP/out" 2>"$TMP/err"
check "no line is longer than the width asked for" test -z "$(awk 'length > 60' "$TMP/out")"
check "nothing but ASCII" eval '! LC_ALL=C grep -q "[^ -~]" "$TMP/out"'
end_known

watched pairs remote
judge "remote: one pair, its batches and its queue" remote "$TMP/remote.json"
"$HAKSTAT" remote -p "$known_pid" -d 0.1 --csv >"$TMP/csv" 2>"$TMP/err"
check "remote: CSV without rows is its header" [ "$(wc -l <"$TMP/csv")" -eq 1 ]
end_known

# Two watchers of the same convoy: waits by thread, by BPF, against the counters of the locks.
start_known "$TMP/views" convoy
"$HAKSTAT" stat -p "$known_pid" -d 60 --json >"$TMP/stat.json" 2>"$TMP/err" 7>&- &
other=$!
"$HAKSTAT" threads -p "$known_pid" -d 60 --json >"$TMP/convoy.json" 2>"$TMP/err" 7>&- &
watcher=$!
wait_for 20 waits $other && wait_attached "$known_pid" $watcher || not_ok "two at once attach"
go
wait_for 60 grep -qs '^1' "$TMP/counts"
kill -INT $watcher $other
wait $watcher $other
judge "threads: who waited, as often and as long as all locks together" convoy "$TMP/convoy.json" "$TMP/stat.json"
end_known

watched route route
judge "route: a hole is one line, everything else has its layer" route "$TMP/route.json"
end_known

# The same by -c, as a table: from the first allocation on the alarm is there, marked and coloured.
route() { # ENV... : of the command route in a terminal
	python3 - "$@" <<'END'
import os, pty, sys
env = dict(os.environ, TERM="xterm", HAKMEM_LIB=os.environ["SO"])
env.update(a.split("=") for a in sys.argv[1:])
command = f"exec {env['TMP']}/views route {env['TMP']}/counts </dev/null"
os.environ.clear()
os.environ.update(env)
pty.spawn([env["HAKSTAT"], "route", "-c", f"sh -c '{command}'"], stdin_read=lambda fd: b"")
END
}
export SO
route >"$TMP/out" </dev/null
check "an alarm is marked, in red" grep -q $'^\033\[1;31m! *32768 *65535 .*over-aligned' "$TMP/out"
check "and is said in words" grep -q '! 80 requests of up to 2 MiB got a mapping of their own, 50 by an mmap' "$TMP/out"
route NO_COLOR=1 >"$TMP/out" </dev/null
check "NO_COLOR: marked without colours" grep -q '^! *32768 *65535 .*over-aligned' "$TMP/out"
check "nothing is coloured" eval '! grep -q "$(printf "\033")" "$TMP/out"'

start_known "$TMP/views" memory
kill -STOP "$known_pid"
"$HAKSTAT" memory -p "$known_pid" --json >"$TMP/memory.json" 2>"$TMP/err"
rss=$(awk '/^Rss:/ { print $2 }' "/proc/$known_pid/smaps_rollup")
judge "memory: every byte in its line, together RSS" memory "$TMP/memory.json" "$rss"
"$HAKSTAT" memory -p "$known_pid" >"$TMP/out" 2>"$TMP/err"
for title in 'where the memory is' 'memory by size class' 'the least used pages'; do
	check "memory: $title" grep -q "^ $title" "$TMP/out"
done
"$HAKSTAT" memory -p "$known_pid" --by class --csv >"$TMP/csv" 2>"$TMP/err"
check "memory by class as CSV" grep -q '^size,pages,held_bytes,resident_bytes,' "$TMP/csv"
kill -CONT "$known_pid"
go
wait_for 20 grep -qs '^1' "$TMP/counts"
kill -STOP "$known_pid"
"$HAKSTAT" memory -p "$known_pid" --json >"$TMP/trimmed.json" 2>"$TMP/err"
"$HAKSTAT" stat -p "$known_pid" -d 0.1 --json >"$TMP/stat.json" 2>"$TMP/err"
judge "memory: what was given back is neither waste nor free" trimmed "$TMP/trimmed.json" "$TMP/stat.json"
check "memory: no invariant is broken" "$HAKSTAT" dump -p "$known_pid" --check
kill -CONT "$known_pid"
end_known

# 40 pairs of threads, recorded once: the matrix folds to what fits
start_known "$TMP/views" crowd
"$HAKSTAT" record -p "$known_pid" -o "$TMP/crowd" -i 0.2 2>"$TMP/err" 7>&- &
watcher=$!
wait_attached "$known_pid" $watcher && wait_for 10 test -s "$TMP/crowd" || not_ok "record attaches"
go
wait_for 20 grep -qs '^1' "$TMP/counts"
for _ in 1 2; do # frames: the second one is begun after the step
	size=$(stat -c %s "$TMP/crowd")
	wait_for 20 eval '[ $(stat -c %s "$TMP/crowd") -gt '"$size"' ]'
done
kill -INT $watcher
wait $watcher
"$HAKSTAT" remote --replay "$TMP/crowd" --json >"$TMP/crowd.json" 2>"$TMP/err"
for width in 40 60 80 200; do
	"$HAKSTAT" remote --replay "$TMP/crowd" -w $width >"$TMP/crowd.$width" 2>"$TMP/err"
done
judge "remote: the matrix at 40, 60, 80 and 200 columns" matrix "$TMP/crowd.json" "$TMP"/crowd.*0
bad=
for view in classes locks os threads route memory fragments pages; do
	LC_ALL=C "$HAKSTAT" report --replay "$TMP/crowd" --view $view -w 40 >"$TMP/out" 2>"$TMP/err"
	[[ -s $TMP/out && -z $(awk 'length > 40' "$TMP/out") ]] || bad+=" $view"
done
check "40 columns: no view has a longer line:$bad" test -z "$bad"
end_known

start_known "$TMP/views" many
"$HAKSTAT" threads -p "$known_pid" -d 0.1 --json >"$TMP/many.json" 2>"$TMP/err"
judge "threads: 1,001 of them" many "$TMP/many.json"
end_known

# --- every command, in every format -------------------------------------------------------------

"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -fno-builtin "$ROOT/tests/hakstat/busy.c" -o "$TMP/busy" -pthread ||
	{ echo "hakstat/busy.c does not compile"; exit 1; }
HAKMEM_ABORT=0 LD_PRELOAD=$SO "$TMP/busy" >"$TMP/busy.out" 2>/dev/null &
busy=$!
end_at_exit $busy
wait_for 20 grep -q ready "$TMP/busy.out" || not_ok "busy starts"
"$HAKSTAT" record -p $busy -o "$TMP/recording" -i 0.1 2>"$TMP/err" &
recorder=$!
for profile in a b; do
	"$HAKSTAT" heap -p $busy -d 0.2 --mean 4K -o "$TMP/$profile.pb.gz" 2>>"$TMP/err"
done
wait_for 30 "$HAKSTAT" report --replay "$TMP/recording" || not_ok "busy is recorded"
kill -INT $recorder
wait $recorder
# on a terminal it says how long it will take
TERM=xterm python3 - $busy >"$TMP/tty" <<'END' &
import os, pty, sys
os.environ["COLUMNS"] = "80"
pty.spawn([os.environ["HAKSTAT"], "threads", "-p", sys.argv[1], "-d", "2"], stdin_read=lambda fd: b"")
END
waits=$!
wrong=$(python3 "$ROOT/tests/hakstat/formats.py" "$HAKSTAT" $busy "$TMP" 2>&1)
if [[ -z $wrong ]]; then ok "every command has text, JSON and CSV, of columns that help knows"
else not_ok "every command has text, JSON and CSV, of columns that help knows" "$(tail -n 20 <<<"$wrong")" "$(head -n 3 "$TMP/err")"; fi
for bar in C:# C.UTF-8:█; do
	LC_ALL=${bar%:*} "$HAKSTAT" locks -p $busy -d 0.5 --histogram >"$TMP/out" 2>"$TMP/err"
	check "locks --histogram: bars of ${bar#*:}" grep -Eq "^ +[0-9.]+[mun]?s - [0-9.]+[mun]?s +[1-9][0-9]* (${bar#*:})+\$" "$TMP/out"
done
wait $waits
check "who waits for an interval is told how long, on a terminal" grep -q $'\rwatching: [0-9]* of 2 s\033\[K.*\r\033\[K.*' "$TMP/tty"
check "and not once it is there" eval '! sed -n "/THREAD/,\$p" "$TMP/tty" | grep -q watching && grep -q THREAD "$TMP/tty"'
kill $busy

# --- the columns, from one table ----------------------------------------------------------------

columns=$(cat "$TMP"/{threads,remote,route,memory}.json | python3 -c '
import json, sys
def ids(v):
    for row in v if isinstance(v, list) else []:
        if isinstance(row, dict):
            yield from row
print(*sorted({i for line in sys.stdin for v in json.loads(line).values() for i in ids(v)} - {"alert"}))')
unknown=
for column in $columns; do
	"$HAKSTAT" help "$column" >"$TMP/out" 2>&1 && grep -q "^$column " "$TMP/out" || unknown+=" $column"
done
check "hakstat help knows every column of JSON:$unknown" [ -z "$unknown" ]
check "hakstat help REMOT/s finds it by its title" grep -q '^remote_blocks_per_s' <("$HAKSTAT" help REMOT/s)
cat >"$TMP/units.py" <<'END'
import json, subprocess, sys
units = {}
for view in sorted({c["view"] for c in json.loads(subprocess.run([sys.argv[1], "help", "--json"], capture_output=True).stdout)["columns"]}):
    lines = subprocess.run([sys.argv[1], "help", view], capture_output=True, text=True).stdout.splitlines()
    lines = lines[lines.index("") + 1:] # those before are of a column of that name
    for first, second in zip(lines[::2], lines[1::2]):
        unit = second.strip().split("; in: ")
        assert unit[1].split("; ")[0] == view, (view, second)
        units.setdefault(first.split()[0], {}).setdefault(unit[0], []).append(view)
assert len(units) > 50, units
for name, found in units.items():
    if len(found) > 1:
        print(name, found)
END
wrong=$(python3 "$TMP/units.py" "$HAKSTAT" 2>&1)
if [[ -z $wrong ]]; then ok "a column has one unit, in every view"; else not_ok "a column has one unit, in every view" "$wrong"; fi
"$HAKSTAT" help hits >"$TMP/out" 2>"$TMP/err"
status=$?
check "an unknown column: 2, and what is near" eval '[ $status -eq 2 ] && grep -q hit_rate "$TMP/err"'
"$HAKSTAT" threads -p 1 -s nosuch >"$TMP/out" 2>"$TMP/err"
status=$?
check "an unknown sort column: 2, and what there is" eval '[ $status -eq 2 ] && grep -q allocs_per_s "$TMP/err"'
finish
