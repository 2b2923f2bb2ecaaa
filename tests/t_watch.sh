#!/usr/bin/env bash
# timeout: 240
# hakstat watch: alerts on a program that does what it is told, their commands and exit statuses.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ $(id -u) -eq 0 ]] || skip_all "needs root"
need python3 setpriv
need_lib
# shellcheck source=tests/hakstat/steps.sh
. "$ROOT/tests/hakstat/steps.sh"

start_steps 0
pid=${steps_pid[0]}
watch() { "$HAKSTAT" watch "$@"; }
says() { grep -qE -- "$1" "$TMP/out"; }
code() { # NAME EXPECTED COMMAND...
	local name=$1 want=$2 rc

	shift 2
	"$@" >"$TMP/out" 2>"$TMP/err"
	rc=$?
	if [[ $rc -eq $want ]]; then ok "$name: $want"; else not_ok "$name: $want" "ended with $rc" "$(head -n 3 "$TMP/err")"; fi
}

# --- on and over, with exact values --------------------------------------------------------
"$HAKSTAT" watch -p "$pid" --alert 'class=40000 live_blocks>=777 for 1s' --alert 'class=40000 live_blocks==5' -i 0.1 \
	>"$TMP/out" 2>"$TMP/err" &
watcher=$!
end_at_exit $watcher
before=${EPOCHREALTIME/[.,]/}
step 0 "hold 777"
check "an alert on the live blocks of a class" wait_for 20 says "ALERT steps \[$pid\]: class=40960 live_blocks 777 \(class=40000 live_blocks>=777 for 1s\)$"
check "not before they were that many for 1 s" [ $((${EPOCHREALTIME/[.,]/} - before)) -ge 1000000 ]
check "one line, while it lasts" [ "$(grep -c . "$TMP/out")" -eq 1 ]
step 0 "hold 5"
check "over, with the value that ended it" wait_for 20 says "over  steps \[$pid\]: class=40960 live_blocks 5 \(.*\) after [0-9.]+ s$"
check "and the other one" wait_for 20 says "ALERT .* live_blocks 5 \(class=40000 live_blocks==5\)$"
check "lines begin with the time" [ "$(grep -cE '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[+-][0-9]{4} ' "$TMP/out")" -eq 3 ]
kill -INT $watcher
wait $watcher
check "Ctrl-C after alerts: 5" [ $? -eq 5 ]
check "nothing on stderr" test ! -s "$TMP/err"

# --- exit statuses ------------------------------------------------------------------------
code "no alert within -d" 0 watch -p "$pid" --alert 'class=40000 live_blocks>5' -i 0.1 -d 0.3
check "and nothing is printed" test ! -s "$TMP/out"
code "--once" 5 watch -p "$pid" --alert 'class=40000 live_blocks<=5' -i 0.1 --once
code "what is unknown fulfils nothing" 0 watch -p "$pid" --alert 'hit_rate<101%' --alert 'hit_rate!=3' -i 0.1 -d 0.3
code "a thread that is not there neither" 0 watch -p "$pid" --alert 'thread=nobody allocs_per_s>=0' -i 0.1 -d 0.3
code "no such process" 3 watch -p 999999999 --alert 'ooms>0'
code "without a process" 2 watch --alert 'ooms>0'
code "without an alert" 2 watch -p "$pid"
cp "$HAKSTAT" "$TMP/hakstat"
chmod 755 "$TMP" "$TMP/hakstat"
code "a process of another user" 4 setpriv --reuid=65534 --regid=65534 --clear-groups "$TMP/hakstat" watch -p "$pid" --alert 'ooms>0'
code "with -c" 5 watch -c "$TMP/steps" --alert 'rss>1KiB' -i 0.1 --once

# --- errors, with a caret -----------------------------------------------------------------
wrong() { # ALERT COLUMN MESSAGE
	watch -p "$pid" --alert "$1" >"$TMP/out" 2>"$TMP/err"
	local rc=$?

	printf '  %s\n  %*s^\n' "$1" "$2" '' >"$TMP/expected"
	if [[ $rc -eq 2 ]] && head -n 1 "$TMP/err" | grep -q "^hakstat: --alert: $3" && tail -n +2 "$TMP/err" | cmp -s - "$TMP/expected"; then
		ok "error at $2: $1"
	else
		not_ok "error at $2: $1" "status $rc" "$(cat "$TMP/err")"
	fi
}
wrong 'hitrate<95 for 10s' 0 "no column 'hitrate' of a whole process; near: hit_rate"
wrong 'class=64 rss>1M' 9 "no column 'rss' of classes"
wrong 'hit_rate 95' 9 'a comparison is expected'
wrong 'hit_rate<' 9 'a number is expected'
wrong 'hit_rate<0x5f' 9 'a number is expected'
wrong 'hit_rate<5ms' 10 "no unit 'ms' here; there are %"
wrong 'wait_ns>5' 9 'a time needs its unit'
wrong 'rss>1GiB/min' 8 'rss_bytes is no rate'
wrong 'rss grows>1MiB' 14 'grows by that in which time'
wrong 'comm>3' 0 'comm is text'
wrong 'hit_rate<95 for' 15 'a number is expected'
wrong 'hit_rate<95 for 10 parsecs' 19 'not a unit of time'
wrong 'hit_rate<95 for 1s then' 19 'nothing more'
wrong 'hit_rate<95 and' 15 'the name of a column'
wrong 'class= live_blocks>1' 6 'which class'
wrong '' 0 'the name of a column'

