#!/usr/bin/env bash
# timeout: 240
# hakstat stacks: every stack of planted programs with its exact count, however they were built;
# a real server; what is cut and says so; nothing left behind. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[[ $(id -u) -eq 0 ]] || skip_all "needs root"
CC=${CC:-gcc}
need python3 "$CC" g++ strip
need_lib
PATH=$PATH:/usr/sbin
export HAKMEM_LIB=$LIB

# --- planted programs ----------------------------------------------------------------------
build() { # NAME FLAGS...
	local name=$1

	shift
	"$CC" -std=gnu11 -D_GNU_SOURCE -O2 -fno-builtin -DINLINED='""' "$ROOT/tests/hakstat/chains.c" \
		-o "$TMP/$name" -pthread "$@" || { not_ok "$name compiles"; finish; }
}

stacks() { # ARGS...: of a command, every stack, to $TMP/json
	timeout -k 1 30 "$HAKSTAT" stacks --on mmap_fallback --rate 0 --json "$@" >"$TMP/json" 2>"$TMP/err"
}

exact() { # NAME PROGRAM ARGS...
	local name=$1 program=$2 wrong

	shift 2
	rm -f "$TMP/known"
	stacks -c "$TMP/$program $TMP/known" "$@"
	check "$name: ends with 0" [ $? -eq 0 ]
	wrong=$(python3 "$ROOT/tests/hakstat/chains.py" "$TMP/known" "$TMP/json" 2>&1)
	if [[ -z $wrong ]]; then ok "$name: every stack, exactly"; else not_ok "$name: every stack, exactly" "$(head -n 8 <<<"$wrong")" "$(head -n 3 "$TMP/err")"; fi
}

number() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["stacks"][sys.argv[2]])' "$TMP/json" "$1"; }

build nofp -fomit-frame-pointer
exact "without frame pointers" nofp
check "without frame pointers: unwound by CFI" [ "$(number by_cfi)" -eq 25 ]
build fp -fno-omit-frame-pointer
exact "with frame pointers" fp
check "with frame pointers: they are used once proven ($(number by_frame_pointers))" [ "$(number by_frame_pointers)" -ge 8 ]
build debug -g -fomit-frame-pointer -UINLINED '-DINLINED="inlined_step<"'
exact "debug information, inlined functions" debug
cat >"$TMP/inlined.py" <<'END'
import json, sys
lines = [i + 1 for i, l in enumerate(open(sys.argv[2])) if "/* inlined: " in l]
row = next(r for r in json.load(open(sys.argv[1]))["rows"] if any(f["inlined"] for f in r["frames"]))
i = next(i for i, f in enumerate(row["frames"]) if f["inlined"])
step, caller = row["frames"][i], row["frames"][i + 1]
assert step["function"] == "inlined_step" and caller["function"] == "with_inlined"
assert [step["line"], caller["line"]] == lines, (step, caller, lines)
assert step["file"].endswith("chains.c")
END
check "inlined functions: file and lines of both" python3 "$TMP/inlined.py" "$TMP/json" "$ROOT/tests/hakstat/chains.c"
build dynamic -fomit-frame-pointer -rdynamic
strip "$TMP/dynamic"
exact "stripped, dynamic symbols" dynamic
build nopie -no-pie -fomit-frame-pointer
exact "not position-independent" nopie
build static -static -fomit-frame-pointer "$BUILD/libhakmem.a"
exact "static" static
g++ -O2 -fno-builtin -fomit-frame-pointer "$ROOT/tests/hakstat/chains.cpp" -o "$TMP/cxx" || not_ok "chains.cpp compiles"
exact "C++, demangled" cxx
check "C++: with arguments" grep -q 'shapes::Box<4>::grow(std::.*) const' "$TMP/json"

# --- what is cut, and says so --------------------------------------------------------------
stacks -c "$TMP/nofp $TMP/known 3000" --slice 4K --depth 1000
check "above the slice: cut, and counted" [ "$(number cut_by_slice)" -eq 1 ]
check "above the slice: the row says so" grep -q '"whole":false' "$TMP/json"
stacks -c "$TMP/nofp $TMP/known 3000" --slice 64K --depth 50
check "above the depth: cut, and counted" [ "$(number cut_by_depth)" -eq 1 ]
stacks -c "$TMP/nofp $TMP/known 300" --slice 64K --depth 1000
check "a larger slice: whole" [ "$(number cut_by_slice),$(number by_cfi)" = 0,1 ]
check "a larger slice: 302 functions and main" \
	[ "$(grep -o '"function":"\(descend\|main\)"' "$TMP/json" | wc -l)" -eq 302 ]
