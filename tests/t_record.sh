#!/usr/bin/env bash
# timeout: 240
# What is recorded is what was there: exact counts, views and times of a replay, by anybody; files
# that are cut, damaged, forged, gone on with. And hakstat trace line by line. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/hakstat/watch.sh
. "$ROOT/tests/hakstat/watch.sh"
need tmux setpriv
unset NO_COLOR COLUMNS

build() { # NAME ARGS...
	"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -fno-builtin "$ROOT/tests/hakstat/$1.c" -o "$TMP/$1" "${@:2}" -pthread ||
		{ echo "hakstat/$1.c does not compile"; exit 1; }
}
h=$ROOT/hakstat
build traced
build views
build recfile -I"$h" -I"$ROOT/probes" -I"$ROOT/bpf" -I"$ROOT/tests" \
	"$h"/{recording,recorder,instant,sample_instant,target,copies,mapped,privilege,proc_stat,contract,progress}.c -lelf -lz

report() { "$HAKSTAT" report --replay "$@" 2>"$TMP/err"; }

# --- the file, by itself ---

mkdir "$TMP/files"
"$TMP/recfile" "$TMP/files" || failures=$((failures + 1))
forged=$TMP/files/forged
bad=
for view in classes locks os threads route remote memory fragments pages; do
	for format in --rows=100 --json --csv; do
		report "$forged" --view $view $format >"$TMP/out" || bad+=" $view$format:$?"
		LC_ALL=C grep -qP '[^\x20-\x7e\r\n]' "$TMP/out" "$TMP/err" && bad+=" $view$format"
	done
done
"$HAKSTAT" top --replay "$forged" -b >"$TMP/out" 2>&1 || bad+=" top:$?"
LC_ALL=C grep -qP '[^\x20-\x7e\r\n]' "$TMP/out" && bad+=" top"
check "a forged file is shown, without its escapes:$bad" test -z "$bad"

# --- what it counts ---

frames() { "$HAKSTAT" top --replay "$1" -b 2>/dev/null | grep -c '^--- '; }
# shellcheck disable=SC2317 # called by wait_for
has_frames() { [ "$(frames "$1")" -ge "$2" ]; }

# recorded PROGRAM SCENARIO FILE: step 1 of it in a recording, and in $TMP/live.json by `stat'
recorded() {
	local recorder live

	start_known "$1" "$2" || return 1
	"$HAKSTAT" record -p "$known_pid" -o "$3" -i 0.2 2>"$TMP/record.err" 7>&- &
	recorder=$!
	wait_attached "$known_pid" $recorder || not_ok "record attaches" "$(cat "$TMP/record.err")"
	wait_for 10 test -s "$3"
	"$HAKSTAT" stat -p "$known_pid" -d 60 --json >"$TMP/live.json" 2>"$TMP/err" 7>&- &
	live=$!
	wait_for 20 waits $live
	go
	wait_for 30 test -s "$TMP/counts"
	wait_for 30 has_frames "$3" 6
	kill -INT $live $recorder
	wait $live
	wait $recorder
	check "$2: record ends with 0" [ $? -eq 0 ]
}

recorded "$TMP/known" pairs "$TMP/pairs"
check "record says what and where" grep -q "recording known \[$known_pid\] to $TMP/pairs" "$TMP/record.err"
compare "the live view is exact" "$TMP/counts" "$TMP/live.json"

# more of the same process: a second session; another recorder at once, another process, no file
"$HAKSTAT" record -p "$known_pid" -o "$TMP/pairs" -i 0.1 2>"$TMP/record.err" 7>&- &
recorder=$!
wait_for 20 waits $recorder
"$HAKSTAT" record -p "$known_pid" -o "$TMP/pairs" 2>"$TMP/err"
check "two recorders, one file: 1" [ $? -eq 1 ]
check "and says so" grep -q 'being written by another hakstat record' "$TMP/err"
size=$(stat -c %s "$TMP/pairs")
wait_for 10 eval '[ $(stat -c %s "$TMP/pairs") -gt '"$size"' ]'
kill -KILL $recorder
wait $recorder 2>/dev/null
end_known
report "$TMP/pairs" --at -0 >"$TMP/out"
check "what a killed recorder left is replayed, to its end" grep -q '^ size classes' "$TMP/out"
report "$TMP/pairs" >/dev/null
check "the break between the two is told" grep -q 'interrupted' "$TMP/err"

python3 - "$TMP/pairs" "$TMP/first" <<'END'
import struct, sys
data, out, at, sessions = open(sys.argv[1], "rb").read(), b"", 0, 0
while at < len(data):  # the first session alone
    kind, size = struct.unpack_from("<II", data, at + 4)
    sessions += kind == 1
    if sessions == 2:
        break
    out += data[at : at + 32 + size]
    at += 32 + size
