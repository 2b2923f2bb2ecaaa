#!/usr/bin/env bash
# timeout: 240
# hakstat's commands on every kind of target, its ends, and its exit codes. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/hakstat/watch.sh
. "$ROOT/tests/hakstat/watch.sh"

# stat -p on the running target gives JSON with its pid, attached, nothing lost, sources agreeing.
stat_works() { # NAME
	"$HAKSTAT" stat -p "$known_pid" -d 2 --json >"$TMP/json" 2>"$TMP/err" 7>&- &
	local watcher=$!

	wait_attached "$known_pid" $watcher || not_ok "$1: attaches" "$(cat "$TMP/err")"
	go
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
wait_attached "$known_pid" $watcher
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
code "a process without hakmem" 3 "$HAKSTAT" stat -p $$ -d 1
code "top of a process without hakmem" 3 "$HAKSTAT" top -p $$ -b -n 1
check "and it says which and what to do" grep -Eq "$$|LD_PRELOAD" "$TMP/err"
if command -v setpriv >/dev/null; then
	chmod 755 "$TMP"
	cp "$HAKSTAT" "$TMP/hakstat"
	start_known "$TMP/known" pairs
	code "no privilege" 4 setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all \
		"$TMP/hakstat" stat -p "$known_pid" -d 1
	check "no privilege: names the remedy" grep -Eqi 'cap_|root|sudo' "$TMP/err"
	setpriv --reuid=65534 --regid=65534 --clear-groups "$TMP/hakstat" doctor >"$TMP/out" 2>&1
	check "doctor without privilege names the remedy" grep -Eqi 'cap_|root|sudo|setcap' "$TMP/out"
	end_known
fi
finish
