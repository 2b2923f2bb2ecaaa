#!/usr/bin/env bash
# timeout: 400
# alone: looks at every process on libhakmem
# hakstat's commands on every kind of target, its ends, and its exit codes. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/hakstat/watch.sh
. "$ROOT/tests/hakstat/watch.sh"

# stat -p on the running target gives JSON with its pid, attached, nothing lost, sources agreeing.
stat_works() { # NAME
	"$HAKSTAT" stat -p "$known_pid" -d 60 --budget 0 --json >"$TMP/json" 2>"$TMP/err" 7>&- &
	local watcher=$!

	wait_attached "$known_pid" $watcher || not_ok "$1: attaches" "$(cat "$TMP/err")"
	go
	wait_for 20 test -s "$TMP/counts" || not_ok "$1: the program counts"
	kill -INT $watcher
	wait $watcher
	check "$1: stat ends with 0" [ $? -eq 0 ]
	compare "$1: every number" "$TMP/counts" "$TMP/json"
}

PATH=$PATH:/usr/sbin
# --- where the target's library is ---------------------------------------------------------
site_copy=$LIB
start_known "$TMP/known" pairs
rm "$SO"
stat_works "deleted library"
end_known
cp "$LIB" "$SO"
site_copy=

# Recognised by what is in the file, whatever it is called.
mkdir "$TMP/other"
cp "$LIB" "$TMP/other/myalloc.so"
own=$SO SO=$TMP/other/myalloc.so
start_known "$TMP/known" pairs
"$HAKSTAT" list >"$TMP/out"
check "renamed library: is listed" grep -Eq "^ *$known_pid +known " "$TMP/out"
stat_works "renamed library"
end_known
SO=$own

# Ten processes without it map the same files: each of those is opened for one of them.
if command -v strace >/dev/null; then
	sleepers=()
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		sleep 60 &
		sleepers+=($!)
		end_at_exit $!
	done
	wait_for 10 grep -q 'sleep' "/proc/${sleepers[9]}/maps"
	strace -o "$TMP/strace" -e trace=openat "$HAKSTAT" list >/dev/null
	opened=$(grep -cE "\"/proc/($(IFS='|'; echo "${sleepers[*]}"))/(map_files|root)/" "$TMP/strace")
	check "list opens each file once ($opened of those of ten processes)" test "$opened" -lt 10
	kill "${sleepers[@]}"
fi

start_known "$TMP/known.static" pairs
stat_works "static executable"
end_known

# The library is where only the target's mount namespace has it: a tmpfs of its own.
mkdir "$TMP/ns"
cat >"$TMP/in_ns" <<END
#!/bin/sh
mount -t tmpfs none $TMP/ns && cp "$LIB" $TMP/ns/libhakmem.so && exec env LD_PRELOAD=$TMP/ns/libhakmem.so \
	"$TMP/known" pairs "$TMP/counts"
END
chmod +x "$TMP/in_ns"
if unshare -m true 2>/dev/null; then
	rm -f "$TMP/counts" "$TMP/counts.pid"
	[[ -p $TMP/fifo ]] || mkfifo "$TMP/fifo"
	unshare -m "$TMP/in_ns" <"$TMP/fifo" 2>"$TMP/known.err" &
	end_at_exit $!
	exec 7>"$TMP/fifo"
	if wait_for 20 test -s "$TMP/counts.pid"; then
		known_pid=$(cat "$TMP/counts.pid")
		check "mount namespace: the path does not exist here" test ! -e "$TMP/ns/libhakmem.so"
		site_file=$TMP/ns/libhakmem.so site_copy=$LIB
		stat_works "mount namespace"
		end_known
		site_copy=
	else
		not_ok "mount namespace: the target starts" "$(cat "$TMP/known.err")"
	fi
else
	skip "mount namespace" "unshare -m is not allowed here"
fi

# --- how hakstat ends ----------------------------------------------------------------------
start_known "$TMP/known" pairs
"$HAKSTAT" stat -p "$known_pid" -d 60 --json >"$TMP/json" 2>"$TMP/err" 7>&- &
watcher=$!
wait_attached "$known_pid" $watcher
end_known
wait_for 15 gone $watcher
check "target exits: hakstat ends" gone $watcher
kill $watcher 2>/dev/null
wait $watcher
check "target exits: with 0" [ $? -eq 0 ]
check "target exits: says so" grep -Eqi 'exited|ended|gone' "$TMP/err"
check "target exits: what it saw is valid JSON" valid_json "$TMP/json"