open(sys.argv[2], "wb").write(out)
END
report "$TMP/first" --json >"$TMP/json"
compare "a replay is exact" "$TMP/counts" "$TMP/json"
# the same numbers, interval by interval
python3 - "$TMP/first" "$HAKSTAT" "$TMP/json" >"$TMP/wrong" 2>&1 <<'END'
import json, subprocess, sys
whole, sums, n = json.load(open(sys.argv[3])), {}, 0
def of(at):
    out = subprocess.run([sys.argv[2], "report", "--replay", sys.argv[1], "--json"] + at, capture_output=True, check=True)
    return json.loads(out.stdout)
begin, end = whole["from_ns"], whole["to_ns"]
while begin < end:
    r = of([f"--from=@{begin / 1e9 + 0.00001:.5f}", f"--to=@{begin / 1e9 + 0.0001:.5f}"])
    if r["from_ns"] != begin:
        sys.exit(f"an interval begins at {r['from_ns']}, not at {begin}")
    for c in r["classes"]:
        sums[c["size"]] = sums.get(c["size"], 0) + c["allocs"]
    begin, n = r["to_ns"], n + 1
for c in whole["classes"]:
    if sums[c["size"]] != c["allocs"]:
        print(c["size"], sums[c["size"]], c["allocs"])
if n < 3:
    print(n, "intervals")
END
check "its intervals add up to it: $(head -n 3 "$TMP/wrong")" test ! -s "$TMP/wrong"

# what takes long says so: on a terminal, here at once
terminal() { # COMMAND: by sh, what it shows in $TMP/tty
	python3 - "$TMP/tty" "$1" <<'END'
import os, pty, sys
os.environ.update(HAKSTAT_PROGRESS="1", TERM="xterm")
out = open(sys.argv[1], "wb")
def read(fd):
    data = os.read(fd, 4096)
    out.write(data)
    return data
keys = iter([b"q"])
pty.spawn(["sh", "-c", sys.argv[2]], read, lambda fd: next(keys, b""))
END
}
terminal "'$HAKSTAT' report --replay '$TMP/first' >'$TMP/out'" </dev/null
check "progress: how much of the file is read" grep -q $'\rreading the recording: [0-9]* of [1-9][0-9]* KiB\033\[K.*\r\033\[K' "$TMP/tty"
check "progress: how many frames are gone through" grep -q $'\rgoing through the recording: 1 of [1-9][0-9]* frames\033\[K.*\r\033\[K' "$TMP/tty"
terminal "'$HAKSTAT' top --replay '$TMP/first'" </dev/null
check "progress: in the last line of top" grep -q 'reading the recording: [0-9]* of [1-9]' "$TMP/tty"
terminal "'$HAKSTAT' top --replay '$TMP/first' -b -n 1 >'$TMP/out' 2>'$TMP/err'" </dev/null
check "progress: on a terminal alone" eval 'test -s "$TMP/out" && ! grep -q "recording:" "$TMP/tty" "$TMP/err" "$TMP/out"'

"$HAKSTAT" record -c true -o "$TMP/pairs" >"$TMP/out" 2>&1
check "a command does not go into a file that is there: 1" [ $? -eq 1 ]
"$HAKSTAT" record -c "$TMP/known pairs $TMP/counts now" -o "$TMP/command" -i 0.1 </dev/null 2>"$TMP/err"
check "record -c ends with its command" [ $? -eq 0 ]
report "$TMP/command" --json >"$TMP/json"
compare "from its first allocation on" "$TMP/counts" "$TMP/json" only
report "$TMP/pairs" --view nosuch >/dev/null
check "no such view: 2" [ $? -eq 2 ]
report "$TMP/pairs" --view syscalls >/dev/null
check "a view that is not recorded: 1" [ $? -eq 1 ]
check "and why" grep -q 'syscalls: not in recordings' "$TMP/err"
report /etc/passwd >/dev/null
check "not a recording: 1" [ $? -eq 1 ]
report "$TMP/pairs" --at noon >/dev/null
check "not a time: 2" [ $? -eq 2 ]

# --- views of more, as they were live ---

