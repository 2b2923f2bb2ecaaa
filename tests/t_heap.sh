#!/usr/bin/env bash
# timeout: 240
# hakstat heap: known memory of a planted program by what allocated it, exactly what can be known
# exactly; every format, read by others; several watchers at once; what is left when they are
# killed. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[[ $(id -u) -eq 0 ]] || skip_all "needs root"
CC=${CC:-gcc}
need python3 "$CC" go
need_lib
export HAKMEM_LIB=$LIB HOME=$TMP PPROF_TMPDIR=$TMP
HELP=$ROOT/tests/hakstat
"$CC" -std=gnu11 -D_GNU_SOURCE -g -O2 -fno-builtin -fno-optimize-sibling-calls "$HELP/holders.c" -o "$TMP/holders" ||
	not_ok "holders.c compiles"

start() { # FIFO NUMBER FILE: holders, ready, with that descriptor as its input
	rm -f "$TMP/fifo" "$2"
	mkfifo "$TMP/fifo"
	LD_PRELOAD=$LIB "$TMP/holders" "$2" <"$TMP/fifo" &
	holders=$!
	end_at_exit $holders
	eval "exec $1>\"$TMP/fifo\""
	wait_for 10 grep -qs ready "$2"
}
watch() { # NAME ARGS...: in the background; its PID in $watcher, output in $TMP/NAME
	local name=$1

	shift
	"$HAKSTAT" heap -p $holders -d 60 --mean 64K "$@" >"$TMP/$name" 2>"$TMP/$name.err" 7>&- 8>&- &
	watcher=$!
	watchers+=("$watcher")
	end_at_exit $watcher
}
semaphores() { python3 "$HELP/semaphores.py" $holders "$LIB"; }
# shellcheck disable=SC2317 # called by wait_for
all_wait() { # all of them are attached, and wait
	local w

	[[ $(semaphores) == *otel_memory:alloc=1* ]] || return # of how many: that is not counted
	for w in "${watchers[@]}"; do
		grep -qsE '^(7|271) ' "/proc/$w/syscall" || return
	done
}
# shellcheck disable=SC2317 # called by wait_for
none_watches() { [[ -z $(semaphores) ]]; }
says() { # NAME WRONG: ok if there is nothing wrong
	if [[ -z $2 ]]; then ok "$1"; else not_ok "$1" "$(head -n 8 <<<"$2")"; fi
}

# --- nine watchers at once ----------------------------------------------------------------
watchers=()
start 7 "$TMP/known"
watch freed.json --json
to_the_end=$watcher
watch b.out -o "$TMP/b.pb.gz"
to_the_end_too=$watcher
watch held.json --json
watch a.out -o "$TMP/a.pb.gz" --svg "$TMP/a.svg"
watch folded --folded
watch table --by site
watch class --by class --csv
watch thread --by thread --json
watch function --by function --json
check "nine attach at once" wait_for 20 all_wait
check "they ask for the mean, and for counts by site" \
	[ "$(semaphores | grep -c 'sample_bit4=1$\|watch_sites=1$')" -eq 2 ]
sleep 0.1
echo >&7
wait_for 20 grep -q held "$TMP/known"
sleep 0.2
kill -INT "${watchers[@]:2}"
for w in "${watchers[@]:2}"; do
	wait "$w" || not_ok "a watcher ends with 0" "it ended with $?"
done
says "live bytes by function: five standard errors at most, counts exact" \
	"$(python3 "$HELP/heap.py" held "$TMP/known" "$TMP/held.json" 65536 2>&1)"

cat >"$TMP/by.py" <<'END'
import json, sys
held, thread, function = (json.load(open(f)) for f in sys.argv[1:4])
total = held["heap"]["live_bytes"]
assert [r["what"] for r in thread["rows"]] == [f"holders {sys.argv[4]}"], thread["rows"]
assert abs(thread["rows"][0]["live_bytes"] - total) < 1, (thread["rows"], total)
live = {}
for r in held["rows"]:
    name = r["frames"][0]["function"]
    live[name] = live.get(name, 0) + r["live_bytes"]
