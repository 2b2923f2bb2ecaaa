#!/usr/bin/env bash
# timeout: 240
# hakstat dump against a program whose heap is known (tests/helpers/known_heap.c): running,
# stopped, as a core file, ended by a misuse, static, with a stripped library; then files and
# heaps that are broken.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need gdb gcore python3 strip
need_lib
CC=${CC:-gcc}
PROGRAM=$TMP/known_heap

build() { # OUT [ARGS...]
	local out=$1

	shift
	"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -g -w -fno-builtin "$ROOT/tests/helpers/known_heap.c" \
		-o "$out" "$@" -pthread || { not_ok "$out compiles"; finish; }
}

# start COMMAND...: in the background; sets pid and the addresses live, freed, large
start() {
	rm -f "$TMP/ready" # of the one before
	"$@" >"$TMP/ready" 2>"$TMP/program.err" &
	pid=$!
	end_at_exit "$pid"
	wait_for 60 grep -q '^ready .' "$TMP/ready" || { not_ok "$* starts"; finish; }
	read -r _ live freed large <"$TMP/ready"
}

dump() { timeout 60 "$HAKSTAT" dump "$@"; }

# Compares the JSON in $TMP/dump.json with what the program did.
cat >"$TMP/judge.py" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
wrong = []
def is_(what, got, want):
    if got != want:
        wrong.append("%s is %s, not %s" % (what, got, want))
by = {c["size"]: c for c in d["classes"]}
k, large = by[2048], by["large"]
small = [c for c in d["classes"] if c["size"] != "large"]
is_("live of 2048", k["live_blocks"], 400)
is_("live large", large["live_blocks"], 2)
is_("large pages", large["pages"], 2)
is_("all blocks", k["live_blocks"] + k["cached_blocks"] + k["queued_blocks"] + k["free_blocks"], k["pages"] * 32)
is_("held", k["held_bytes"], k["pages"] * 65536)
is_("used", round(k["used"], 6), round(400 * 2048 / k["held_bytes"], 6))
pages = [p for p in d["pages"] if p["size"] == 2048]
is_("pages listed", len(pages), k["pages"])
is_("used in them", sum(p["used_blocks"] for p in pages), k["live_blocks"] + k["cached_blocks"] + k["queued_blocks"])
is_("heaps alive", sum(h["state"] == "live" for h in d["heaps"]), 2)
is_("a slow operation", d["heaps_busy"], int(sys.argv[2])) # the misuse happens in one
is_("cached by class", sum(c["cached_blocks"] * c["size"] for c in small), d["cached_bytes"])
is_("cached by heap", sum(h["cached_bytes"] for h in d["heaps"]), d["cached_bytes"])
is_("live bytes", sum(c["live_blocks"] * c["size"] for c in small) + 2 * (3 << 20), d["live_bytes"])
is_("misuses", d["misuses"], int(sys.argv[2]))
is_("broken", (d["broken"], d["first_broken"]), (0, None))
is_("truncated", d["core_truncated"], False)
print("; ".join(wrong), end="")
PY

# The rows of CSV are those of JSON. A process at work may free in between, so: how many, and which.
cat >"$TMP/same.py" <<'PY'
import csv, io, json, sys
d, by = json.load(open(sys.argv[1])), sys.argv[2]
rows = list(csv.DictReader(io.StringIO(sys.stdin.read(), newline="")))
wanted, name = {"class": (d["classes"], "size"), "heap": (d["heaps"], "tid"), "page": (d["pages"], "page"),
                "total": ([d], "mapped_bytes")}[by]
if [r[name] for r in rows] != [str(w[name]) for w in wanted]:
    print(by, [r[name] for r in rows], [w[name] for w in wanted])
PY

