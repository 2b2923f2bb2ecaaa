#!/usr/bin/env bash
# timeout: 240
# What hakstat shows with CAP_BPF and CAP_PERFMON alone, of another user's process, and without any
# capability, of one's own; and that it says how to see the rest. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/hakstat/watch.sh
. "$ROOT/tests/hakstat/watch.sh"
PATH=$PATH:/usr/sbin
need setpriv setcap capsh

# Readable, and a file system on which capabilities of files count.
chmod 1777 "$TMP"
cp "$HAKSTAT" "$TMP/plain"
cp "$HAKSTAT" "$TMP/capable"
cp "$HAKSTAT" "$TMP/pages"
cp "$HAKSTAT" "$TMP/traces"
"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -fno-builtin "$ROOT/tests/hakstat/views.c" -o "$TMP/views" -pthread ||
	{ echo "hakstat/views.c does not compile"; exit 1; }
chmod 755 "$TMP/plain" "$TMP/capable" "$TMP/pages" "$TMP/traces" "$TMP/views" "$TMP/known" "$TMP/known.static" "$SO"
setcap cap_bpf,cap_perfmon+ep "$TMP/capable"
setcap cap_sys_ptrace,cap_dac_read_search+ep "$TMP/pages"
setcap cap_sys_ptrace+ep "$TMP/traces"
user() { echo --reuid="$1" --regid="$1" --clear-groups; }
# shellcheck disable=SC2207 # words are meant
nobody=(setpriv $(user 65534)) owner=(setpriv $(user 12345))
capable=("${nobody[@]}" "$TMP/capable") plain=("${owner[@]}" "$TMP/plain")

caps_of() { capsh --decode="$(sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status")" | cut -d = -f 2; }

# exact NAME NOBPF HAKSTAT...: every count of a process of user 12345 by that hakstat is the program's own.
exact() {
	local name=$1 nobpf=$2 watcher

	shift 2
	start_known "$TMP/known" threads "${owner[@]}"
	"$@" stat -p "$known_pid" -d 60 --json >"$TMP/json" 2>"$TMP/err" 7>&- &
	watcher=$!
	end_at_exit $watcher
	wait_for 20 waits $watcher
	caps=$(caps_of $watcher CapEff)
	go
	wait_for 20 test -s "$TMP/counts" || not_ok "$name: the program counts"
	kill -INT $watcher
	wait $watcher
	check "$name: stat ends with 0" [ $? -eq 0 ]
	compare "$name: every number of a process of user 12345" "$TMP/counts" "$TMP/json" $nobpf
	end_known
}

# --- CAP_BPF and CAP_PERFMON, nothing else, on another user's process ----------------------
exact "two capabilities" "" "${capable[@]}"
check "it has those two: $caps" [ "$caps" = "cap_perfmon,cap_bpf" -o "$caps" = "cap_bpf,cap_perfmon" ]
check "and no complaint" test ! -s "$TMP/err"
check "events came by BPF, none lost, at a known cost" grep -Eq '"self":\{"events":[1-9][0-9]*,"lost":0,"bpf_ns":[1-9]' "$TMP/json"

start_known "$TMP/known" threads "${owner[@]}"
"${capable[@]}" list >"$TMP/out"
check "list shows it" grep -q "^ *$known_pid " "$TMP/out"
"${capable[@]}" top -a -b --json -d 0.1 >"$TMP/out"
check "top -a shows it" grep -q "{\"pid\":$known_pid,\"comm\":\"known\"" "$TMP/out"
"${capable[@]}" doctor -p "$known_pid" >"$TMP/out" 2>&1
check "doctor ends with 0" [ $? -eq 0 ]
check "doctor: counters of all processes, by BPF" grep -Eq '^ok +counters of +all processes, those of other users by BPF' "$TMP/out"
check "doctor: it attaches" grep -Eq '^ok +BPF attach' "$TMP/out"
for view in threads locks syscalls remote route; do
	"${capable[@]}" $view -p "$known_pid" -d 0.2 --json >"$TMP/out" 2>"$TMP/err"
	check "$view: 0, without complaint" test $? -eq 0 -a ! -s "$TMP/err"
	case $view in
	threads) want='"waits":0' ;;        # null without BPF
	locks) want='"asleep_ns":[0-9]' ;;
	syscalls) want='"time_ns":[0-9]' ;;
	*) want='"rows":\[' ;;
	esac
	check "$view: has what comes by BPF" grep -q "$want" "$TMP/out"
done
"${capable[@]}" watch -p "$known_pid" --alert 'thread=* waits>=0' --once -i 0.1 -d 20 >"$TMP/out" 2>"$TMP/err"
check "watch: an alert on what comes by BPF" test $? -eq 5 -a ! -s "$TMP/err"
"${capable[@]}" dump -p "$known_pid" --check >"$TMP/out" 2>"$TMP/err"
check "dump --check reads the whole heap" grep -q '^broken: 0' "$TMP/out"
"${nobody[@]}" "$TMP/traces" memory -p "$known_pid" >"$TMP/out" 2>&1
check "memory without BPF: an estimate, and what an exact one takes" \
	grep -q 'estimated: .*CAP_DAC_READ_SEARCH, or CAP_BPF and CAP_PERFMON' "$TMP/out"