assert live == {r["frames"][0]["function"]: r["live_bytes"] for r in function["rows"]}, (live, function["rows"])
END
says "by thread, by function: the same sums" "$(python3 "$TMP/by.py" "$TMP/held.json" "$TMP/thread" "$TMP/function" $holders 2>&1)"

cat >"$TMP/pprof.py" <<'END'
import json, re, sys
top, raw, report, build_id = (open(f).read() for f in sys.argv[1:5])
report = json.loads(report)
live = {}
for r in report["rows"]:
    name = r["frames"][0]["function"]
    live[name] = live.get(name, 0) + r["live_bytes"]
flat = {m[1]: int(m[0]) for m in re.findall(r"^ *(\d+)B +\S+% +\S+% +\d+B? +\S+% +(\S.*)$", top, re.M)}
for name, wanted in live.items():
    if name.startswith("hold_") and wanted and abs(flat.get(name, 0) - wanted) > 50: # rounded, each sample
        print(f"pprof says {flat.get(name)} of {name}, not {wanted}")
if sum(n.startswith("hold_") for n in flat) != 8:
    print("not the functions that hold:", flat)
if not any("[class 10240]" in n and abs(v - 10240 * 1000) < 1e6 for n, v in flat.items()):
    print("what was there before is not in it", flat)
if "alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes[dflt]" not in raw:
    print("sample types:", raw[:300])
maps = re.findall(r"^(\d+): 0x[0-9a-f]+/0x[0-9a-f]+/0x0 (\S+) ([0-9a-f]+) \[FN\]", raw, re.M)
if not maps or not maps[0][1].endswith("/holders") or maps[0][2] != build_id.strip():
    print("the program is not the first mapping, with its build id:", maps)
if not re.search(r"hold_tiny .*holders\.c:\d+", raw):
    print("no lines")
if "Period: 65536" not in raw:
    print("period")
END
go tool pprof -top -sample_index=inuse_space -unit=B -nodecount=1000 -nodefraction=0 "$TMP/a.pb.gz" >"$TMP/top" 2>"$TMP/err"
check "go tool pprof reads the profile" [ $? -eq 0 ]
go tool pprof -raw "$TMP/a.pb.gz" >"$TMP/raw" 2>>"$TMP/err"
readelf -n "$TMP/holders" | sed -n 's/ *Build ID: //p' >"$TMP/id"
says "pprof: bytes by function as hakstat has them, mappings, lines" \
	"$(python3 "$TMP/pprof.py" "$TMP/top" "$TMP/raw" "$TMP/held.json" "$TMP/id" 2>&1)"
go tool pprof -top -sample_index=alloc_objects "$TMP/a.pb.gz" >"$TMP/top" 2>>"$TMP/err"
check "pprof: objects allocated" grep -q hold_nothing "$TMP/top"

check "folded: well-formed" bash -c "test -s '$TMP/folded' && ! grep -Ev '^[^; ][^;]*(;[^;]+)+ [0-9]+\$' '$TMP/folded'"
check "folded: from the program to the function" grep -q '^holders;_start;.*;main;hold_mid [0-9]*$' "$TMP/folded"
check "folded: what was there before, by class" grep -q '^holders;\[before attach\];\[class 10240\] 10240000$' "$TMP/folded"
check "files: stderr says what was written" \
	[ "$(grep -Ec "^hakstat: wrote $TMP/a\.(svg|pb\.gz): [0-9.]+M live in [0-9]+ blocks, [0-9.]+M allocated" "$TMP/a.out.err")" -eq 2 ]
check "stderr says how much was there before" grep -q 'there before we attached, and in here by size class alone: 9.8M in 1' "$TMP/folded.err"
check "sites: exact counts" bash -c "grep -Eq '^ +195K +- +2000 .* holders: index\$' '$TMP/table' && grep -Eq '^ +2.9M +- +1000 .* holders: cache\$' '$TMP/table'"
check "what was there before is a table, by class" grep -Eq '^ +10240 +1000 +9.8M ' "$TMP/table"
check "csv by class: of 49152 bytes nobody holds any, of 512 many" python3 -c '
import csv, sys
rows = {r["what"]: float(r["live_bytes"]) for r in csv.DictReader(open(sys.argv[1], newline=""))}
sys.exit("49152" in rows or rows["512"] < 5e6 or rows["large"] < 2.4e7)' "$TMP/class"

