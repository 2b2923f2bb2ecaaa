#!/usr/bin/env bash
# timeout: 240
# Every command on every kind of target: in other namespaces, without its library's file, with two
# libraries, with a thousand threads, stopped, forking, becoming another, dying. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/hakstat/watch.sh
. "$ROOT/tests/hakstat/watch.sh"

"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -fno-builtin "$ROOT/tests/hakstat/crowd.c" -o "$TMP/crowd" -pthread -ldl &&
	"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -fno-builtin -static -w "$ROOT/tests/hakstat/crowd.c" \
		"$BUILD/libhakmem.a" -o "$TMP/crowd.static" -pthread 2>/dev/null ||
	{ not_ok "hakstat/crowd.c compiles"; finish; }

commands=("list" "stat -p PID -d D --json" "top -p PID -b -n 1 -d D" "threads -p PID -d D --json" "memory -p PID -d D --json"
	"stacks -p PID --on flush -d D --json" "syscalls -p PID -d D --json" "remote -p PID -d D --json" "locks -p PID -d D"
	"route -p PID -d D --json" "dump -p PID --json" "probes -p PID --json" "doctor -p PID")

# every NAME PID SECONDS CODES...: each command, all at once; leaves $TMP/run.N
every() {
	local name=$1 pid=$2 seconds=$3 i line status wrong=() jobs=()

	shift 3
	for i in "${!commands[@]}"; do
		line=${commands[i]//PID/$pid}
		# shellcheck disable=SC2086 # words are meant
		timeout -k 1 30 "$HAKSTAT" ${line//D/$seconds} >"$TMP/run.$i" 2>"$TMP/err.$i" </dev/null 7>&- &
		jobs+=($!)
	done
	[[ -z ${then:-} ]] || $then
	for i in "${!commands[@]}"; do
		wait "${jobs[i]}"
		status=$?
		[[ " $* " == *" $status "* ]] || wrong+=("${commands[i]}: $status $(head -c 200 "$TMP/err.$i")")
		((status)) || [[ ${commands[i]} != *json ]] || valid_json "$TMP/run.$i" 2>/dev/null || wrong+=("${commands[i]}: no JSON")
	done
	if [[ ${#wrong[@]} -eq 0 ]]; then ok "$name: every command"; else not_ok "$name: every command" "${wrong[@]}"; fi
}

# start NAME COMMAND...: sets pid; its stdin is fd 7
start() {
	local name=$1

	shift
	rm -f "$TMP/in" "$TMP/out"
	mkfifo "$TMP/in"
	"$@" <"$TMP/in" >"$TMP/out" 2>"$TMP/target.err" &
	pid=$!
	disown $pid # its end is no news
	end_at_exit $pid
	exec 7>"$TMP/in"
	wait_for 30 grep -q ready "$TMP/out" || not_ok "$name: starts" "$(cat "$TMP/out" "$TMP/target.err")"
}

end() {
	kill -KILL $pid
	exec 7>&-
	wait_for 10 gone $pid
}

# measured NAME COMMAND: what the target does for one line on its stdin, as COMMAND reports it, in $TMP/json
measured() {
	local watcher

	# shellcheck disable=SC2034 # of watch.sh
	site_file=${served_by:-$SO}
	: >"$TMP/out"
	"$HAKSTAT" "$2" -p $pid -d 120 --json >"$TMP/json" 2>"$TMP/err" 7>&- &
	watcher=$!
	wait_attached $pid $watcher
	echo >&7
	wait_for 60 grep -q 'done' "$TMP/out"
	kill -INT $watcher
	wait $watcher
	check "$1: $2 ends with 0" [ $? -eq 0 ]
}

# says FILE EXPRESSION: of the report r, in Python
says() { python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); sys.exit(not eval(sys.argv[2]))' "$@"; }
preload=(env LD_PRELOAD="$SO")

# A root of its own, where alone the library's path exists, in name spaces of its own.
root=$TMP/root
mkdir -p "$root/opt/only" "$root/proc" "$root/old"
cp "$TMP/crowd" "$root/opt/only/crowd"
cp "$LIB" "$root/opt/only/libhakmem.so"
ldd "$TMP/crowd" "$(command -v chroot)" | grep -o '/[^ ]*\.so[^ ]*' | sort -u | while read -r file; do
	mkdir -p "$root${file%/*}" && cp "$file" "$root$file"
done
cp "$(command -v chroot)" "$root/opt/only/chroot"
start "pivot_root" unshare --mount --pid --fork sh -c "mount --bind '$root' '$root' && cd '$root' && mount -t proc proc proc &&
	pivot_root . old && LD_PRELOAD=/opt/only/libhakmem.so exec /opt/only/chroot . /opt/only/crowd threads 3"
outer=$pid pid=$(pgrep -P "$pid")
check "pivot_root: its library is not there for us" test -n "$pid" -a ! -e /opt/only/libhakmem.so
every "pivot_root" "$pid" 0.3 0
check "pivot_root: its threads, as it numbers them" says "$TMP/run.3" \
	'(lambda t: len(t) == 4 and min(t) == 1 and max(t) < 100)([x["tid"] for x in r["rows"] if x["tid"]])'
check "pivot_root: is listed" grep -Eq "^ *$pid +crowd " "$TMP/run.0"
end
wait_for 10 gone "$outer"

all=("${commands[@]}")
commands=("list" "stat -p PID -d D --json" "stacks -p PID --on flush -d D --json" "syscalls -p PID -d D --json" "memory -p PID -d D"
	"dump -p PID --json" "probes -p PID --json")

# Without its file, and with another in its place.
start "deleted" "${preload[@]}" "$TMP/crowd" threads 2
rm "$SO"
every "deleted library" $pid 0.3 0
cp "$BUILD/hakstat" "$SO"
commands=("list" "stat -p PID -d D --json" "stacks -p PID --on flush -d D --json" "dump -p PID --json")
every "another file in its place" $pid 0.3 0
rm "$SO"
cp "$LIB" "$SO"
end
start "static" "$TMP/crowd.static" threads 2
every "static" $pid 0.3 0
end

# Two copies: the program's own is watched, though the other one is found first.
cp "$LIB" "$TMP/other.so"
big='next(c for c in r["classes"] if c["size"] >= 3000)["allocs"]'
start "copies" "${preload[@]}" "$TMP/crowd" copies "$TMP/other.so"
measured "two copies" stat
check "two copies: the one that began first is watched, exactly" says "$TMP/json" "$big == 1000"
check "two copies: it is told, and the other" \
	grep -Eq "2 copies of libhakmem: watched is $SO, with [1-9][0-9]* .*; not $TMP/other.so, with [1-9]" "$TMP/err"
every "two copies" $pid 0.3 0
end
# Both preloaded: the first one serves, though the constructor of the other runs before its own.
for order in "$SO:$TMP/other.so" "$TMP/other.so:$SO"; do
	start "preloaded $order" env LD_PRELOAD="$order" "$TMP/crowd" threads 1
	served_by=${order%%:*} measured "two preloaded" stat
	check "two preloaded: the first is watched, exactly" says "$TMP/json" "$big == 100"
	check "two preloaded: it is told, and the other" \
		grep -Eq "watched is ${order%:*}, with [1-9][0-9]* .*; not ${order#*:}, with 0$" "$TMP/err"
	"$HAKSTAT" watch -p $pid --alert 'live_blocks<1' --once -i 0.1 -d 0.3 >/dev/null 2>"$TMP/err"
	check "two preloaded: no alert about the idle one" [ $? -eq 0 ]
	end
done

# A thousand threads: each has its row, and what they did is the sum.
start "1000 threads" "${preload[@]}" "$TMP/crowd" threads 1000
measured "1000 threads" threads
check "1000 threads: a row each, 100 allocations in each" says "$TMP/json" \
	'[x["allocs"] for x in r["rows"] if x["tid"] and x["tid"] != r["pid"]] == 1000 * [100]'
every "1000 threads" $pid 0.3 0

# Stopped: it is read like any other.
kill -STOP $pid
every "stopped" $pid 0.3 0
kill -CONT $pid
commands=("${all[@]}")

# Killed in the middle of an interval: what was seen so far is told, or that it has ended.
# shellcheck disable=SC2317 # called by every
kill_soon() { sleep 0.7; kill -KILL $pid; }
SECONDS=0
then=kill_soon every "killed within the interval" $pid 20 0 3
check "killed within the interval: nobody waits for its end" test $SECONDS -lt 18
exec 7>&-

# Killed while hakstat attaches, at one moment or another.
for pause in 0 0.01 0.03 0.08; do
	start "killed" "${preload[@]}" "$TMP/crowd" threads 2
	# shellcheck disable=SC2317 # called by every
	kill_now() { sleep $pause; kill -KILL $pid; }
	commands=("stat -p PID -d D --json" "stacks -p PID --on flush -d D" "syscalls -p PID -d D")
	then=kill_now every "killed $pause s after the start" $pid 10 0 1 3
	exec 7>&-
done

# About to start its allocator, as after an exec: that is waited for.
"$CC" -shared -fPIC -x c - -o "$TMP/stop.so" <<'END'
#include <signal.h>
__attribute__((constructor)) static void stop(void)
{
	raise(SIGSTOP);
}
END
for command in "stat -d 0.1" "stacks --on flush -d 0.1" "dump --check"; do
	env LD_PRELOAD="$SO $TMP/stop.so" sleep 60 &
	pid=$!
	end_at_exit $pid
	wait_for 20 grep -q '^State:.*stopped' /proc/$pid/status
	# shellcheck disable=SC2086 # words are meant
	"$HAKSTAT" $command -p $pid >"$TMP/out" 2>"$TMP/err" &
	watcher=$!
	wait_for 5 waits $watcher
	kill -CONT $pid
	wait $watcher
	check "${command%% *}: waits for an allocator that is about to start" [ $? -eq 0 ]
	kill $pid
done

commands=("list" "stat -p PID -d D --json" "threads -p PID -d D --json" "stacks -p PID --on flush -d D" "memory -p PID -d D" "dump -p PID")
start "forks" "${preload[@]}" "$TMP/crowd" forks
every "a storm of forks" $pid 0.5 0
check "a storm of forks: what children do is not the parent's" says "$TMP/run.1" \
	'sum(c["allocs"] for c in r["classes"] if c["size"] >= 3000) == 0 and r["self"]["lost"] == 0'
end
start "execs" "${preload[@]}" "$TMP/crowd" execs 50000
every "becomes another all the time" $pid 1 0 1 3
end

# So often that hardly one of them can be read: what is not known is no 0, and libhakmem is in each.
start "execs" "${preload[@]}" "$TMP/crowd" execs 0
wrong=()
for _ in {1..8}; do
	"$HAKSTAT" memory -p $pid -d 0.1 --json >"$TMP/json" 2>"$TMP/err" 7>&- || continue
	says "$TMP/json" 'r["rss_bytes"] != 0 and (r["rss_bytes"] is None) == (not r["rows"])' || wrong+=("$(cat "$TMP/json")")
	! grep 'without libhakmem' "$TMP/err" || wrong+=("$(cat "$TMP/err")")
done
if [[ ${#wrong[@]} -eq 0 ]]; then ok "becomes another at once: memory"; else not_ok "becomes another at once: memory" "${wrong[@]}"; fi
end
finish