judge() { # NAME ARGS...: of views.py
	local name=$1 wrong

	shift
	wrong=$(python3 "$ROOT/tests/hakstat/views.py" "$@" 2>&1)
	if [[ -z $wrong ]]; then ok "$name"; else not_ok "$name" "$(head -n 8 <<<"$wrong")" "$(head -n 3 "$TMP/err")"; fi
}
recorded "$TMP/views" pairs "$TMP/threads"
other=$known_pid
"$HAKSTAT" record -p $$ -o "$TMP/threads" 2>"$TMP/err"
check "no hakmem there: 3" [ $? -eq 3 ]
for view in threads remote memory; do
	report "$TMP/threads" --view $view --json >"$TMP/$view.json"
	"$HAKSTAT" $view -p "$known_pid" -d 0.1 --json >"$TMP/now.json" 2>/dev/null
	keys=$(python3 -c 'import json, sys
a, b = (json.load(open(f)) for f in sys.argv[1:])
print(*sorted(set(a) ^ set(b) - {"from_ns", "to_ns"}))' "$TMP/$view.json" "$TMP/now.json")
	check "$view: the keys of JSON are those of the live view: $keys" [ "$keys" = "from_ns to_ns" ]
done
report "$TMP/threads" --view threads --at +0.1 --json >"$TMP/before.json"
judge "threads of a replay are exact" threads "$TMP/threads.json" "$TMP/before.json"
judge "remote frees of a replay are exact" remote "$TMP/remote.json"
check "memory adds up" python3 -c 'import json, sys
r = json.load(open(sys.argv[1]))
sys.exit(not r["rss_bytes"] or sum(l["resident_bytes"] for l in r["rows"]) != r["rss_bytes"])' "$TMP/memory.json"
report "$TMP/threads" --view threads --csv >"$TMP/csv"
judge "CSV has the columns of JSON" csv "$TMP/threads.json" "$TMP/csv"
end_known
start_known "$TMP/known" pairs
"$HAKSTAT" record -p "$known_pid" -o "$TMP/threads" 2>"$TMP/err" 7>&-
check "the file of another process: 1" [ $? -eq 1 ]
check "and says whose it is" grep -q "another process (views \[$other\]" "$TMP/err"
"$HAKSTAT" record -p "$known_pid" -o "$TMP/ends" -i 30 2>"$TMP/record.err" 7>&- &
recorder=$!
wait_attached "$known_pid" $recorder && wait_for 10 test -s "$TMP/ends"
go
wait_for 30 test -s "$TMP/counts"
end_known
wait_for 10 gone $recorder
wait $recorder
check "the process ends: record ends with 0" [ $? -eq 0 ]
check "and says so" grep -q exited "$TMP/record.err"
report "$TMP/ends" >"$TMP/out"
check "what probes told at its end is there" grep -q '^ it ended: counts after' "$TMP/out"

# --- by anybody ---

chmod 711 "$TMP"
chmod 644 "$TMP/threads"
cp "$HAKSTAT" "$TMP/hakstat"
nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --no-new-privs "$TMP/hakstat" "$@"; }
report "$TMP/threads" >"$TMP/root.out"
nobody report --replay "$TMP/threads" >"$TMP/nobody.out" 2>"$TMP/err"
same "nobody sees the same" "$TMP/root.out" "$TMP/nobody.out"
check "with nothing to complain about" test ! -s "$TMP/err"
check "threads: the command of the view does it, too" grep -q '^ taker ' <("$HAKSTAT" threads --replay "$TMP/threads" -w 100)

export TERM=xterm-256color TMUX_TMPDIR=$TMP
unset TMUX
on() { tmux -L hakrec -f /dev/null "$@"; }
screen() { on capture-pane -p -t top; }
keys() { on send-keys -t top "$@"; }
shows() { screen | grep -qE -- "$1"; }
appears() { check "$1" wait_for 8 shows "$2"; } # NAME PATTERN
n=$(frames "$TMP/threads")
check "plain frames: all of them ($n)" [ "$n" -ge 4 ]
cat >"$TMP/top" <<END
setpriv --reuid 65534 --regid 65534 --clear-groups "$TMP/hakstat" top --replay "$TMP/threads" -d 0.2
echo ended with \$?
sleep 60
END
on new-session -d -s top -x 80 -y 24 "sh $TMP/top"
end_at_exit "$(on display -p '#{pid}')"
appears "top of a recording: its end" "^20[0-9-]+ [0-9:]+ +$n/$n paused"
appears "the time in the first line" '^[0-9]{2}:[0-9]{2}:[0-9]{2} +views \['
keys '['
appears "[ steps back" " $((n - 1))/$n paused"
keys Left
appears "so does left" " $((n - 2))/$n paused"
keys ']'
appears "] steps on" " $((n - 1))/$n paused"
keys Home
appears "Home" " 1/$n paused"
keys Right
appears "right" " 2/$n paused"
keys '{'
appears "a minute back" " 1/$n paused"
keys '}'
appears "a minute on" " $n/$n paused"
keys Home ' '
appears "space plays" " ([2-9]|[1-9][0-9]+)/$n (playing|paused)"
keys End
appears "to the end" " $n/$n paused"
keys 4
appears "threads of a recording" '^(maker|taker) '
keys 9
appears "what is not recorded says so" 'not in recordings'
keys 7
appears "memory of a recording" '^live '
keys '?'
appears "help has the keys" '^  Home +to its begin'
keys x 1
appears "classes" '^ *SIZE +ALLOC/s'
keys Enter
appears "no stacks" 'recordings have no stacks'
keys q
appears "q ends it with 0" 'ended with 0'
on kill-server