stacks -c "$TMP/fp $TMP/known 100" --slice 4K
check "frame pointers lead on above the slice, or it was enough" \
	[ "$(grep -o '"function":"descend"' "$TMP/json" | wc -l)" -eq 101 ]
timeout -k 1 30 "$HAKSTAT" stacks --on mmap_fallback -c "$TMP/nofp $TMP/known 3000" --slice 4K --depth 1000 >"$TMP/out" 2>"$TMP/err"
check "text: the stack ends with 'cut'" grep -q '^ *\.\.\. (cut' "$TMP/out"
check "text: how it was unwound, and what was cut" grep -q 'unwound by CFI .*; cut: 1 at the end of the slice' "$TMP/out"

# --- formats -------------------------------------------------------------------------------
timeout -k 1 30 "$HAKSTAT" stacks --on mmap_fallback -c "$TMP/nofp $TMP/known" --folded >"$TMP/folded" 2>"$TMP/err"
check "folded: well-formed" bash -c "test -s '$TMP/folded' && ! grep -Ev '^[^; ][^;]*(;[^;]+)+ [0-9]+\$' '$TMP/folded'"
check "folded: adds up to all events" [ "$(awk '{n += $NF} END {print n}' "$TMP/folded")" -eq 25 ]
check "folded: from the program to the probe" \
	grep -Eq '^nofp;.*;main;alpha;beta;gamma_;big;malloc;\[mmap_fallback\] 7$' "$TMP/folded"
timeout -k 1 30 "$HAKSTAT" stacks --on mmap_fallback -c "$TMP/nofp $TMP/known" --folded -s bytes >"$TMP/folded" 2>"$TMP/err"
check "folded: of bytes" grep -Eq ';main;alpha;beta;gamma_;big;malloc;\[mmap_fallback\] 29360128$' "$TMP/folded"
timeout -k 1 30 "$HAKSTAT" stacks --on mmap_fallback,os_map -c "$TMP/nofp $TMP/known" --csv -o "$TMP/csv" 2>"$TMP/err"
cat >"$TMP/table.py" <<'END'
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1], newline="")))
count = {}
for r in rows:
    count[r["probe"]] = count.get(r["probe"], 0) + int(r["events"])
assert count["mmap_fallback"] == 25 and count["os_map"] >= 25, count
assert all(r["time_ns"] == "" for r in rows if r["probe"] == "mmap_fallback")
assert all(float(r["time_ns"]) > 0 for r in rows if r["probe"] == "os_map")
END
check "csv: both probes, times where there are some" python3 "$TMP/table.py" "$TMP/csv"
timeout -k 1 30 "$HAKSTAT" stacks --on mmap_fallback -c "$TMP/nofp $TMP/known" --by function >"$TMP/out" 2>"$TMP/err"
check "by function: what called the allocator" eval 'grep -Eq "^ +20 .* big$" "$TMP/out" && grep -Eq "^ +5 .* by_others$" "$TMP/out"'
timeout -k 1 30 "$HAKSTAT" stacks --on mmap_fallback -c "$TMP/nofp $TMP/known" --internals --json >"$TMP/json" 2>"$TMP/err"
check "internals: from the probe on" grep -q '"function":"hak_probe_hakmem_mmap_fallback"' "$TMP/json"

usage() { # NAME PATTERN ARGS...
	local name=$1 pattern=$2

	shift 2
	timeout 10 "$HAKSTAT" stacks "$@" >"$TMP/out" 2>"$TMP/err" </dev/null
	check "$name: exit code 2" [ $? -eq 2 ]
	check "$name: says why" grep -Eq -- "$pattern" "$TMP/err"
}
usage "no probe" "--on refill" -p $$
usage "unknown probe" "no probe 'nonsense'; there are refill" -p $$ --on nonsense
usage "class of a probe that tells none" "os_map does not tell" -p $$ --on os_map --class 100
usage "unknown lock" "there are arena, " -p $$ --on lock_wait --lock nonsense

# --- a process that runs -------------------------------------------------------------------
mkfifo "$TMP/fifo"
cp "$LIB" "$TMP/libhakmem.so"
start_chains() { # PROGRAM
	rm -f "$TMP/known"
	LD_PRELOAD=$TMP/libhakmem.so "$TMP/$1" "$TMP/known" wait <"$TMP/fifo" &
	chains=$!
	end_at_exit $chains
	exec 7>"$TMP/fifo"
	wait_for 10 test -s "$TMP/known"
}
sites() { python3 "$ROOT/tests/hakstat/sites.py" "$chains" "$TMP/libhakmem.so" "$LIB"; }
# shellcheck disable=SC2317 # called by wait_for
attached() { [[ $(sites) =~ ^[1-9] ]] && grep -qsE '^(7|271) ' "/proc/$watcher/syscall"; }
# shellcheck disable=SC2317 # called by wait_for
detached() { [[ $(sites) =~ ^0\  ]]; }