"${nobody[@]}" "$TMP/traces" memory -p "$known_pid" --json >"$TMP/estimate" 2>"$TMP/err"
"${nobody[@]}" "$TMP/pages" memory -p "$known_pid" --json >"$TMP/out" 2>"$TMP/err"
check "both add up, one not far from the other: blocks, their sizes, what is not the allocator's" env PYTHONPATH="$ROOT/tests/helpers" python3 -c '
import json, sys
from only_read import resident_of_read
most = 65536 + resident_of_read(1 << 19) # the table of the page map, which is in the data of a file
a, b = (json.load(open(f)) for f in sys.argv[1:])
assert [a["estimated"], b["estimated"]] == [True, False]
rows = [{x["memory"]: x for x in r["rows"]} for r in (a, b)]
for r, by in zip((a, b), rows):
    assert r["rss_bytes"] and sum(x["resident_bytes"] for x in r["rows"]) == r["rss_bytes"]
assert a["rss_bytes"] == b["rss_bytes"] and rows[0].keys() == rows[1].keys()
for line, x in rows[0].items():
    y = rows[1][line]
    assert [x["size_bytes"], x["count"]] == [y["size_bytes"], y["count"]], (x, y)
    if line in ("files", "stacks", "kernel", "other anonymous", "shared memory"):
        assert abs(x["resident_bytes"] - y["resident_bytes"]) <= most, (x, y)
assert abs(rows[0]["difference"]["resident_bytes"]) <= 65536, rows[0]["difference"]' "$TMP/estimate" "$TMP/out"
end_known

# Which pages are in memory: page tables say what pagemap says, of all that can be in them.
start_known "$TMP/views" pages "${owner[@]}"
kill -STOP "$known_pid"
# On some kernels what is only read becomes resident, and who may not open pagemap reads more.
"${capable[@]}" memory -p "$known_pid" -d 0.1 >/dev/null 2>&1
for way in "$HAKSTAT" "${capable[*]}"; do
	# shellcheck disable=SC2086 # words are meant
	$way memory -p "$known_pid" --json -d 0.1 >"$TMP/memory.${way##*/}" 2>"$TMP/err"
	check "memory, by ${way##*/}: 0, without complaint" test $? -eq 0 -a ! -s "$TMP/err"
done
check "two capabilities see every page as root does" python3 -c '
import json, sys
all = [json.load(open(f)) for f in sys.argv[1:]]
for r in all:
    assert not r["estimated"] and r["rss_bytes"] > 40 << 20
    assert sum(x["resident_bytes"] for x in r["rows"]) == r["rss_bytes"]
    assert [x["resident_bytes"] for x in r["rows"] if x["memory"] == "difference"] == [0]
    for key in "rss_bytes", "huge_bytes", "rows", "classes", "pages":
        assert r[key] == all[0][key], (key, r[key], all[0][key])' "$TMP"/memory.*
kill -CONT "$known_pid"
end_known

# Where the library is in a mount namespace of its own it cannot be opened: its counters are read all the same.
mkdir "$TMP/private"
unshare -m bash -c "mount -t tmpfs none '$TMP/private'; cp '$LIB' '$TMP/private/lib.so'; chmod 755 '$TMP/private/lib.so'
	exec ${owner[*]} env LD_PRELOAD='$TMP/private/lib.so' sleep 60" &
hidden=$!
end_at_exit $hidden
# shellcheck disable=SC2317 # called by wait_for
private() { grep -q /private/lib.so "/proc/$1/maps"; }
wait_for 20 private $hidden
"${capable[@]}" stat -p $hidden -d 0.1 --json >"$TMP/out" 2>"$TMP/err"
check "another mount namespace: counters" test $? -eq 0 -a "$(grep -c '"live_blocks":[1-9]' "$TMP/out")" -gt 0
check "and what the rest takes" grep -q 'mount namespace (CAP_SYS_PTRACE)' "$TMP/err"
for command in list "threads -p $hidden -d 0.1" "memory -p $hidden" "dump -p $hidden --check"; do
	# shellcheck disable=SC2086 # words are meant
	"${capable[@]}" $command >"$TMP/out" 2>"$TMP/err"
	check "another mount namespace: ${command%% *}" test $? -eq 0 -a "$(grep -cE "^ +$hidden sleep|^ sleep +$hidden |^ live +[1-9]|^broken: 0" "$TMP/out")" -gt 0