# known NAME MISUSES ARGS...: counts, and what three addresses are
known() {
	local name=$1 misuses=$2 wrong

	shift 2
	dump "$@" --json --pages >"$TMP/dump.json" 2>"$TMP/err" ||
		{ not_ok "$name" "status $?: $(head -n 3 "$TMP/err")"; return; }
	wrong=$(python3 "$TMP/judge.py" "$TMP/dump.json" "$misuses" 2>&1)
	if [[ -z $wrong ]]; then ok "$name: counts"; else not_ok "$name: counts" "$wrong"; fi
	wrong=$(for by in class heap page total; do
		dump "$@" --by $by --csv | python3 "$TMP/same.py" "$TMP/dump.json" $by
	done 2>&1)
	if [[ -z $wrong ]]; then ok "$name: CSV"; else not_ok "$name: CSV" "$wrong"; fi
	says "$name: a live block" "byte 5 of the block at $live, 2048 bytes: live" \
		"$@" --block "$(printf '%#x' $((live + 5)))"
	says "$name: a freed block" "block at $freed, 2048 bytes: free" "$@" --block "$freed"
	says "$name: a large block" "byte 100000 of the block at $large, 3145728 bytes: live" \
		"$@" --block "$(printf '%#x' $((large + 100000)))"
	says "$name: no block" 'not in any page of libhakmem' "$@" --block 0x10
	dump "$@" --check >/dev/null 2>&1
	check "$name: --check" [ $? -eq 0 ]
}

says() { # NAME TEXT ARGS...
	local name=$1 text=$2

	shift 2
	dump "$@" >"$TMP/out" 2>"$TMP/err"
	if grep -qF "$text" "$TMP/out"; then
		ok "$name"
	else
		not_ok "$name" "no '$text' in: $(tail -n 5 "$TMP/out")" "$(head -n 2 "$TMP/err")"
	fi
}

code() { # NAME STATUS ARGS...
	local name=$1 want=$2 got

	shift 2
	dump "$@" >"$TMP/out" 2>"$TMP/err"
	got=$?
	check "$name: status $want" [ $got -eq "$want" ]
}

take_core() { # PID FILE
	gcore -o "$TMP/core" "$1" >"$TMP/gcore.log" 2>&1 && mv "$TMP/core.$1" "$2" ||
		not_ok "gcore" "$(tail -n 3 "$TMP/gcore.log")"
}

build "$PROGRAM"
start env LD_PRELOAD="$LIB" "$PROGRAM"
rss_kib() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status"; }
before=$(rss_kib)
dump -p "$pid" --pages >/dev/null 2>&1
grown=$(($(rss_kib) - before))
check "looking costs the target no memory ($grown KiB)" [ "$grown" -le 32 ]
known running 0 -p "$pid"
kill -STOP "$pid"
known stopped 0 -p "$pid"
take_core "$pid" "$TMP/good.core"
known "core of gcore" 0 --core "$TMP/good.core"

# The library's file is of no use to a core: the same with another process and the file gone.
kill -CONT "$pid"
cp "$LIB" "$TMP/libstripped.so" && strip "$TMP/libstripped.so"
start env LD_PRELOAD="$TMP/libstripped.so" "$PROGRAM"
known "stripped library" 0 -p "$pid"
take_core "$pid" "$TMP/stripped.core"
kill "$pid"
rm "$TMP/libstripped.so"
known "core of a library that is gone" 0 --core "$TMP/stripped.core"

build "$PROGRAM.static" -static "$BUILD/libhakmem.a"
strip "$PROGRAM.static"
start "$PROGRAM.static"
known static 0 -p "$pid"
take_core "$pid" "$TMP/static.core"
known "core of a static program" 0 --core "$TMP/static.core"

# Ended by a misuse: gdb writes the core at the abort, whatever core_pattern says.
gdb -batch -ex 'set breakpoint pending on' -ex "set exec-wrapper env LD_PRELOAD=$LIB" \
	-ex "run misuse >$TMP/ready" -ex "generate-core-file $TMP/misuse.core" -ex kill \
	"$PROGRAM" >"$TMP/gdb.log" 2>&1