cat >"$TMP/svg.py" <<'END'
import re, sys
import xml.etree.ElementTree as tree
S = "{http://www.w3.org/2000/svg}"
root = tree.parse(sys.argv[1]).getroot()
graph = next(g for g in root.iter(S + "g") if g.get("id") == "graph")
names = [g.find(S + "title").text.rsplit(": ", 1)[0] for g in graph]
for g in graph:
    r = g.find(S + "rect")
    assert 0 <= float(r.get("x")) and float(r.get("x")) + float(r.get("width")) <= 1200.01
for wanted in sys.argv[2:]:
    assert wanted in names, (wanted, names)
assert len(list(root.iter(S + "script"))) == 1
assert not re.search(r"(href|src|url\()", open(sys.argv[1]).read()), "it is not self-contained"
END
check "svg: well-formed, one script, nothing from elsewhere" \
	python3 "$TMP/svg.py" "$TMP/a.svg" all main hold_tiny hold_large "[before attach]"

# --- all is freed --------------------------------------------------------------------------
echo >&7
wait_for 20 grep -q freed "$TMP/known"
sleep 0.2
kill -INT $to_the_end $to_the_end_too
wait $to_the_end $to_the_end_too
says "after free: every sampled block is known to be freed" \
	"$(python3 "$HELP/heap.py" freed "$TMP/known" "$TMP/freed.json" 65536 2>&1)"
check "nobody watches: the semaphores are 0" wait_for 5 none_watches
exec 7>&-
wait $holders
check "the program ended with 0" [ $? -eq 0 ]

# --- differences ---------------------------------------------------------------------------
"$HAKSTAT" heap --diff "$TMP/a.pb.gz" "$TMP/b.pb.gz" --json >"$TMP/diff.json" 2>"$TMP/err"
check "diff: ends with 0" [ $? -eq 0 ]
cat >"$TMP/diff.py" <<'END'
import json, sys
d, held = (json.load(open(f)) for f in sys.argv[1:3])
total = held["heap"]["live_bytes"] + held["heap"]["before_remaining_bytes"]
assert abs(d["before"]["inuse_space"] - total) < 2000, (d["before"], total)
tiny = [r for r in d["rows"] if r["frames"][0] == "hold_tiny"]
assert len(tiny) == 1 and tiny[0]["frames"][-1] == "_start", tiny
assert tiny[0]["before"]["inuse_space"] > 5e6 and tiny[0]["after"]["inuse_space"] == 0, tiny
assert tiny[0]["before"]["alloc_space"] == tiny[0]["after"]["alloc_space"], tiny
changes = [abs(r["after"]["inuse_space"] - r["before"]["inuse_space"]) for r in d["rows"]]
assert changes == sorted(changes, reverse=True)
END
check "diff: of live bytes, most changed first" python3 "$TMP/diff.py" "$TMP/diff.json" "$TMP/held.json"
"$HAKSTAT" heap --diff "$TMP/a.pb.gz" "$TMP/b.pb.gz" -n 3 --svg "$TMP/d.svg" >"$TMP/out" 2>"$TMP/err"
check "diff: svg" python3 "$TMP/svg.py" "$TMP/d.svg" all main hold_tiny
"$HAKSTAT" heap --diff "$TMP/a.pb.gz" "$TMP/b.pb.gz" -n 3 >"$TMP/out" 2>"$TMP/err"
check "diff: text" bash -c "grep -q '^ live bytes: .*M in .*a.pb.gz, ' '$TMP/out' && grep -q '^      hold_large' '$TMP/out'"
"$HAKSTAT" heap --diff "$TMP/a.pb.gz" "$TMP/b.pb.gz" --folded >"$TMP/out" 2>"$TMP/err"
check "diff: folded, both values" grep -Eq '^_start;.*;hold_mid [0-9]+ 0$' "$TMP/out"