start_known "$TMP/known" pairs
"$HAKSTAT" top -p "$known_pid" -d 0.2 -b >"$TMP/top" 2>"$TMP/err" 7>&- &
watcher=$!
wait_for 20 some_attached "$known_pid"
end_known
wait_for 15 gone $watcher
check "target exits: top ends" gone $watcher
kill $watcher 2>/dev/null
wait $watcher
check "target exits: top with 0" [ $? -eq 0 ]
check "target exits: top says so" grep -Eqi 'exited|ended|gone' "$TMP/err" "$TMP/top"

start_known "$TMP/known" pairs
for signal in INT TERM; do
	# a background job of a script ignores SIGINT unless it asks for it
	python3 -c 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])' \
		"$HAKSTAT" stat -p "$known_pid" -d 60 >"$TMP/out" 2>"$TMP/err" 7>&- &
	watcher=$!
	wait_attached "$known_pid" $watcher || not_ok "SIG$signal: attaches"
	kill -$signal $watcher
	wait_for 10 gone $watcher
	check "SIG$signal: hakstat ends" gone $watcher
	kill -KILL $watcher 2>/dev/null
	wait $watcher
	check "SIG$signal: with 0" [ $? -eq 0 ]
	check "SIG$signal: with the table so far" test -s "$TMP/out"
	check "SIG$signal: nothing stays attached" wait_for 5 none_attached "$known_pid"
done