read -r _ live freed large <"$TMP/ready"
known "core of a misuse" 1 --core "$TMP/misuse.core"
says "core of a misuse: which" 'pointer is not the start of a block' --core "$TMP/misuse.core"
says "core of a misuse: where" "the last $(printf '%#x' $((large + 16)))" --core "$TMP/misuse.core"
if [[ $(cat /proc/sys/kernel/core_pattern) != [\|/]* ]]; then
	mkdir "$TMP/kernel"
	(cd "$TMP/kernel" && ulimit -c unlimited && LD_PRELOAD=$LIB "$PROGRAM" misuse >"$TMP/ready") \
		2>/dev/null
	read -r _ live freed large <"$TMP/ready"
	core=$(find "$TMP/kernel" -type f | head -n 1)
	if [[ -n $core ]]; then
		known "core of the kernel" 1 --core "$core"
	else
		not_ok "core of the kernel" "there is none"
	fi
fi

# Broken heaps: found, with an end.
break_heap() { # NAME GDB-COMMAND
	start env LD_PRELOAD="$LIB" "$PROGRAM"
	gdb -batch -p "$pid" -ex "$2" >"$TMP/gdb.log" 2>&1
	code "$1" 1 -p "$pid" --check
	kill "$pid"
}
break_heap "slices dirty and in use" 'set var arena_segments->dirty = ~0UL'
break_heap "a ring of segments" 'set var arena_segments->all_next = arena_segments'
break_heap "a segment nowhere" 'set var arena_segments->all_next = (struct segment *)16'
break_heap "a count of pages" 'set var hakmem_root.class_pages[5] = 3'
break_heap "an impossible number of heaps" 'set var hakmem_root.heaps = 4000000000'
break_heap "an offset beyond its structure" 'set var hakmem_root.layout.at[9] = 65535'

# Broken files: an answer in time, whatever it is; never a signal.
abi=$(sed -n 's/^#define HAK_ABI \([0-9]*\)U$/\1/p' "$ROOT/probes/shared.h")
python3 - "$TMP/good.core" "$TMP/odd" "$abi" <<'PY'
import random, sys
good = bytearray(open(sys.argv[1], "rb").read())
r = random.Random(1)
root = good.find(b"hakmem\n\0" + bytes([int(sys.argv[3]), 0, 0, 0]))
assert root > 0
for i in range(8):
    open("%s.cut%d" % (sys.argv[2], i), "wb").write(good[:len(good) * i // 8])
for i in range(24):
    b = bytearray(good)
    for _ in range(20):
        lo, n = [(root + 8, 3000), (0, 4096), (root + 12, 900)][i % 3]
        b[lo + r.randrange(n)] = r.randrange(256)
    open("%s.bad%d" % (sys.argv[2], i), "wb").write(b)
PY
wrong=
for f in "$TMP"/odd.*; do
	dump --core "$f" --pages --block "$live" >"$TMP/out" 2>"$TMP/err"
	status=$?
	[[ $status -le 3 && $status -ne 2 ]] || wrong+=" ${f##*.}:$status"
done
check "truncated and corrupted cores end with a status of ours$wrong" [ -z "$wrong" ]
code "an empty file" 1 --core "$TMP/odd.cut0"
code "half a core" 3 --core "$TMP/odd.cut1"
rm -f "$TMP"/odd.*

# Not ours.
rm -f "$TMP/ready"
"$PROGRAM" >"$TMP/ready" &
pid=$!
end_at_exit "$pid"
wait_for 60 grep -q '^ready .' "$TMP/ready"
take_core "$pid" "$TMP/plain.core"
code "a core without hakmem" 3 --core "$TMP/plain.core"
code "a process without hakmem" 3 -p "$pid"
code "no core file" 1 --core "$PROGRAM"
code "no file" 1 --core "$TMP/nothing"
code "neither process nor core" 2
code "both" 2 -p 1 --core "$TMP/plain.core"
code "no address" 2 -p 1 --block x
finish
