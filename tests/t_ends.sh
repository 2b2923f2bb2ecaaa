#!/usr/bin/env bash
# timeout: 240
# A watched process ends, becomes another program, or loses its first thread: the numbers stay
# true, or hakstat says up to where they are. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/hakstat/watch.sh
. "$ROOT/tests/hakstat/watch.sh"

CC=${CC:-gcc}
"$CC" -std=gnu11 -D_GNU_SOURCE -O1 "$ROOT/tests/hakstat/ending.c" -o "$TMP/ending" -pthread &&
	"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -static -no-pie "$ROOT/tests/hakstat/ending.c" \
		"$BUILD/libhakmem.a" -o "$TMP/ending.static" -pthread
check "the helper compiles" test -x "$TMP/ending.static"

begin() { # PROGRAM ARGS...
	# a fifo of its own: the one before may still have to read its line
	rm -f "$TMP/in"
	mkfifo "$TMP/in"
	env LD_PRELOAD="$LIB" "$@" <"$TMP/in" 2>/dev/null &
	pid=$!
	end_at_exit $pid
	exec 8>"$TMP/in"
	site_file=$LIB
	[[ $1 == *.static ]] && site_file=$1
	[[ $1 == *.static ]] || wait_for 10 maps_lib $pid
	# it reads its line: what comes before has been done
	wait_for 10 grep -q '^0 ' "/proc/$pid/syscall"
}

# stat in the background on $pid, attached when this returns.
watch_it() { # SECONDS
	"$HAKSTAT" stat -p $pid -d "$1" --budget 0 --json >"$TMP/json" 2>"$TMP/err" 8>&- &
	watcher=$!
	wait_attached $pid $watcher || not_ok "hakstat attaches" "$(cat "$TMP/err")"
}

line() { echo >&8; }

# field PATH: e.g. class.3072.allocs or large.allocs
field() {
	python3 - "$TMP/json" "$1" <<-'END'
		import json, sys
		at, path = json.load(open(sys.argv[1])), sys.argv[2].split(".")
		if path[0] == "class":
		    at, path = [c for c in at["classes"] if c["size"] == int(path[1])][0], path[2:]
		for key in path:
		    at = at[key]
		print(json.dumps(at))
	END
}

is() { # NAME PATH VALUE
	local got

	got=$(field "$2")
	check "$1: $2 is $3 ($got)" [ "$got" = "$3" ]
}

at_least() { # NAME PATH VALUE
	local got

	got=$(field "$2")
	check "$1: $2 is at least $3 ($got)" [ "${got:-0}" -ge "$3" ]
}

for program in ending ending.static; do
	begin "$TMP/$program" exits 5000
	watch_it 20
	line
	wait $watcher
	check "$program exits: stat ends with 0" [ $? -eq 0 ]
	is "$program exits" class.3072.allocs 5000
	is "$program exits" class.3072.frees 5000
	is "$program exits" large.allocs 10
	is "$program exits" large.frees 10
	is "$program exits" class.208.allocs 2000
	at_least "$program exits" class.208.refill_blocks 2000
	at_least "$program exits" class.208.flush_blocks 2000
	at_least "$program exits" remote.blocks 1900
	at_least "$program exits" os.maps 1
	at_least "$program exits" self.events 50
	is "$program exits" check.bpf_allocs "$(field check.counter_seen_allocs)"
	is "$program exits" check.bpf_flushes "$(field check.counter_flushes)"

	for then in 500 7000; do
		begin "$TMP/$program" execs 5000 $then
		watch_it 3
		line
		wait $watcher
		check "$program becomes another: stat ends with 0" [ $? -eq 0 ]
		is "$program becomes another" class.3072.allocs $then
		is "$program becomes another" class.3072.frees $then
		check "$program becomes another: it says so" grep -q 'another program' "$TMP/err"
		line
	done

	begin "$TMP/$program" leader 200000
	watch_it 3
	line
	wait $watcher
	check "$program loses its first thread: stat ends with 0" [ $? -eq 0 ]
	is "$program loses its first thread" class.3072.allocs 200000
	check "$program has lost its first thread: it is listed" \
		grep -qE "^ *$pid " <("$HAKSTAT" list)
	"$HAKSTAT" stat -p $pid -d 0.5 --json >"$TMP/json" 2>"$TMP/err"
	check "$program has lost its first thread: stat still works" [ $? -eq 0 ]
	at_least "$program has lost its first thread" rss_bytes 100000
	line
done

# A command that becomes another, and again: the numbers are the last one's.
"$HAKSTAT" stat --json -c "env -u NOTHING nice -n 0 $TMP/ending then 5000" </dev/null >"$TMP/json" 2>"$TMP/err"
check "a chain of programs by -c: stat ends with 0" [ $? -eq 0 ]
is "a chain of programs by -c" class.3072.allocs 5000
is "a chain of programs by -c" check.bpf_allocs "$(field check.counter_seen_allocs)"
is "a chain of programs by -c" check.bpf_flushes "$(field check.counter_flushes)"
"$HAKSTAT" stat --json -c "env $TMP/ending.static then 5000" </dev/null >"$TMP/json" 2>"$TMP/err"
is "the last of them static" class.3072.allocs 5000
is "the last of them static" check.bpf_allocs "$(field check.counter_seen_allocs)"
at_least "the last of them static" check.bpf_allocs 5000

# Every mapping that the library makes is counted: those of a program that makes none itself.
if command -v strace >/dev/null; then
	cat >"$TMP/none.c" <<-'END'
		#include <stdlib.h>
		int main(void)
		{
			free(malloc(100));
			return 0;
		}
	END
	"$CC" -O0 -static "$TMP/none.c" "$BUILD/libhakmem.a" -o "$TMP/none" -pthread
	# where a mapping lies decides whether it has to be aligned by one more: the same place in both
	setarch -R "$HAKSTAT" stat --json -c "$TMP/none" >"$TMP/json" 2>/dev/null
	setarch -R strace -o "$TMP/strace" -e trace=mmap "$TMP/none"
	is "a program with one block" os.maps "$(grep -c MAP_ANONYMOUS "$TMP/strace")"
fi

# The longest wait of an interval is that of all of it, not of its last half second.
"$CC" -std=gnu11 -D_GNU_SOURCE -O1 "$ROOT/tests/hakstat/contended.c" -o "$TMP/contended" -pthread
begin "$TMP/contended"
watch_it 3
line
wait $watcher
python3 - "$TMP/json" <<'END'
import json, sys
locks = json.load(open(sys.argv[1]))["locks"]
assert sum(l["waits"] for l in locks) > 0
for l in locks:
    if l["waits"]:
        assert 0 < l["p50_ns"] <= l["p99_ns"] <= l["max_ns"], l
        assert l["max_ns"] >= l["wait_ns"] / l["waits"], l
END
check "its longest and typical waits are known" [ $? -eq 0 ]
finish