# kill -9: the kernel takes everything away, since nothing is pinned. What there is to be gone is
# told by the file descriptors hakstat has: "prog 12", "link 34".
bpf_of() { sed -n 's/^\(prog\|link\|map\)_id:[[:space:]]*\([0-9]*\)$/\1 \2/p' /proc/"$1"/fdinfo/* | sort -u; }
"$HAKSTAT" stat -p "$known_pid" -d 60 >/dev/null 2>&1 7>&- &
watcher=$!
wait_attached "$known_pid" $watcher || not_ok "kill -9: attaches first"
bpf_of $watcher >"$TMP/objects"
check "kill -9: it had a program and a link" grep -Pzq 'link \d+\n(.*\n)*prog \d+' "$TMP/objects"
kill -KILL $watcher
wait $watcher 2>/dev/null
check "kill -9: the sites are nops again" wait_for 5 none_attached "$known_pid"
# shellcheck disable=SC2317 # called by wait_for
objects_gone() {
	local kind id

	while read -r kind id; do
		bpftool "$kind" show id "$id" >/dev/null 2>&1 && return 1
	done <"$TMP/objects"
	return 0
}
check "kill -9: no program, link or map is left" wait_for 10 objects_gone
check "kill -9: nothing is pinned" test -z "$(find /sys/fs/bpf -iname '*hak*' 2>/dev/null)"

# --- the other commands --------------------------------------------------------------------
for command in list doctor "doctor -p $known_pid" probes "probes -p $known_pid"; do
	# shellcheck disable=SC2086 # words are meant
	"$HAKSTAT" $command --json >"$TMP/json" 2>"$TMP/err"
	check "$command --json ends with 0" [ $? -eq 0 ]
	check "$command --json is valid" valid_json "$TMP/json"
	# shellcheck disable=SC2086
	"$HAKSTAT" $command >"$TMP/out" 2>"$TMP/err"
	check "$command prints plain text" bash -c "test -s '$TMP/out' && ! grep -q \$'\\x1b' '$TMP/out'"
done
"$HAKSTAT" list >"$TMP/out"
check "list shows the target" grep -Eq "^ *$known_pid +known " "$TMP/out"
"$HAKSTAT" list --json >"$TMP/json"
cat >"$TMP/listed.py" <<'END'
import json, sys
text, pid = open(sys.argv[1]).read(), int(sys.argv[2])
entries = json.loads(text)
entries = entries if isinstance(entries, list) else next(v for v in entries.values() if isinstance(v, list))
mine = [e for e in entries if e["pid"] == pid]
assert len(mine) == 1, "listed once"
assert mine[0]["version"] == sys.argv[3], "its version"
assert mine[0]["threads"] >= 1 and mine[0]["rss_bytes"] > 0
END
check "list --json tells pid, version, threads, RSS" \
	python3 "$TMP/listed.py" "$TMP/json" "$known_pid" "$(sed -n 's/.*HAKMEM_VERSION "\(.*\)"/\1/p' "$ROOT/lib/hakmem.h")"
"$HAKSTAT" probes --json >"$TMP/json"
while read -r provider name _; do
	grep -q "\"$name\"" "$TMP/json" || not_ok "probes --json knows $provider:$name"
done < <("$BUILD/gen" notes)
"$HAKSTAT" probes -p "$known_pid" >"$TMP/out"
check "probes -p gives commands for this process" grep -Eq "bpftrace .*-p $known_pid|bpftrace -p $known_pid" "$TMP/out"

"$HAKSTAT" top -p "$known_pid" -b -n 3 -d 0.3 >"$TMP/top" 2>"$TMP/err" </dev/null
check "top -b -n 3 ends with 0" [ $? -eq 0 ]
check "top -b is plain text" bash -c "! grep -q \$'\\x1b' '$TMP/top'"
check "top -b prints three frames" [ "$(grep -c "$known_pid" "$TMP/top")" -eq 3 ]
check "top shows its own cost" grep -Eqi 'lost' "$TMP/top"

"$HAKSTAT" stat -p "$known_pid" -d 0.3 >"$TMP/out" 2>"$TMP/err"
check "stat prints a table" grep -Eq '^ *112 ' "$TMP/out"
end_known

# -c: the command's own end is the end
"$HAKSTAT" stat -c "true" -d 30 --json >"$TMP/json" 2>"$TMP/err"
status=$?
check "-c with a command that is too short to see: 0 or 3, and says why" \
	test "$status" -eq 0 -o "$status" -eq 3 -a -s "$TMP/err"
timeout 30 "$HAKSTAT" stat -c "$TMP/known pairs $TMP/counts now" -d 60 --json >"$TMP/json" 2>"$TMP/err" < <(sleep 2)
check "-c: the command ends within the interval, exit 0" [ $? -eq 0 ]
check "-c: and hakstat says so" grep -Eqi 'exited|ended|gone' "$TMP/err"
check "-c: valid JSON" valid_json "$TMP/json"

# Whichever thread is the last: the end is the process's, not that of its first thread.
"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -fno-builtin "$ROOT/tests/hakstat/ending.c" -o "$TMP/ending" -pthread ||
	not_ok "hakstat/ending.c compiles"
# pairs_are NAME N: the report has N allocations and frees of 3000 bytes
pairs_are() {
	check "$1: $2 pairs" python3 -c 'import json, sys
c = next(c for c in json.load(open(sys.argv[1]))["classes"] if c["size"] >= 3000)
sys.exit((c["allocs"], c["frees"]) != (int(sys.argv[2]),) * 2)' "$TMP/json" "$2"
}
for mode in "leader 200000" "threads 200000" "execs 1000 50000" "texecs 1000 50000"; do
	printf '\n\n' | timeout -k 1 30 "$HAKSTAT" stat -c "$TMP/ending $mode" --json >"$TMP/json" 2>"$TMP/err"
	check "-c of ending $mode: hakstat ends with 0" [ $? -eq 0 ]
	pairs_are "-c of ending $mode" "${mode##* }"
done
mkfifo "$TMP/killed.in"
timeout -k 1 30 "$HAKSTAT" stat -c "$TMP/ending leader 200000" --json <"$TMP/killed.in" >"$TMP/json" 2>"$TMP/err" &
watcher=$!
exec 8>"$TMP/killed.in"
echo >&8
killed=
# shellcheck disable=SC2317 # called by wait_for
its_thread_waits() { # its second thread is in read, the first one gone
	killed=$(pgrep -nx ending) && gone "$killed" &&
		grep -qs '^0 ' /proc/"$killed"/task/*/syscall
}
check "-c, killed: its first thread ends, another goes on" wait_for 10 its_thread_waits
[[ -z $killed ]] || kill -KILL "$killed"
wait $watcher
check "-c, killed: hakstat ends with 0" [ $? -eq 0 ]
exec 8>&-
check "-c, killed: and says so" grep -q 'killed by signal 9' "$TMP/err"
pairs_are "-c, killed" 200000

# A command that is ended: its handler runs, its children end too, and who ignores it is killed.
cat >"$TMP/handler.py" <<'END'
import os, signal, sys, time
def end(*_):
    open(sys.argv[1], "w").write("handled")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[2:] == ["deaf"] else end)
open(sys.argv[1] + ".pid", "w").write(str(os.getpid()))
while True:
    time.sleep(0.05)
