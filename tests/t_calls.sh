#!/usr/bin/env bash
# timeout: 240
# hakstat syscalls and locks: every number against programs that know it, and against strace -c.
# Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/hakstat/watch.sh
. "$ROOT/tests/hakstat/watch.sh"

PATH=$PATH:/usr/sbin
need strace tmux bpftool
compile() { # OUT ARGS...
	"$CC" -std=gnu11 -O1 -fno-builtin -I"$ROOT/probes" "$ROOT/tests/hakstat/calls.c" -o "$@" -pthread -ldl 2>"$TMP/cc" ||
		{ cat "$TMP/cc"; echo "hakstat/calls.c does not compile"; exit 1; }
}
compile "$TMP/calls"
compile "$TMP/calls.static" -static "$BUILD/libhakmem.a"

compare() { # NAME ARGS...
	local name=$1 wrong

	shift
	wrong=$(python3 "$ROOT/tests/hakstat/calls.py" "$@" 2>&1) && [[ -z $wrong ]] && { ok "$name"; return; }
	not_ok "$name" "$(head -n 8 <<<"$wrong")" "$(head -n 3 "$TMP/err")"
}

# begin COMMAND [OPTION...]: hakstat on the target until finish_watch; sets watcher
begin() {
	local command=$1

	shift
	"$HAKSTAT" "$command" -p "$known_pid" -d 120 --budget 0 "$@" >"$TMP/json" 2>"$TMP/err" 7>&- &
	watcher=$!
	wait_attached "$known_pid" $watcher || not_ok "$command attaches" "$(cat "$TMP/err")"
}

finish_watch() { # NAME
	kill -TERM $watcher
	wait $watcher
	check "$1: hakstat ends with 0" [ $? -eq 0 ]
}

told() { grep -qs . "$TMP/counts"; }

# The program runs, hakstat watches all it does after its byte.
watched() { # COMMAND SCENARIO [PROGRAM [NAME]]
	local command=$1 scenario=$2 name=${4:-$2}

	start_known "${3:-$TMP/calls}" "$scenario" || return
	begin "$command" --json
	go
	wait_for 60 told || not_ok "$name: the program comes to its end"
	finish_watch "$name"
	end_known
	compare "$name: every number" "$TMP/counts" "$TMP/json"
}

watched syscalls plain
watched syscalls mapping
watched syscalls later
watched syscalls mapping "$TMP/calls.static" "mapping, static"
watched syscalls plain "$TMP/calls.static" "plain, static"
watched locks convoy
watched locks convoy "$TMP/calls.static" "convoy, static"

# By -c it has ended when its words are to be named, and most of its threads when they are counted.
HAKMEM_LIB=$LIB "$HAKSTAT" locks -c "$TMP/calls convoy $TMP/counts now" --budget 0 --json --stacks >"$TMP/json" 2>"$TMP/err" </dev/null
compare "convoy by -c: every number" "$TMP/counts" "$TMP/json"
check "convoy by -c: the share is of all threads' time" python3 -c 'import json, sys
r = next(r for r in json.load(open(sys.argv[1]))["rows"] if r["lock"] == "mutex")
sys.exit(not 0.1 < r["share"] < 0.35)' "$TMP/json"
# threads also wait for each other's turn to get a heap, in the same function
check "convoy by -c: where the allocator waits from" python3 -c 'import json, sys
j = json.load(open(sys.argv[1]))
ours = [r for r in j["rows"] if r["owner"] == "allocator"]
arena = next(r for r in ours if r["lock"] == "arena")
here = [r for r in j["stacks"] if any(f["function"] == "wait_for_arena" for f in r["frames"])]
wrong = sum(r["events"] for r in here) < arena["waits"] or sum(r["time_ns"] for r in here) < arena["wait_ns"]
for stacks, locks in (("events", "waits"), ("time_ns", "wait_ns")):
    wrong |= sum(r[stacks] for r in j["stacks"]) != sum(r[locks] for r in ours)
sys.exit(wrong)' "$TMP/json"

