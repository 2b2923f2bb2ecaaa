#!/usr/bin/env bash
# timeout: 240
# hakstat top -a: processes of the host that come and go, their numbers and cgroups, and the way
# into one of them on a terminal. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ $(id -u) -eq 0 ]] || skip_all "needs root"
need tmux unshare strace
need_lib
# shellcheck source=tests/hakstat/steps.sh
. "$ROOT/tests/hakstat/steps.sh"

# value FILE PID COLUMN: of the last frame but one, which is whole; "gone" if it has no such row
value() {
	tail -n 2 "$1" | head -n 1 | sed 's/{"pid":/\n&/g' | grep "^{\"pid\":$2," |
		sed -nE "s/.*\"$3\":(\"([^\"]*)\"|([^,}]*)).*/\2\3/p" | grep . || echo gone
}
is_there() { [[ $(value "$TMP/frames" "$1" pid 2>/dev/null) == "$1" ]]; }
is_gone() { [[ $(value "$TMP/frames" "$1" pid 2>/dev/null) == gone ]]; }

# --- numbers: those of stat, and what the program did --------------------------------------
start_steps 0
start_steps 1
pid=${steps_pid[0]} other=${steps_pid[1]}
step 0 "hold 100"
"$HAKSTAT" top -a --json -d 0.1 >"$TMP/before"
step 0 "hold 1111"
"$HAKSTAT" top -a --json -d 0.1 >"$TMP/after"
check "both are there" [ "$(value "$TMP/after" $pid comm) $(value "$TMP/after" $other comm)" = "steps steps" ]
check "1011 blocks more are 1011 more live" [ $(($(value "$TMP/after" $pid live_blocks) - $(value "$TMP/before" $pid live_blocks))) -eq 1011 ]
check "and as many bytes" [ $(($(value "$TMP/after" $pid live_bytes) - $(value "$TMP/before" $pid live_bytes))) -eq $((1011 * 40960)) ]
check "the other one has what it had" [ "$(value "$TMP/after" $other live_blocks)" = "$(value "$TMP/before" $other live_blocks)" ]
check "at rest: no allocation, and no hit rate" [ "$(value "$TMP/after" $pid allocs_per_s) $(value "$TMP/after" $pid hit_rate)" = "0 null" ]
"$HAKSTAT" top -a --csv -d 0.1 -s pid -r >"$TMP/csv"
check "CSV: rows in the order asked for" [ "$(cut -d , -f 1 "$TMP/csv" | grep -xE "$pid|$other" | tr '\n' ' ')" = "$( ((pid < other)) && echo "$pid $other " || echo "$other $pid ")" ]
"$HAKSTAT" top -a -b -n 1 -d 0.1 -s live_bytes >"$TMP/out"
check "a table, largest first" [ "$(grep -oE "^ +($pid|$other) " "$TMP/out" | head -n 1 | tr -d ' ')" = $pid ]
check "what looking costs is told" grep -Eq '^hakstat  by counters, without BPF   [0-9.]+% of a CPU' "$TMP/out"
"$HAKSTAT" top -a -s nosuch 2>"$TMP/err"
check "an unknown column: 2" [ $? -eq 2 ]
"$HAKSTAT" top -a -p $pid 2>"$TMP/err"
check "-a with -p: 2" [ $? -eq 2 ]

# --- what is attached: nothing ------------------------------------------------------------
mkdir "$TMP/bin"
strace -f -o "$TMP/calls" -e trace=bpf,perf_event_open,ptrace "$HAKSTAT" top -a --json -d 0.1 >"$TMP/out"
check "no BPF, no ptrace" test -z "$(grep -E '^[0-9]+ +(bpf|perf_event_open|ptrace)\(' "$TMP/calls")"

# --- they come and go ----------------------------------------------------------------------
"$HAKSTAT" top -a --json -d 0.1 -n 100000 >"$TMP/frames" 2>"$TMP/err" &
watcher=$!
end_at_exit $watcher
check "frame by frame" wait_for 10 is_there $pid
start_steps 2
check "a process that starts later appears" wait_for 10 is_there "${steps_pid[2]}"
end_steps 2
check "one that ends vanishes" wait_for 10 is_gone "${steps_pid[2]}"
mkfifo "$TMP/gate"
sh -c "read -r _; exec env LD_PRELOAD='$LIB' sleep 60" <"$TMP/gate" &
becomes=$!
end_at_exit $becomes
exec 8>"$TMP/gate"
sleep 0.4
check "a shell without the library is not there" is_gone $becomes
echo >&8
check "one that becomes a program on the library appears" wait_for 40 is_there $becomes
# a mount namespace whose library nobody else sees, and a PID namespace
mkdir "$TMP/private"
unshare -m -p -f bash -c "mount -t tmpfs none '$TMP/private'; cp '$LIB' '$TMP/private/lib.so'
	LD_PRELOAD='$TMP/private/lib.so' sleep 61 & echo ready; wait" >"$TMP/ready" &
end_at_exit $!
wait_for 20 grep -q ready "$TMP/ready"
inner=$(pgrep -xf 'sleep 61' | head -n 1)
end_at_exit "$inner"
check "one in other mount and PID namespaces" wait_for 40 is_there "$inner"
kill $watcher
wait $watcher
check "it ends with 0, and without complaint" test $? -eq 0 -a ! -s "$TMP/err"

# --- cgroups ------------------------------------------------------------------------------
"$CC" -std=gnu11 -D_GNU_SOURCE -w -I"$ROOT/hakstat" -I"$ROOT/probes" -I"$ROOT/bpf" "$ROOT/tests/hakstat/cgroups.c" \
	"$ROOT"/hakstat/{cgroup,target,copies,mapped,privilege,proc_stat,contract}.c -o "$TMP/cgroups" -lelf || not_ok "hakstat/cgroups.c compiles"