END
ended_by_us() { # NAME COMMAND...: hakstat ends, and with it the command, whose handler has run
	local name=$1 status

	shift
	rm -f "$TMP/handled" "$TMP/handled.pid"
	timeout -k 1 20 "$@" >"$TMP/out" 2>"$TMP/err" </dev/null &
	watcher=$!
	if [[ $name == SIG* ]]; then
		wait_for 10 test -s "$TMP/handled.pid"
		pkill -"${name#SIG}" -x -P $watcher hakstat
	fi
	wait $watcher
	status=$?
	check "-c, $name: hakstat ends with 0" [ $status -eq 0 ]
	check "-c, $name: its handler has run" test -s "$TMP/handled"
	check "-c, $name: it is gone" gone "$(cat "$TMP/handled.pid")"
}
python=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
ended_by_us SIGTERM "$HAKSTAT" stat -c "$python $TMP/handler.py $TMP/handled"
ended_by_us "stat -d" "$HAKSTAT" stat -d 1 -c "$python $TMP/handler.py $TMP/handled"
ended_by_us "top -n" "$HAKSTAT" top -b -n 2 -d 0.5 -c "$python $TMP/handler.py $TMP/handled"
timeout -k 1 20 "$HAKSTAT" stat -d 1 -c "$python $TMP/handler.py $TMP/handled deaf" >"$TMP/out" 2>"$TMP/err"
check "-c, SIGTERM ignored: hakstat ends with 0" [ $? -eq 0 ]
check "-c, SIGTERM ignored: it is gone" gone "$(cat "$TMP/handled.pid")"
timeout -k 1 20 "$HAKSTAT" stat -d 1 -c "sh -c 'sleep 7777 & echo \$! >$TMP/sleeper; sleep 7778; true'" \
	>"$TMP/out" 2>"$TMP/err"
check "-c: the children of a command that is ended are gone" wait_for 5 gone "$(cat "$TMP/sleeper")"

# On a terminal: top keeps screen and keys to itself; stat gives the command the terminal.
cat >"$TMP/terminal.py" <<'END'
import os, pty, select, signal, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execv(sys.argv[3], sys.argv[3:])
seen, keys, end = b"", sys.argv[2].encode().decode("unicode_escape").encode(), time.time() + 30
while time.time() < end:
    if select.select([fd], [], [], 0.5)[0]:
        try:
            got = os.read(fd, 65536)
        except OSError:
            break
        seen += got
    if keys and os.path.exists(sys.argv[1]):
        time.sleep(1)
        os.write(fd, keys[:1])
        keys = keys[1:]
else:
    os.kill(pid, signal.SIGKILL)
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
cat >"$TMP/talk.sh" <<END
trap 'echo ended >>$TMP/talked; exit 0' TERM
echo \$\$ >$TMP/talked
while :; do
	echo "from the command"
	if read -r -t 1 line; then echo "got \$line" >>$TMP/talked; else sleep 0.05; fi
done
END
python3 "$TMP/terminal.py" "$TMP/talked" 2q "$HAKSTAT" top -c "bash $TMP/talk.sh" >"$TMP/out" 2>"$TMP/err"
check "top -c on a terminal: q ends it, with 0" [ $? -eq 0 ]
check "top -c on a terminal: the command does not write there" bash -c "! grep -qa 'from the command' '$TMP/out'"
check "top -c on a terminal: the keys are not the command's" bash -c "! grep -q got '$TMP/talked'"
check "top -c on a terminal: SIGTERM's handler ran" grep -q ended "$TMP/talked"
check "top -c on a terminal: the command is gone" gone "$(head -n 1 "$TMP/talked")"
rm -f "$TMP/talked"
python3 "$TMP/terminal.py" "$TMP/talked" 'x\n\x03' "$HAKSTAT" stat -c "bash $TMP/talk.sh" >"$TMP/out" 2>"$TMP/err"
check "stat -c on a terminal: Ctrl-C ends it, with 0" [ $? -eq 0 ]
check "stat -c on a terminal: the command reads and writes there" \
	bash -c "grep -qa 'from the command' '$TMP/out' && grep -q 'got x' '$TMP/talked'"
check "stat -c on a terminal: with the report" grep -qa 'allocations, .* frees in' "$TMP/out"
check "stat -c on a terminal: the command is gone" gone "$(head -n 1 "$TMP/talked")"