# --- what can be written ------------------------------------------------------------------
# 5 blocks of 40960 bytes are 200 KiB
for a in 'class=40000 live_blocks>=5' 'class=40960 HELD>=200KiB' 'class=4096? live_blocks==5' 'class=* held_bytes>=0.1M' \
	'memory=live size_bytes>=204800' 'thread=steps cached_bytes>=0' "thread=$pid cached_bytes >= 0B" 'rss>=1kB and class=40000 live_blocks!=4' \
	'rss>0.001MiB for 0.1 s' 'class=40000 live_blocks=5' 'threads<2'; do
	code "$a" 5 watch -p "$pid" --alert "$a" -i 0.05 -d 20 --once
done
for a in 'class=40000 live_blocks>5' 'class=40961 live_blocks>=0' 'held_bytes<204800' 'memory=nosuch size_bytes>=0' 'rss>1TB' \
	'class=40000 live_blocks==5 and class=40000 live_blocks==6' 'threads>1' 'misuses>0' 'live_bytes grows>1B/d for 0.1s'; do
	code "$a" 0 watch -p "$pid" --alert "$a" -i 0.05 -d 0.2 --once
done
step 0 "leak" # 6000 blocks a minute
code "a leak" 5 watch -p "$pid" --alert 'class=40000 live_blocks grows>600/min for 0.5s' -i 0.1 -d 20 --once
check "tells how fast it grows" says 'live_blocks grows [0-9.]+k?/min'
code "not a faster one" 0 watch -p "$pid" --alert 'class=40000 live_blocks grows>60k/min for 0.5s' -i 0.1 -d 0.8 --once
step 0 "hold 5"

# --- JSON, and a command ------------------------------------------------------------------
# Its name is the target's: it comes to the command without what a shell would do something with.
step 0 'name a;$(touch x)`'
cat >"$TMP/errand" <<'END'
#!/bin/sh
printf '%s\n' "$#" "$@" >"$0.args"
env | grep ^HAKSTAT_ | sort >"$0.new"
mv "$0.new" "$0.out"
echo heard
END
chmod +x "$TMP/errand"
cd "$TMP" || exit 1
code "a command with ; at its end is none" 2 watch -p "$pid" --alert 'ooms>0' --exec "$TMP/errand ;"
# shellcheck disable=SC2016 # as it is
code "a variable that is not there yet is none" 2 watch -p "$pid" --alert 'ooms>0' --exec 'sh -c "echo $HAKSTAT_VALUE"'
code "substitution is none" 2 watch -p "$pid" --alert 'ooms>0' --exec 'echo $(touch y)'
HOME="/a b" code "--exec with arguments" 5 watch -p "$pid" --alert 'class=40000 live_blocks==5' -i 0.1 --once --json --exec "$TMP/errand 'one two'"
check "hakstat waits for it" test -s "$TMP/errand.out"
check "its arguments" [ "$(tr '\n' '|' <"$TMP/errand.args")" = "1|one two|" ]
check "its output goes to stderr" grep -q '^heard$' "$TMP/err"
cat >"$TMP/expected" <<END
HAKSTAT_ALERT=class=40000 live_blocks==5
HAKSTAT_COLUMN=live_blocks
HAKSTAT_COMM=a___touch_x__
HAKSTAT_PID=$pid
HAKSTAT_ROW=40960
HAKSTAT_VALUE=5
HAKSTAT_VIEW=classes
END
grep -vE '^HAKSTAT_(TIME|CGROUP)=' "$TMP/errand.out" >"$TMP/variables"
same "what it is told" "$TMP/expected" "$TMP/variables"
check "nothing of the target was run" test ! -e x -a ! -e y
python3 - "$TMP/out" "$pid" >"$TMP/wrong" 2>&1 <<'END'
import json, sys
lines = open(sys.argv[1]).read().splitlines()
assert len(lines) == 1, lines
told = json.loads(lines[0])
assert told["schema"] == "hakstat.watch/1" and told["event"] == "alert" and told["pid"] == int(sys.argv[2]), told
assert told["expression"] == "class=40000 live_blocks==5" and told["for_s"] == 0, told
assert told["values"] == [{"view": "classes", "row": "40960", "column": "live_blocks", "grows": False, "value": 5}], told
END
check "JSON: $(tail -n 1 "$TMP/wrong")" test ! -s "$TMP/wrong"
code "as CSV" 5 watch -p "$pid" --alert 'class=40000 live_blocks==5 and threads<2' -i 0.1 --once --csv
check "a line for each condition" python3 - "$TMP/out" "$pid" <<'END'
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1], newline="")))
assert [(r["event"], r["pid"], r["view"], r["row"], r["column"], r["grows"], r["value"], r["lasted_s"]) for r in rows] == [
    ("alert", sys.argv[2], "classes", "40960", "live_blocks", "false", "5", ""),
    ("alert", sys.argv[2], "processes", "", "threads", "false", "1", "")], rows
END

# --- without BPF it does as well, and does not complain where it is not needed -------------
setpriv --bounding-set=-bpf,-perfmon,-sys_admin "$HAKSTAT" watch -p "$pid" --alert 'class=40000 live_blocks==5' -i 0.1 --once >"$TMP/out" 2>"$TMP/err"
check "counters need no BPF: 5" [ $? -eq 5 ]
check "and no word about it" test ! -s "$TMP/err"
setpriv --bounding-set=-bpf,-perfmon,-sys_admin "$HAKSTAT" watch -p "$pid" --alert 'lock=arena p99_ns>=0' -i 0.1 -d 0.2 >"$TMP/out" 2>"$TMP/err"
check "what needs BPF says so" grep -q 'no permission for BPF: .*setcap' "$TMP/err"

check "help tells where a column can be used" grep -q 'in alerts: class=SIZE hit_rate$' <("$HAKSTAT" help hit_rate)
end_steps 0
finish