start_chains nofp
rm "$TMP/nofp" "$TMP/libhakmem.so"
"$HAKSTAT" stacks -p $chains --on mmap_fallback --rate 0 --json -d 60 >"$TMP/json" 2>"$TMP/err" 7>&- &
watcher=$!
end_at_exit $watcher
wait_for 20 grep -qsE '^(7|271) ' "/proc/$watcher/syscall" # it waits: all is attached
sleep 0.2
echo >&7
sleep 0.3
exec 7>&-
wait $watcher
check "deleted program and library: hakstat ends with 0" [ $? -eq 0 ]
wrong=$(python3 "$ROOT/tests/hakstat/chains.py" "$TMP/known" "$TMP/json" 2>&1)
if [[ -z $wrong ]]; then ok "deleted program and library: every stack"; else not_ok "deleted program and library: every stack" "$(head -n 8 <<<"$wrong")" "$(head -n 3 "$TMP/err")"; fi

# A process that becomes another program: that one's stacks, from its first.
# shellcheck disable=SC2317 # called by wait_for
opened() { # FILE: hakstat has it, to look names up
	find "/proc/$watcher/fd" -lname "*/$1*" 2>/dev/null | grep -q .
}
finish_watch() { # NAME
	exec 7>&-
	wait $watcher
	check "$1: hakstat ends with 0" [ $? -eq 0 ]
	wrong=$(python3 "$ROOT/tests/hakstat/chains.py" "$TMP/known" "$TMP/json" 2>&1)
	if [[ -z $wrong ]]; then ok "$1: every stack"; else not_ok "$1: every stack" "$(head -n 8 <<<"$wrong")" "$(head -n 3 "$TMP/err")"; fi
}
begin_watch() {
	"$HAKSTAT" stacks -p $chains --on mmap_fallback --rate 0 --json -d 60 >"$TMP/json" 2>"$TMP/err" 7>&- &
	watcher=$!
	end_at_exit $watcher
	wait_for 20 grep -qsE '^(7|271) ' "/proc/$watcher/syscall"
}
build nofp -fomit-frame-pointer
cp "$LIB" "$TMP/libhakmem.so"
rm -f "$TMP/known"
LD_PRELOAD=$TMP/libhakmem.so bash -c 'echo ready >"$1/ready"; read -r; exec "$1/nofp" "$1/known" wait' - "$TMP" <"$TMP/fifo" &
chains=$!
end_at_exit $chains
exec 7>"$TMP/fifo"
wait_for 10 test -s "$TMP/ready"
begin_watch
echo >&7
check "exec: hakstat follows" wait_for 20 grep -q 'became another program' "$TMP/err"
wait_for 20 opened nofp
echo >&7
finish_watch exec

# In a mount namespace of its own, where the path leads to another file than here.
mkdir "$TMP/inside"
cp "$TMP/cxx" "$TMP/inside/nofp"
cat >"$TMP/enter" <<'END'
mount -t tmpfs none "$1/inside" && cp "$1/nofp" "$1/libhakmem.so" "$1/inside" || exit 1
export LD_PRELOAD=$1/inside/libhakmem.so
exec "$1/inside/nofp" "$1/known" wait
END
rm -f "$TMP/known"
unshare -m bash "$TMP/enter" "$TMP" <"$TMP/fifo" &
chains=$!
end_at_exit $chains
exec 7>"$TMP/fifo"
wait_for 10 test -s "$TMP/known"
begin_watch
echo >&7
finish_watch "mount namespace"

# A library that lies where another was, closed before.
"$CC" -O1 "$ROOT/tests/hakstat/plugs.c" -o "$TMP/plugs" -ldl || not_ok "plugs.c compiles"
for name in first other; do
	"$CC" -O2 -fno-builtin -fPIC -shared -fomit-frame-pointer -DNAME="from_$name" "$ROOT/tests/hakstat/plug.c" -o "$TMP/$name.so" ||
		not_ok "plug.c compiles"