# A static program that has no libhakmem
echo 'int main(void) { return 0; }' | "$CC" -x c -static -o "$TMP/none" - || not_ok "a static program compiles"
for command in "stat" "top -b"; do
	# shellcheck disable=SC2086 # words are meant
	timeout -k 1 20 "$HAKSTAT" $command -c "$TMP/none" >"$TMP/out" 2>"$TMP/err"
	check "$command -c without hakmem: exit code 3" [ $? -eq 3 ]
	check "$command -c without hakmem: says so" grep -q 'never used libhakmem' "$TMP/err"
done

# What it inherits is what hakstat inherited; it runs once it is traced, or not at all.
inherited() { grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd; }
export -f inherited
bash -c inherited >"$TMP/plain" 2>/dev/null </dev/null
timeout -k 1 20 "$HAKSTAT" stat -c "bash -c inherited" -o "$TMP/json" >"$TMP/out" 2>"$TMP/err" </dev/null
same "-c: signals and files as without hakstat" "$TMP/plain" "$TMP/out"
for command in nosuchcmd /etc/passwd; do
	reason="No such file"
	[[ $command == nosuchcmd ]] || reason="Permission denied"
	timeout -k 1 20 "$HAKSTAT" stat -c $command >"$TMP/out" 2>"$TMP/err"
	check "-c $command: exit code 1" [ $? -eq 1 ]
	check "-c $command: one message, with the reason" \
		bash -c "[[ \$(wc -l <'$TMP/err') -eq 1 ]] && grep -q '$reason' '$TMP/err'"
done
HAKMEM_LIB=/nonexist timeout -k 1 20 "$HAKSTAT" stat -c true >"$TMP/out" 2>"$TMP/err"
check "HAKMEM_LIB that is not there: says which and why" \
	grep -q 'HAKMEM_LIB.*/nonexist: No such file' "$TMP/err"
if command -v strace >/dev/null; then
	timeout -k 1 20 strace -f -o /dev/null "$HAKSTAT" stat -c "touch $TMP/ran" >"$TMP/out" 2>"$TMP/err"
	check "-c where tracing is refused: exit code 4" [ $? -eq 4 ]
	check "-c where tracing is refused: says so" grep -q 'cannot trace' "$TMP/err"
	sleep 0.5
	check "-c where tracing is refused: nothing runs" test ! -e "$TMP/ran"
fi

# --- the commands that probes -p prints run as they are, wherever the library's file is -----------
"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -fno-builtin "$ROOT/tests/hakstat/busy.c" -o "$TMP/busy" -pthread ||
	not_ok "hakstat/busy.c compiles"
mounted=
if [[ ! -e /sys/kernel/tracing/uprobe_events ]]; then
	mount -t tracefs nodev /sys/kernel/tracing && mounted=1
fi

start_busy() { # FILE COMMAND...: something that makes every probe fire, with the library from FILE
	site_file=$1 site_copy=$LIB
	shift
	rm -f "$TMP/busy.out"
	HAKMEM_ABORT=0 "$@" >"$TMP/busy.out" 2>/dev/null &
	busy_pid=$!
	end_at_exit $busy_pid
	wait_for 20 grep -q ready "$TMP/busy.out" || not_ok "the watched program starts from $site_file"
}

end_busy() {
	kill "$busy_pid"
	wait "$busy_pid" 2>/dev/null
	site_copy=
}

# shellcheck disable=SC2317 # called by wait_for
attached_or_gone() { [[ $(attached_sites "$busy_pid") =~ ^[1-9] ]] || gone "$1"; }

# One line of what is printed, run by a shell as by somebody who pastes it; Ctrl-C after a while.
traced() { # COMMAND
	local tracer

	bash -c "exec $1" >"$TMP/traced" 2>"$TMP/traced.err" &
	tracer=$!
	wait_for 30 attached_or_gone $tracer
	sleep 1
	interrupt $tracer
	wait $tracer
	grep -Eq '^@(refills)?\[' "$TMP/traced"
}

# shellcheck disable=SC2317 # called by check
perf_counts() { # COMMANDS
	(
		cd "$TMP" && mkdir -p home && export HOME=$TMP/home LC_ALL=C
		rm -f perf.data
		while read -r line; do
			bash -c "$line" || exit 1
		done <<<"$1" >perf.out 2>&1
		grep -Eq '^ +[1-9][0-9,]* +(sdt_hakmem|hakmem_[0-9]+):refill ' perf.out &&
			perf script -i perf.data 2>/dev/null | grep -q ':refill:' &&
			! grep -q hakmem /sys/kernel/tracing/uprobe_events
	)
}