# --- trace ---

traced() { # ARGS...: of trace, in the background
	start_known "$TMP/traced" "" || return 1
	"$HAKSTAT" trace -p "$known_pid" -e oom,mmap_fallback "$@" >"$TMP/trace" 2>"$TMP/err" 7>&- &
	tracer=$!
	wait_for 20 tracing
}
# shellcheck disable=SC2317 # called by wait_for
tracing() { [[ $(attached_sites "$known_pid") =~ ^2\  ]]; }

traced
go
wait_for 20 test -s "$TMP/counts"
check "lines come while it runs" wait_for 20 eval '[ $(wc -l <"$TMP/trace") -eq 40 ]'
sed -E 's/^[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6} //' "$TMP/trace" >"$TMP/lines"
same "trace: every event, in order, with its arguments" "$TMP/counts" "$TMP/lines"
end_known
wait_for 10 gone $tracer
wait $tracer
check "the target ends: 0" [ $? -eq 0 ]
check "and says so" grep -q exited "$TMP/err"

traced --rate 100 --json
go
wait_for 20 test -s "$TMP/counts"
go
# shellcheck disable=SC2317 # called by wait_for
burst_is_over() { waits "$known_pid" || [[ $(cat "/proc/$known_pid/syscall") =~ ^(0|63)\  ]]; }
wait_for 20 burst_is_over
sleep 0.1
kill -INT $tracer
wait $tracer
check "Ctrl-C: 0" [ $? -eq 0 ]
python3 - "$TMP/trace" "$TMP/err" >"$TMP/wrong" 2>&1 <<'END'
import json, re, sys
events = [json.loads(l) for l in open(sys.argv[1])]
shown = [e for e in events if "probe" in e]
dropped = sum(e["dropped"] for e in events if "dropped" in e)
said = re.search(r"(\d+) events shown, (\d+) dropped to keep to --rate, (\d+) lost", open(sys.argv[2]).read())
if len(shown) + dropped != 3040 or [int(x) for x in said.groups()] != [len(shown), dropped, 0]:
    print(len(shown), dropped, said.groups())
seconds = (shown[-1]["time_ns"] - shown[0]["time_ns"]) // 10**9 + 2
if len(shown) > 100 * seconds or not dropped:
    print(len(shown), "events in", seconds, "s")
base = 2**63
seen = {e["args"]["bytes"] - base for e in shown if e["probe"] == "oom"}
if not seen <= set(range(3000)):
    print("other bytes")
# where some are missing, that was said between the two
last = None
for e in events:
    if "probe" not in e:
        last = None
    elif e["probe"] == "oom" and e["thread"] != "tracer":
        n = e["args"]["bytes"] - base
        if last is not None and n != last + 1:
            print("a gap between", last, "and", n)
        last = n
END
check "3040 events, each shown or counted as dropped: $(head -n 3 "$TMP/wrong")" test ! -s "$TMP/wrong"
end_known

traced -n 3 --csv
go
wait_for 10 gone $tracer
wait $tracer
check "-n 3: 0" [ $? -eq 0 ]
check "CSV: a heading and three events" [ "$(wc -l <"$TMP/trace")" -eq 4 ]
check "and their arguments" grep -q '^[0-9]*,[0-9]*,tracer,oom,,9223372036854775808,,size above PTRDIFF_MAX,' "$TMP/trace"
"$HAKSTAT" trace -p "$known_pid" --min-ns 1 -d 0.1 -e refill >/dev/null 2>&1
check "--min-ns of what has no duration: 2" [ $? -eq 2 ]
end_known
"$HAKSTAT" trace -c "$TMP/known large $TMP/counts now" --min-ns 1 </dev/null >"$TMP/trace" 2>"$TMP/err"
check "--min-ns: durations, and nothing without" eval 'grep -q "os_map(addr=0x[0-9a-f]*, bytes=[0-9]*B, reason=large) <0\.[0-9]\{9\}>$" "$TMP/trace" && ! grep -qv "<[0-9.]*>$" "$TMP/trace"'
"$HAKSTAT" trace -c "$TMP/known pairs $TMP/counts now" </dev/null 2>"$TMP/err" | head -n 1 >/dev/null
check "trace | head ends with 0" [ "${PIPESTATUS[0]}" -eq 0 ]
"$HAKSTAT" trace -p 1 -e nosuch >/dev/null 2>"$TMP/err"
check "no such probe: 2" [ $? -eq 2 ]
finish