# Built by the other compiler: what goes into the kernel, and what calls it.
if command -v clang >/dev/null; then
	mkdir "$TMP/clang"
	cp "$BUILD"/obj/lib/*.o "$TMP/clang"
	for file in syscall os lock die; do
		clang -O2 -g -std=gnu11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-builtin \
			-fexceptions -I"$ROOT/lib" -I"$ROOT/probes" -c "$ROOT/lib/$file.c" -o "$TMP/clang/$file.o"
	done
	"$CC" -shared -Wl,-soname,libhakmem.so.0 -Wl,--version-script="$ROOT/lib/libhakmem.map" "$TMP"/clang/*.o \
		-o "$TMP/clang/libhakmem.so" -pthread || not_ok "clang builds the library"
	SO=$TMP/clang/libhakmem.so watched syscalls mapping "$TMP/calls" "mapping, library by clang"
	SO=$TMP/clang/libhakmem.so watched locks convoy "$TMP/calls" "convoy, library by clang"
fi

# strace counts the same, whoever made the call. Addresses are the same in both: where a mapping
# comes to lie decides how much of it is cut off.
export HAKMEM_DECAY_MS=3600000
for program in calls calls.static; do
	library=$LIB
	[[ $program == *.static ]] && library=
	setarch -R strace -f -c -U name,calls,errors -o "$TMP/strace" ${library:+-E LD_PRELOAD="$library"} \
		"$TMP/$program" mapping "$TMP/counts" now </dev/null 2>"$TMP/err"
	HAKMEM_LIB=$LIB setarch -R "$HAKSTAT" syscalls -c "$TMP/$program mapping $TMP/counts now" --budget 0 --json \
		>"$TMP/json" 2>"$TMP/err" </dev/null
	check "$program by -c: hakstat ends with 0" [ $? -eq 0 ]
	compare "$program by -c: as strace -c -f" "$TMP/counts" "$TMP/json" strace "$TMP/strace"
done
unset HAKMEM_DECAY_MS

# A process that becomes another program is counted from there.
start_known "$TMP/calls" exec
rm "$TMP/counts.pid"
begin syscalls --json
go
wait_for 60 told || not_ok "exec: the program comes to its end"
finish_watch exec
end_known
compare "exec: the second program's numbers" "$TMP/counts" "$TMP/json"
"$HAKSTAT" syscalls -c "$TMP/calls exec $TMP/counts now" --budget 0 --json >"$TMP/json" 2>"$TMP/err" </dev/null
compare "exec by -c: the second program's numbers" "$TMP/counts" "$TMP/json"

# Calls that go on are there, with the part of their time that lies in the interval.
start_known "$TMP/calls" stuck
wait_for 20 told
"$HAKSTAT" locks -p "$known_pid" -d 1 --json >"$TMP/json" 2>"$TMP/err" 7>&-
compare "stuck: threads that wait all the time" "$TMP/counts" "$TMP/json"
"$HAKSTAT" syscalls -p "$known_pid" -d 1 --csv >"$TMP/csv" 2>"$TMP/err" 7>&-
cat >"$TMP/stuck.py" <<'END'
import csv, sys
rows = {r["syscall"]: r for r in csv.DictReader(open(sys.argv[1], newline="")) if r["caller"] == "application"}
futex, read = rows["futex"], rows["read"]
assert futex["now"] == "3" and futex["calls"] == "0" and 2.9 < float(futex["threads_mean"]) < 3.1, futex
assert read["now"] == "2" and read["calls"] == "0" and read["mean_ns"] == "", read
END
check "stuck: the same as CSV" python3 "$TMP/stuck.py" "$TMP/csv"
"$HAKSTAT" locks -p "$known_pid" -d 0.5 --histogram >"$TMP/out" 2>"$TMP/err" 7>&-
check "a word in shared memory is said to be there" grep -Eq '^ 0x[0-9a-f]+ +application +shared memory\+0x0 .* 1$' "$TMP/out"
check "stuck: as a table" grep -Eq '^ mutex +application +calls\+0x[0-9a-f]+ .* 2$' "$TMP/out"

# kill -9 leaves nothing; what there is to be gone is told by its file descriptors
bpf_of() { sed -n 's/^\(prog\|link\|map\)_id:[[:space:]]*\([0-9]*\)$/\1 \2/p' /proc/"$1"/fdinfo/* | sort -u; }
begin syscalls
bpf_of $watcher >"$TMP/objects"
check "kill -9: it had programs and links of its own" test "$(grep -c '^prog' "$TMP/objects")" -ge 3 -a "$(grep -c '^link' "$TMP/objects")" -ge 3
kill -KILL $watcher
wait $watcher 2>/dev/null
# shellcheck disable=SC2317 # called by wait_for
objects_gone() {
	local kind id

	while read -r kind id; do
		bpftool "$kind" show id "$id" >/dev/null 2>&1 && return 1
	done <"$TMP/objects"
	return 0
}
check "kill -9: no program, link or map is left" wait_for 10 objects_gone

# The process is killed while threads are in calls.
begin syscalls --json
kill -KILL "$known_pid"
wait_for 10 gone $watcher
wait $watcher
check "a target that is killed: hakstat ends with 0" [ $? -eq 0 ]
check "a target that is killed: nothing goes on any more" python3 -c 'import json, sys
sys.exit(any(r["now"] is not None for r in json.load(open(sys.argv[1]))["rows"]))' "$TMP/json"
end_known

# hakstat in another pid namespace than the first, as in a container
if unshare -pf --mount-proc true 2>/dev/null; then
	cat >"$TMP/inside" <<END
#!/bin/bash
mkfifo "$TMP/in"
LD_PRELOAD="$SO" "$TMP/calls" stuck "$TMP/counts" <"$TMP/in" &
calls=\$!
exec 7>"$TMP/in"
for _ in {1..200}; do [[ -s "$TMP/counts" ]] && break; sleep 0.05; done
"$HAKSTAT" locks -p \$calls -d 1 --json >"$TMP/json"
END
	chmod +x "$TMP/inside"
	rm -f "$TMP/counts"
	unshare -pf --mount-proc "$TMP/inside" 2>"$TMP/err"
	compare "pid namespace: threads that wait" "$TMP/counts" "$TMP/json"
else
	skip "pid namespace" "unshare -p is not allowed here"
fi

# Without BPF the counters still tell what the allocator did.
chmod 755 "$TMP"
cp "$HAKSTAT" "$TMP/hakstat"
start_known "$TMP/calls" stuck
wait_for 20 told
setpriv "--bounding-set=-bpf,-perfmon,-sys_admin" "$TMP/hakstat" syscalls -p "$known_pid" -d 0.5 >"$TMP/out" 2>"$TMP/err" 7>&-
check "without BPF: syscalls ends with 0" [ $? -eq 0 ]
check "without BPF: says so" grep -q 'without BPF' "$TMP/out"
setpriv "--bounding-set=-bpf,-perfmon,-sys_admin" "$TMP/hakstat" locks -p "$known_pid" -d 0.5 --json >"$TMP/json" 2>"$TMP/err" 7>&-
check "without BPF: what is unknown is null" python3 -c 'import json, sys
j = json.load(open(sys.argv[1]))
sys.exit(j["futex"] is not None or len(j["rows"]) != 7 or any(r["now"] is not None or r["waits"] is None for r in j["rows"]))' "$TMP/json"

# Screens: the tracepoints are attached while the view is shown.
export TERM=xterm-256color TMUX_TMPDIR=$TMP
unset NO_COLOR TMUX
on() { tmux -L hakmem -f /dev/null "$@"; }
screen() { on capture-pane -p -t top; }
shows() { screen | grep -qE -- "$1"; }
programs() { [[ $(bpf_of "$top" | grep -c '^prog') -eq $1 ]]; }
on new-session -d -s top -x 80 -y 24 "exec '$HAKSTAT' top -p $known_pid -d 0.3"
end_at_exit "$(on display -p '#{pid}')"
top=$(on display -p -t top '#{pane_pid}')
check "top: the classes" wait_for 8 shows '^ *SIZE +ALLOC/s'
check "top: one BPF program" wait_for 5 programs 1
on send-keys -t top 9
check "top: system calls, whose table fits in 80 columns" wait_for 8 shows '^futex +application .*3'
check "top: and what they cost" shows '^hakstat .* BPF [0-9.]+% of a CPU'
check "top: two BPF programs more" wait_for 5 programs 3
check "top: nothing is wider" eval '[[ $(screen | LC_ALL=C.UTF-8 wc -L) -le 80 ]]'
on send-keys -t top 2
check "top: contention, the application's own waits too" wait_for 8 shows '^mutex +application'
check "top: and the allocator's locks" shows '^arena +allocator'
on send-keys -t top Enter
check "top: Enter on the application's waits, which come first: no stacks" wait_for 8 shows '^no probe of the allocator explains this row'
check "top: and it stays there" shows '^mutex +application'
on resize-window -t top -x 150 -y 40
check "top: wide, with what a lock protects" wait_for 8 shows '^arena +allocator +segments and their slices'
on send-keys -t top 1
check "top: they are gone with the view" wait_for 5 programs 1
check "top: the cost is still known" shows '^hakstat .* BPF [0-9.]+% of a CPU'
on kill-server
end_known
finish