done
LD_PRELOAD=$LIB "$TMP/plugs" "$TMP/first.so" "$TMP/other.so" <"$TMP/fifo" >"$TMP/plugs.out" &
chains=$!
end_at_exit $chains
exec 7>"$TMP/fifo"
wait_for 10 grep -q ready "$TMP/plugs.out"
begin_watch
turns() { awk '/^voluntary/ { print $2 }' "/proc/$watcher/status"; }
calls=0
for name in first other; do
	printf x >&7
	check "dlclose: hakstat notices $name.so" wait_for 20 opened "$name.so"
	printf x >&7
	calls=$((calls + 1))
	wait_for 10 eval '[[ $(grep -c called "$TMP/plugs.out") -eq $calls ]]'
	# hakstat names what it has taken while the library is there: it had turns since then
	before=$(turns)
	wait_for 10 eval '[[ $(turns) -ge $((before + 4)) ]]'
	printf x >&7
done
exec 7>&-
wait $watcher
cat >"$TMP/plugs.py" <<'END'
import json, sys
at = [l for l in open(sys.argv[2]) if l.startswith("0x")]
assert at[0] == at[1], ("not in the same place", at)
found = {tuple(f["function"] for f in r["frames"][:4]): r["events"] for r in json.load(open(sys.argv[1]))["rows"]}
assert found == {("malloc", "from_first", "plug", "main"): 3, ("malloc", "from_other", "plug", "main"): 3}, found
END
check "dlclose: each under the name of its own library" python3 "$TMP/plugs.py" "$TMP/json" "$TMP/plugs.out"

# Kernels before 6.6: one perf event a probe.
export HAKSTAT_NO_MULTI=1
check "without uprobe_multi: by perf events" grep -q 'BPF attach *by perf_event' <("$HAKSTAT" doctor)
exact "without uprobe_multi" nofp
unset HAKSTAT_NO_MULTI

# Progress, on a terminal only.
cat >"$TMP/terminal.py" <<'END'
import os, pty, sys
os.environ["HAKSTAT_PROGRESS"] = "1"
out = open(sys.argv[1], "wb")
def read(fd):
    data = os.read(fd, 4096)
    out.write(data)
    return data
pty.spawn(sys.argv[2:], read, lambda fd: b"")
END
progress() { # FILE REDIRECTION
	python3 "$TMP/terminal.py" "$1" sh -c "exec '$HAKSTAT' stacks --on mmap_fallback -c '$TMP/nofp $TMP/known' -o '$TMP/report' $2" >"$TMP/out" </dev/null
}
progress "$TMP/tty" ''
check "progress: how many of how many names" grep -q $'\rlooking up names: 0 of [0-9]* stacks\033\[K.*\r\033\[K' "$TMP/tty"
progress "$TMP/tty" "2>'$TMP/err'"
check "progress: on a terminal alone" eval 'test -s "$TMP/report" && ! grep -q "looking up" "$TMP/tty" "$TMP/err" "$TMP/report"'

# A program that may not be opened: said so, exit status 4, and on by frame pointers
build nofp -fomit-frame-pointer
if command -v setpriv >/dev/null; then
	cp "$LIB" "$TMP/libhakmem.so"
	start_chains fp
	rm "$TMP/fp"
	setpriv --bounding-set=-sys_admin,-checkpoint_restore "$HAKSTAT" stacks -p $chains --on mmap_fallback --rate 0 --json \
		-d 60 >"$TMP/json" 2>"$TMP/err" 7>&- &
	watcher=$!
	end_at_exit $watcher
	wait_for 20 grep -qsE '^(7|271) ' "/proc/$watcher/syscall"
	sleep 0.2
	echo >&7
	sleep 0.3
	exec 7>&-
	wait $watcher
	check "a program that may not be opened: exit code 4" [ $? -eq 4 ]
	check "a program that may not be opened: says what to do" grep -q 'no permission to open 1 files .*setcap' "$TMP/err"
	check "a program that may not be opened: by frame pointers" [ "$(number by_both),$(number files_not_opened)" = 25,1 ]
	check "a program that may not be opened: its offsets" grep -q '"function":null,"file":null,"line":null,"module":"[^"]*/fp","offset":[0-9]\{1,6\},' "$TMP/json"
	setpriv --bounding-set=-bpf,-perfmon,-sys_admin "$HAKSTAT" stacks -c "$TMP/nofp $TMP/known" --on refill >"$TMP/out" 2>"$TMP/err"
	check "no BPF: exit code 4" [ $? -eq 4 ]
	check "no BPF: says what to do" grep -q 'no permission for BPF: .*setcap' "$TMP/err"
fi