commands_work() { # NAME
	local name=$1 line perf wrong=()

	: >"$TMP/traced.err"
	"$HAKSTAT" probes -p "$busy_pid" >"$TMP/out" || not_ok "$name: probes -p"
	sed -n '/^With/,$s/^  //p' "$TMP/out" >"$TMP/commands"
	perf=$(grep -E '^(perf|echo|mount) ' "$TMP/commands")
	check "$name: commands for all three tools" \
		test "$(grep -c '^bpftrace' "$TMP/commands")" -eq 3 -a -n "$perf" -a "$(grep -c ^gdb "$TMP/commands")" -eq 1
	while read -r line <&8; do
		case $line in
		"bpftrace -l"*) bash -c "$line" 2>/dev/null | grep -q ':hakmem:refill$' ;;
		bpftrace*) traced "$line" ;;
		gdb*) bash -c "$line" 2>/dev/null | grep -Eq '^stap +hakmem +refill ' ;;
		*) continue ;;
		esac || wrong+=("$line" "$(tail -n 2 "$TMP/traced.err")")
	done 8<"$TMP/commands"
	check "$name: those for bpftrace and gdb work${wrong[*]+, not: ${wrong[*]}}" test ${#wrong[@]} -eq 0
	check "$name: those for perf work" perf_counts "$perf"
	end_busy
}

if command -v bpftrace >/dev/null && command -v perf >/dev/null && command -v gdb >/dev/null; then
	start_busy "$SO" env LD_PRELOAD="$SO" "$TMP/busy"
	commands_work "a file in its place"
	cp "$LIB" "$TMP/gone.so"
	start_busy "$TMP/gone.so" env LD_PRELOAD="$TMP/gone.so" "$TMP/busy"
	rm "$TMP/gone.so"
	commands_work "a deleted file"
	cp "$LIB" "$TMP/new.so"
	start_busy "$TMP/new.so" env LD_PRELOAD="$TMP/new.so" "$TMP/busy"
	cp "$LIB" "$TMP/newer.so"
	mv "$TMP/newer.so" "$TMP/new.so"
	commands_work "a replaced file"
	# as a hostile program would name it: nothing of that may reach the shell it is pasted into
	odd="$TMP/it's;true#\$(x)*.so"
	cp "$LIB" "$odd"
	start_busy "$odd" env LD_PRELOAD="$odd" "$TMP/busy"
	commands_work "a file with an odd name"
	if unshare -m true 2>/dev/null; then
		sed 's/known" pairs.*/busy"/' "$TMP/in_ns" >"$TMP/busy_in_ns"
		chmod +x "$TMP/busy_in_ns"
		start_busy "$TMP/ns/libhakmem.so" unshare -m "$TMP/busy_in_ns"
		commands_work "a file in another mount namespace"
	fi
else
	skip "commands of probes -p" "bpftrace, perf and gdb are needed"
fi
if [[ -r $BUILD/noprobes/libhakmem.so ]]; then
	cp "$BUILD/noprobes/libhakmem.so" "$TMP/silent.so"
	start_busy "$TMP/silent.so" env LD_PRELOAD="$TMP/silent.so" "$TMP/busy"
	"$HAKSTAT" probes -p "$busy_pid" >"$TMP/out"
	check "a library without probes: no commands, and why" \
		bash -c "grep -q 'without probes' '$TMP/out' && ! grep -Eq '^With|bpftrace -' '$TMP/out'"
	end_busy
fi
[[ -z $mounted ]] || umount /sys/kernel/tracing 2>/dev/null

# --- exit codes ----------------------------------------------------------------------------
code() { # NAME EXPECTED ARGS...
	local name=$1 expected=$2 status

	shift 2
	timeout 20 "$@" >"$TMP/out" 2>"$TMP/err" </dev/null
	status=$?
	if [[ $status -eq $expected && -s $TMP/err ]]; then ok "$name: exit code $expected"
	else not_ok "$name: exit code $expected" "got $status" "$(head -n 2 "$TMP/err")"; fi
}
code "no such command" 2 "$HAKSTAT" frobnicate
code "no target" 2 "$HAKSTAT" stat
code "not a number of seconds" 2 "$HAKSTAT" stat -p $$ -d soon
code "unknown option" 2 "$HAKSTAT" top --frobnicate
# A name that two have: both are listed.
cp "$TMP/known" "$TMP/twins"
start_known "$TMP/twins" pairs
first=$known_pid
exec 9>&7
start_known "$TMP/twins" pairs
code "a name of two processes" 2 "$HAKSTAT" stat -p twins -d 1
check "a name of two processes: lists both" \
	test "$(grep -cE " ($first|$known_pid) matches: .*twins " "$TMP/err")" -eq 2