done
"${capable[@]}" stacks -p $hidden --on refill -d 0.1 >"$TMP/out" 2>"$TMP/err"
check "stacks: 4, and what it takes" test $? -eq 4 -a "$(grep -c 'mount namespace (CAP_SYS_PTRACE)' "$TMP/err")" -gt 0
setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep "$TMP/traces"
"${nobody[@]}" "$TMP/traces" stat -p $hidden -d 0.1 >"$TMP/out" 2>"$TMP/err"
check "with that it works" test $? -eq 0 -a ! -s "$TMP/err"
kill $hidden

# Nor where it was deleted: then BPF has the times of system calls, and does not know whose they are.
start_known "$TMP/known" threads "${owner[@]}"
rm "$SO"
for view in syscalls locks; do
	"${capable[@]}" $view -p "$known_pid" -d 0.2 >"$TMP/out" 2>"$TMP/err"
	check "deleted, $view: 0, and why they are not split" test $? -eq 0 -a "$(grep -c '^ *the file of its libhakmem cannot be opened' "$TMP/out")" -eq 1
	check "deleted, $view: by BPF, not older" test "$(grep -c 'by BPF, but for probes' "$TMP/out")" -eq 1 -a "$(grep -Ec 'older|without BPF' "$TMP/out")" -eq 0
done
end_known
cp "$LIB" "$SO"
chmod 755 "$SO"

# All capabilities, but in a user namespace below that of the process, do not let it be read.
if unshare -r true 2>/dev/null; then
	start_known "$TMP/known" threads
	unshare -r "$HAKSTAT" memory -p "$known_pid" >"$TMP/out" 2>"$TMP/err"
	check "from a user namespace below: 4, and why" test $? -eq 4 -a "$(grep -c 'in a user namespace above this one' "$TMP/err")" -eq 1
	end_known
else
	skip "from a user namespace below" "there are none"
fi

# --- no capability, one's own process ------------------------------------------------------
exact "no capability" nobpf "${plain[@]}"
check "it has none" [ -z "$caps" ]
start_known "$TMP/known" threads "${owner[@]}"
exact_command=$(sed -n 's/^hakstat: no permission for BPF: run as root, or: \(setcap .*\)$/\1/p' "$TMP/err")
check "it says how to get them: $exact_command" [ "$exact_command" = "setcap cap_bpf,cap_perfmon+ep $TMP/plain" ]
"${plain[@]}" threads -p "$known_pid" -d 0.2 --json >"$TMP/out" 2>"$TMP/err"
check "threads: counts, and null for waits" grep -q '"allocs":0,.*"waits":null' "$TMP/out"
"${plain[@]}" memory -p "$known_pid" --json >"$TMP/out" 2>"$TMP/err"
check "memory adds up" python3 -c '
import json, sys
r = json.load(open(sys.argv[1]))
assert r["rss_bytes"] and sum(x["resident_bytes"] for x in r["rows"]) == r["rss_bytes"]' "$TMP/out"
"${plain[@]}" top -a -b --json -d 0.1 >"$TMP/out" 2>"$TMP/err"
check "top -a shows it, without complaint" eval 'grep -q "{\"pid\":$known_pid," "$TMP/out" && [[ ! -s $TMP/err ]]'
for line in threads:"WAIT/s, WAITED" locks:"ASLEEP, P50, P99, MAX, NOW" remote:"all of it" route:"PAGE, .*, MMAP, REUSE"; do
	view=${line%%:*}
	"${plain[@]}" "$view" -p "$known_pid" -d 0.1 >"$TMP/out" 2>/dev/null
	check "$view: names the columns" grep -q "^ unknown without BPF: ${line#*:} ($view); run as root, or: setcap " "$TMP/out"
	check "$view: and the command" grep -qF "; run as root, or: $exact_command" "$TMP/out"
done
"${plain[@]}" doctor -p "$known_pid" >"$TMP/out" 2>&1
check "doctor: 4" [ $? -eq 4 ]
check "doctor names them, too" grep -Eq '^note +view threads +unknown without BPF: waits_per_s wait_ns waits$' "$TMP/out"
check "and the command" grep -qF -- "$exact_command" "$TMP/out"
# What the columns say is what is null in the JSON, for every view that has rows.
"${plain[@]}" locks -p "$known_pid" -d 0.1 --json >"$TMP/out" 2>/dev/null
sed -n 's/^note *view locks *unknown without BPF: //p' <("${plain[@]}" doctor 2>&1) | tr ' ' '\n' | sort >"$TMP/said"
check "they are those that are null" python3 -c '
import json, sys
rows = json.load(open(sys.argv[1]))["rows"]
said = open(sys.argv[2]).read().split()
assert rows and said
for row in rows:
    for column in said:
        assert row[column] is None, (column, row)' "$TMP/out" "$TMP/said"
# the command it gave, as it is
bash -c "$exact_command"
"${plain[@]}" threads -p "$known_pid" -d 0.2 --json >"$TMP/out" 2>"$TMP/err"
check "after that command: no complaint" test ! -s "$TMP/err"
check "and waits are known" grep -q '"waits":0' "$TMP/out"
end_known
finish