# kill -9: nothing stays in the target, nor in the kernel
cp "$LIB" "$TMP/libhakmem.so"
start_chains nofp
"$HAKSTAT" stacks -p $chains --on mmap_fallback,refill -d 60 >/dev/null 2>"$TMP/err" 7>&- &
watcher=$!
check "kill -9: attaches first" wait_for 20 attached
sed -n 's/^\(prog\|link\|map\)_id:[[:space:]]*\([0-9]*\)$/\1 \2/p' /proc/$watcher/fdinfo/* | sort -u >"$TMP/objects"
kill -KILL $watcher
wait $watcher 2>/dev/null
check "kill -9: the sites are nops again" wait_for 5 detached
# shellcheck disable=SC2317 # called by wait_for
objects_gone() {
	local kind id

	while read -r kind id; do
		bpftool "$kind" show id "$id" >/dev/null 2>&1 && return 1
	done <"$TMP/objects"
	[[ -s $TMP/objects ]]
}
check "kill -9: no program, link or map is left" wait_for 10 objects_gone
echo >&7
exec 7>&-
wait $chains
check "kill -9: the process went on" [ $? -eq 0 ]

# --- a lock ---------------------------------------------------------------------------------
"$CC" -O2 -fno-builtin "$ROOT/tests/hakstat/contended.c" -o "$TMP/contended" -pthread || not_ok "contended.c compiles"
cat >"$TMP/lock.py" <<'END'
import json, sys
report = json.load(open(sys.argv[1]))
assert report["rows"] and report["stacks"]["events"] > 0
assert all(r["time_ns"] > 0 and r["bytes"] is None for r in report["rows"])
mine = sum(r["events"] for r in report["rows"] if any(f["function"] == "contend" for f in r["frames"]))
assert mine >= 0.9 * report["stacks"]["events"], (mine, report["stacks"])
END
for _ in 1 2 3 4 5 6; do # contention happens when it happens
	timeout -k 1 30 "$HAKSTAT" stacks --on lock_wait --lock arena --json -d 1.5 -c "$TMP/contended" >"$TMP/json" 2>"$TMP/err" < <(echo; sleep 1)
	[[ $(number events) == 0 ]] || break
done
check "lock_wait: who waits for the arena, how long" python3 "$TMP/lock.py" "$TMP/json"

# --- a real server --------------------------------------------------------------------------
if command -v redis-server redis-benchmark >/dev/null; then
	LD_PRELOAD=$LIB redis-server --port 0 --unixsocket "$TMP/redis.sock" --save '' --dir "$TMP" >/dev/null 2>&1 &
	server=$!
	end_at_exit $server
	wait_for 10 test -S "$TMP/redis.sock"
	redis-benchmark -s "$TMP/redis.sock" -q -l -n 20000 -c 20 -P 8 -d 200 -r 100000 -t set,lpush,hset >/dev/null 2>&1 &
	load=$!
	end_at_exit $load
	timeout -k 1 60 "$HAKSTAT" stacks -p $server --on refill,flush --json -d 3 >"$TMP/json" 2>"$TMP/err"
	check "redis: ends with 0" [ $? -eq 0 ]
	timeout -k 1 60 "$HAKSTAT" stacks -p $server --on refill --class 200 --rate 0 --json -d 1 >"$TMP/class.json" 2>>"$TMP/err"
	kill $load
	cat >"$TMP/redis.py" <<'END'
import json, sys
report = json.load(open(sys.argv[1]))
events = whole = 0
for r in report["rows"]:
    events += r["events"]
    names = [f["function"] for f in r["frames"]]
    if r["whole"] and ("main" in names or "start_thread" in names or "clone" in names or "clone3" in names):
        whole += r["events"]
    assert names[0] in ("malloc", "calloc", "realloc", "free"), names
print("%d events, %.1f %% reach main" % (events, 100 * whole / max(events, 1)))
assert events > 100 and whole >= 0.95 * events
END
	python3 "$TMP/redis.py" "$TMP/json" >"$TMP/out" 2>&1
	status=$?
	check "redis: the stacks of refill and flush reach main ($(tail -n 1 "$TMP/out"))" [ $status -eq 0 ]
	check "redis: by names of its own" grep -q '"function":"\(zmalloc\|ztrymalloc_usable\|zmalloc_usable\|ztrymalloc\)' "$TMP/json"
	check "class: blocks of 208 bytes alone" python3 -c 'import json, sys
rows = json.load(open(sys.argv[1]))["rows"]
sys.exit(not rows or any(r["bytes"] % 208 for r in rows))' "$TMP/class.json"
else
	skip "redis" "redis is not installed"
fi
finish