# names from elsewhere are no markup, and no file makes it fail but with a message
cat >"$TMP/bad.py" <<'END'
import gzip, sys
def num(f, v): return bytes([f << 3]) + varint(v)
def varint(v):
    out = b""
    while v >= 128:
        out, v = out + bytes([v & 127 | 128]), v >> 7
    return out + bytes([v])
def sub(f, b): return bytes([f << 3 | 2]) + varint(len(b)) + b
names = ["", "inuse_space", "bytes", '<script>alert("1")</script>', "a;b]]>&'\x1b[31m\n", "main"]
p = sub(1, num(1, 1) + num(2, 2)) + sub(2, sub(1, bytes([1, 2, 3])) + sub(2, varint(1000)))
p += sub(2, num(1, 3) + num(2, 24)) # not packed
for i in range(3):
    p += sub(4, num(1, i + 1) + sub(4, num(1, i + 1))) + sub(5, num(1, i + 1) + num(2, i + 3))
for n in names:
    p += sub(6, n.encode())
open(sys.argv[1] + "/n.pb.gz", "wb").write(gzip.compress(p))
open(sys.argv[1] + "/plain.pb", "wb").write(p)
open(sys.argv[1] + "/cut.pb", "wb").write(p[:-7])
open(sys.argv[1] + "/cut.pb.gz", "wb").write(gzip.compress(p)[:-20])
open(sys.argv[1] + "/huge.pb", "wb").write(bytes([2 << 3 | 2]) + b"\xff" * 9 + b"\x01")
open(sys.argv[1] + "/empty.pb", "wb").write(b"")
open(sys.argv[1] + "/deep.pb", "wb").write(p + sub(2, sub(1, b"\x01" * 3000000) + num(2, 1)))
END
python3 "$TMP/bad.py" "$TMP"
"$HAKSTAT" heap --diff "$TMP/n.pb.gz" "$TMP/plain.pb" --svg "$TMP/n.svg" >"$TMP/out" 2>"$TMP/err"
check "svg: names are escaped" python3 "$TMP/svg.py" "$TMP/n.svg" '<script>alert("1")</script>' "a;b]]>&'?[31m?"
"$HAKSTAT" heap --diff "$TMP/n.pb.gz" "$TMP/plain.pb" --folded >"$TMP/out"
check "folded: no separator in a name" grep -qF "main;a:b]]>&'?[31m?;<script>alert(\"1\")</script> 1000 1000" "$TMP/out"
check "folded: a sample that is not packed" grep -qx "main 24 24" "$TMP/out"
for bad in deep.pb cut.pb cut.pb.gz huge.pb empty.pb none.pb; do
	timeout 10 "$HAKSTAT" heap --diff "$TMP/n.pb.gz" "$TMP/$bad" >"$TMP/out" 2>"$TMP/err"
	check "diff with $bad: exit code 1, and says which" [ "$?,$(grep -c "$bad" "$TMP/err")" = 1,1 ]
done

# --- a command from its start; a process with its history -----------------------------------
(echo; sleep 1) | timeout -k 1 30 "$HAKSTAT" heap --json --mean 64K -c "sh -c 'exec $TMP/holders $TMP/known'" >"$TMP/start.json" 2>"$TMP/err"
cat >"$TMP/start.py" <<'END'
import json, math, sys
r = json.load(open(sys.argv[1]))
h = r["heap"]
assert h["from_start"] and h["before_blocks"] == 0, h
assert h["samples"] == h["sampled"] and h["lost"] == 0, h
main = sum(x["live_bytes"] for x in r["rows"] if x["frames"][0]["function"] == "main")
p = 1 - math.exp(-10000 / 65536)
assert abs(main - 1e7) < 5 * math.sqrt(1000 * 1e8 * (1 - p) / p), main
END
check "a command that becomes another: from its first allocation on" python3 "$TMP/start.py" "$TMP/start.json"