id=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
cat >"$TMP/table" <<END
/docker/$id|docker:0123456789ab
/system.slice/docker-$id.scope|docker:0123456789ab
/system.slice/docker-$id.scope/init|docker:0123456789ab
/machine.slice/libpod-$id.scope/container|podman:0123456789ab
/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-$id.scope|podman:0123456789ab
/libpod_parent/$id|podman:0123456789ab
/kubepods/burstable/pod8f3ac1de-0000-4000-8000-000000000000/$id|k8s:8f3ac1de/0123456789ab
/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod8f3ac1de_0000_4000_8000_000000000000.slice/cri-containerd-$id.scope|k8s:8f3ac1de/0123456789ab
/kubepods.slice/kubepods-pod8f3ac1de_0000.slice/crio-$id.scope|k8s:8f3ac1de/0123456789ab
/system.slice/containerd.service/$id|container:0123456789ab
/system.slice/redis-server.service|redis-server
/system.slice/system-postgresql.slice/postgresql@15-main.service|postgresql@15-main
/system.slice/foo\\x2dbar.service/worker|foo-bar
/user.slice/user-1000.slice/session-3.scope|user-1000/session-3
/user.slice/user-1000.slice/user@1000.service/app.slice/app-editor.service|app-editor
/lxc.payload.web1/system.slice/nginx.service|lxc:web1
/lxc/web1|lxc:web1
/machine.slice/machine-debian.scope|machine:debian
/a/b/c|c
/|
/evil\\x1b]0;x|evil?]0;x
/docker/0123|0123
END
cut -d '|' -f 1 "$TMP/table" | "$TMP/cgroups" >"$TMP/names"
cut -d '|' -f 2 "$TMP/table" >"$TMP/expected"
same "names of containers, pods, units" "$TMP/expected" "$TMP/names"
# of a process: the last part, or a name, of a path that it has
group=$(value "$TMP/after" $pid cgroup)
known_group() { if [[ $group == null ]]; then ! grep -qv ":/$" "/proc/$pid/cgroup"; else grep -qF "${group#*:}" "/proc/$pid/cgroup"; fi; }
check "the cgroup of a process: $group" known_group
"$HAKSTAT" list --json | sed 's/{"pid":/\n&/g' | grep "^{\"pid\":$pid," >"$TMP/out"
check "list has it, too" grep -qE "\"cgroup\":\"?$group\"?," "$TMP/out"
"$HAKSTAT" list --csv >"$TMP/csv"
check "list as CSV: the keys of JSON as columns, the same process" python3 -c 'import csv, json, subprocess, sys
rows = list(csv.DictReader(open(sys.argv[1], newline="")))
of = {p["pid"]: p for p in json.loads(subprocess.run([sys.argv[3], "list", "--json"], capture_output=True).stdout)["processes"]}
mine, same = of[int(sys.argv[2])], [r for r in rows if r["pid"] == sys.argv[2]][0]
sys.exit(list(mine) != list(same) or any(str(mine[k]) != same[k] for k in ("comm", "exe", "build_id", "threads", "title")))' "$TMP/csv" $pid "$HAKSTAT"
check "both tell the command line" eval '[[ $(value "$TMP/after" $pid title) == *steps* ]] && grep -q "\"title\":\"[^\"]*steps" "$TMP/out"'
check "what is shared is a part of RSS" [ "$(value "$TMP/after" $pid shared_bytes)" -le "$(value "$TMP/after" $pid rss_bytes)" ]
"$HAKSTAT" stat -p steps -d 0.1 >"$TMP/out" 2>"$TMP/err"
status=$?
check "a name that two have: 2, with the command line of each" eval '[ $status -eq 2 ] && grep -qE "^hakstat: $pid matches: .*steps" "$TMP/err"'

# --- on a terminal ------------------------------------------------------------------------
export TERM=xterm-256color TMUX_TMPDIR=$TMP
unset NO_COLOR TMUX
on() { tmux -L hakhost -f /dev/null "$@"; }
screen() { on capture-pane -p -t top; }
keys() { on send-keys -t top "$@"; }
shows() { screen | grep -qE -- "$1"; }
hides() { ! shows "$1"; }
appears() { check "$1" wait_for 8 shows "$2"; } # NAME PATTERN
on new-session -d -s top -x 120 -y 100 "'$HAKSTAT' top -a -d 0.3; echo ended with \$?; sleep 60"
end_at_exit "$(on display -p '#{pid}')"
appears "the host's processes" "^ *$pid steps "
appears "how many" '[0-9]+ processes on libhakmem'
keys 4
check "views of one process need one" hides '^THREAD'
keys / "$pid" Enter
appears "a filter" "filter: $pid"
check "leaves one" wait_for 5 hides "^ *$other steps"
keys Enter
appears "Enter: into the process" "^steps \[$pid\]   hakmem"
appears "its classes" '^ *40960 '
keys 4
appears "and its other views" '^THREAD +TID'
keys Escape
appears "Esc: back, the filter as it was" "filter: $pid"
keys Escape
appears "all of them" "^ *$other steps "
keys s
keys / "$other" Enter
wait_for 5 hides "^ *$pid steps"
keys Enter
appears "into the other one" "^steps \[$other\]   hakmem"
end_steps 1
appears "when it ends the host is there, and says so" "target $other steps exited"
check "without it" wait_for 8 hides "^ *$other steps "
keys q
appears "q ends it with 0" 'ended with 0'
on kill-server
end_steps 0
finish