exec 9>&-
end_known
wait_for 10 gone "$first"
code "a process without hakmem" 3 "$HAKSTAT" stat -p $$ -d 1
code "top of a process without hakmem" 3 "$HAKSTAT" top -p $$ -b -n 1
check "and it says which and what to do" grep -Eq "$$|LD_PRELOAD" "$TMP/err"
# What has no memory: says what it is, with and without privilege.
cat >"$TMP/no_memory.py" <<'END'
import ctypes, os, sys, threading, time
ended = os.fork()
if ended == 0:
    os._exit(0)
headless = os.fork()
if headless == 0:
    threading.Thread(target=time.sleep, args=(60,)).start()
    ctypes.CDLL(None).pthread_exit(None)
with open(sys.argv[1], "w") as f:
    print(ended, headless, file=f)
time.sleep(60)
END
python3 "$TMP/no_memory.py" "$TMP/pids" &
end_at_exit $!
wait_for 10 test -s "$TMP/pids"
read -r zombie headless <"$TMP/pids"
end_at_exit "$headless"
wait_for 10 gone "$zombie"
wait_for 10 gone "$headless"
code "a zombie" 3 "$HAKSTAT" stat -p "$zombie" -d 1
check "a zombie: says so" grep -q "$zombie: a zombie" "$TMP/err"
code "top of a zombie" 3 "$HAKSTAT" top -p "$zombie" -b -n 1
check "top of a zombie: says so" grep -q "$zombie: a zombie" "$TMP/err"
code "a process without its first thread" 3 "$HAKSTAT" stat -p "$headless" -d 1
check "a process without its first thread: only hakmem is missing" grep -q "$headless: libhakmem is not in it" "$TMP/err"
# One that is just ending: it lost its memory, which takes a while to free, and is no zombie yet.
LD_PRELOAD=$LIB python3 -c 'import time; hoard = b"x" * (256 << 20); time.sleep(60)' &
ending=$!
end_at_exit $ending
# shellcheck disable=SC2317 # called by wait_for
hoards() { [[ $(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$ending/status") -ge 250000 ]]; }
wait_for 20 hoards || not_ok "a large process starts"
kill -KILL $ending
code "a process that is ending" 3 "$HAKSTAT" stat -p $ending -d 1
check "a process that is ending: says so" grep -Eq "$ending:? .*has ended|no process $ending" "$TMP/err"
if [[ $(cat /proc/2/comm) == kthreadd ]]; then
	code "a kernel thread" 3 "$HAKSTAT" stat -p 2 -d 1
	check "a kernel thread: says so" grep -q '2: a kernel thread' "$TMP/err"
	code "top of a kernel thread" 3 "$HAKSTAT" top -p 2 -b -n 1
fi
if command -v setpriv >/dev/null; then
	chmod 755 "$TMP"
	cp "$HAKSTAT" "$TMP/hakstat"
	start_known "$TMP/known" pairs
	code "no privilege" 4 setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all \
		"$TMP/hakstat" stat -p "$known_pid" -d 1
	check "no privilege: names the remedy" grep -Eqi 'cap_|root|sudo' "$TMP/err"
	code "a zombie, without privilege" 3 setpriv --reuid=65534 --regid=65534 --clear-groups \
		--bounding-set=-all "$TMP/hakstat" stat -p "$zombie" -d 1
	end_known

	# Counters need no BPF; what only events tell is unknown without, and unknown is not 0. Where
	# Yama closes a user's own processes, what is missing is BPF alone.
	nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all)
	no_bpf=("${nobody[@]}")
	[[ $(cat /proc/sys/kernel/yama/ptrace_scope 2>/dev/null) =~ ^[1-9] ]] &&
		no_bpf=(setpriv "--bounding-set=-bpf,-perfmon,-sys_admin")
	start_busy "$SO" "${nobody[@]}" env LD_PRELOAD="$SO" "$TMP/busy"
	"${no_bpf[@]}" "$TMP/hakstat" stat -p "$busy_pid" -d 2 --json >"$TMP/json" 2>"$TMP/err"
	check "without BPF: stat --json ends with 0" [ $? -eq 0 ]
	check "without BPF: says so" grep -q 'counters alone' "$TMP/err"
	check "without BPF: events are null, counters are numbers" python3 - "$TMP/json" <<'END'
import json, sys
report = json.load(open(sys.argv[1]))
unknown = {"max_ns", "p50_ns", "p99_ns"}
def numbers(where, entry):
    for key, value in entry.items():
        if key != "lock":
            assert (value is None) == (key in unknown), (where, key, value)
assert report["locks"]
for lock in report["locks"]:
    numbers(lock["lock"], lock)
for entry in report["classes"]:
    numbers(entry["size"], {k: v for k, v in entry.items() if k not in ("hit_rate", "blocks_per_refill")})
    assert (entry["hit_rate"] is None) == (entry["allocs"] == 0)
for group in "large", "remote", "os", "memory":
    numbers(group, report[group])
assert sum(entry["allocs"] for entry in report["classes"]) > 0 and report["os"]["maps"] > 0
assert [report["self"][k] for k in ("events", "lost", "bpf_ns")] == [None] * 3 and report["check"] is None
END
	"${no_bpf[@]}" "$TMP/hakstat" stat -p "$busy_pid" -d 2 >"$TMP/out" 2>"$TMP/err"
	sed -n '/^ locks/,/^$/p' "$TMP/out" | sed '1,2d;/^$/d' >"$TMP/locks"
	grep -vE '^ [a-z]+ +allocator +[a-z ]+ +[0-9.]+[kMG]? +[0-9.]+[num]?s +([0-9.]+[num]?s|-)( +-){3} +[0-9.]+ +-$' "$TMP/locks" >"$TMP/wrong"
	check "without BPF: locks have waits, and - for what events tell" test -s "$TMP/locks" -a ! -s "$TMP/wrong"
	check "without BPF: system calls are counted, reason and time are -" \
		grep -Eq '^ map +- +[0-9.]+[kMG]? +[0-9.]+[kMG]? +[0-9.]+[BKMGT] +-$' "$TMP/out"
	rm "$SO"
	code "no privilege, library deleted" 0 "${nobody[@]}" "$TMP/hakstat" stat -p "$busy_pid" -d 0.5
	check "no privilege, library deleted: counters" grep -Eq '^ allocs/s [1-9]' "$TMP/out"
	check "no privilege, library deleted: says what the rest takes" \
		grep -q 'deleted or replaced.*CAP_CHECKPOINT_RESTORE' "$TMP/err"
	cp "$LIB" "$SO"
	end_busy
	setpriv --reuid=65534 --regid=65534 --clear-groups "$TMP/hakstat" doctor >"$TMP/out" 2>&1
	[[ -e /sys/kernel/tracing/uprobe_events ]] &&
		check "doctor without privilege knows that tracefs is mounted" grep -Eq '^ok +tracefs' "$TMP/out"
	check "doctor without privilege names the remedy" grep -Eqi 'cap_|root|sudo|setcap' "$TMP/out"

	# The capabilities hakstat names are enough: on another user's process, whose library is there
	# or was deleted.
	as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups "$TMP/hakstat")
	documented=$(sed -n 's/^.B setcap \(.*\)+ep hakstat$/\1/p' "$ROOT/docs/man/hakstat.8")
	start_busy "$SO" env LD_PRELOAD="$SO" "$TMP/busy"
	if setcap "$documented+ep" "$TMP/hakstat" 2>/dev/null && "${as_user[@]}" doctor | grep -q '^ok *CAP_BPF'; then
		"${as_user[@]}" stat -p "$busy_pid" -d 0.5 >"$TMP/out" 2>"$TMP/err"
		check "capabilities of the manual: stat, without complaint" test $? -eq 0 -a ! -s "$TMP/err"
		rm "$SO"
		code "capabilities of the manual, library deleted" 0 "${as_user[@]}" stat -p "$busy_pid" -d 0.5
		check "capabilities of the manual, library deleted: names the one more" \
			grep -q 'deleted or replaced.*CAP_DAC_READ_SEARCH' "$TMP/err"
		"${as_user[@]}" doctor >"$TMP/out"
		check "doctor names it too" grep -Eq 'setcap .*cap_dac_read_search\+ep' "$TMP/out"
		setcap "$documented,cap_dac_read_search+ep" "$TMP/hakstat"
		"${as_user[@]}" stat -p "$busy_pid" -d 0.5 >"$TMP/out" 2>"$TMP/err"
		check "that one added: stat, without complaint" test $? -eq 0 -a ! -s "$TMP/err"
		cp "$LIB" "$SO"
	else
		skip "capabilities" "setcap has no effect in $TMP"
	fi
	end_busy
fi
finish