export HAKMEM_PROFILE=100k # 64K
start 8 "$TMP/known"
unset HAKMEM_PROFILE
echo >&8
wait_for 20 grep -q held "$TMP/known"
"$HAKSTAT" heap -p $holders -d 0.3 --json >"$TMP/history.json" 2>"$TMP/err"
cat >"$TMP/history.py" <<'END'
import json, math, sys
r = json.load(open(sys.argv[1]))
h = r["heap"]
assert h["history"] and h["history_lost"] == 0 and h["mean_bytes"] == 65536, h
assert h["history_blocks"] == h["live_samples"] == h["sampled_by_target"] - h["freed_by_target"], h
total = var = 0
for line in open(sys.argv[2]):
    if " " in line:
        name, n, b, each = line.split()
        n, each = int(n), int(each)
        p = 1 - math.exp(-each / 65536)
        total += n * each
        var += n * each * each * (1 - p) / p
total += 1000 * 10000 + 1000 * 3000 + 2000 * 100
var += 1000 * 1e8 / (10000 / 65536)
assert abs(h["live_bytes"] - total) < 5 * math.sqrt(var) + 1e4, (h["live_bytes"], total, math.sqrt(var))
for x in r["rows"]:
    names = [f["function"] for f in x["frames"]]
    assert "main" in names and x["whole"], names
END
says "HAKMEM_PROFILE: all of its history, with whole stacks" "$(python3 "$TMP/history.py" "$TMP/history.json" "$TMP/known" 2>&1)"
check "and no note that something is missing" bash -c "! grep -q 'not in here' '$TMP/err'"

"$HAKSTAT" heap -p $holders -d 60 --mean 16K >/dev/null 2>&1 7>&- 8>&- &
watchers=($!) watcher=$!
end_at_exit $watcher
wait_for 20 all_wait
"$HAKSTAT" heap -p $holders -d 0.2 --mean 4K --json >"$TMP/mean.json" 2>"$TMP/err"
check "another one asked for another mean: the one in use is told" grep -q '"mean_bytes":16384,' "$TMP/mean.json" # 14 | 12
kill -INT $watcher
wait $watcher

# --- killed: nothing stays in the target ----------------------------------------------------
watchers=()
watch killed --json
wait_for 20 all_wait
kill -KILL $watcher
wait $watcher 2>/dev/null
check "kill -9: the semaphores are 0" wait_for 5 none_watches
echo >&8
check "kill -9: the program goes on" wait_for 20 grep -q freed "$TMP/known"
exec 8>&-
wait $holders
check "kill -9: and ends with 0" [ $? -eq 0 ]

usage() { # NAME PATTERN ARGS...
	local name=$1 pattern=$2

	shift 2
	timeout 10 "$HAKSTAT" heap "$@" >"$TMP/out" 2>"$TMP/err" </dev/null
	check "$name: exit code 2, and why" [ "$?,$(grep -Ec -- "$pattern" "$TMP/err")" = 2,1 ]
}
usage "a mean that is no power of two" "not a power of two from 4K" -p $$ --mean 5000
usage "no frames at all" "not a number from 1 to 1024" -p $$ --depth 0
usage "by what nobody knows" "class, thread or site, not 'x'" -p $$ --by x
usage "a profile as JSON" "pprof's format: no --json" -p $$ --json -o "$TMP/x.pb.gz"
usage "a difference of one" "takes two profiles" --diff "$TMP/a.pb.gz"
timeout 10 "$HAKSTAT" heap -c true --svg "$TMP/no/such.svg" >"$TMP/out" 2>"$TMP/err"
check "svg that cannot be written: exit code 1, and why" [ "$?,$(grep -c 'no/such.svg: No such file' "$TMP/err")" = 1,1 ]
timeout 10 "$HAKSTAT" heap -c "sleep 0.1" --svg /dev/full >"$TMP/out" 2>"$TMP/err"
check "a full disk: exit code 1" [ $? -eq 1 ]
if command -v setpriv >/dev/null; then
	setpriv --bounding-set=-bpf,-perfmon,-sys_admin "$HAKSTAT" heap -c "sleep 1" >"$TMP/out" 2>"$TMP/err"
	check "no BPF: exit code 4, and what to do" [ "$?,$(grep -c 'no permission for BPF: .*setcap' "$TMP/err")" = 4,1 ]
fi
finish
