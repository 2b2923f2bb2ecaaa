#!/usr/bin/env bash
# timeout: 180
# alone: perf probe changes what the kernel knows
# The tools people already have read every probe of a running process, with its arguments:
# bpftrace, perf and gdb. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ $(id -u) -eq 0 ]] || skip_all "needs root"
CC=${CC:-gcc}
need_lib
"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -fno-builtin "$ROOT/tests/hakstat/busy.c" -o "$TMP/busy" -pthread ||
	{ not_ok "hakstat/busy.c compiles"; finish; }
"$BUILD/gen" notes | sed 's/ SEMAPHORE//' >"$TMP/notes"
[[ -s $TMP/notes ]] || { not_ok "gen notes"; finish; }
count=$(wc -l <"$TMP/notes")
# these need no special moment, so they must be seen; a lock is contended when it happens to be,
# who attaches to everything has the longest mean interval between samples; switches never fire
grep -Ev ' (lock_wait_start|lock_wait_done|arena_grow|sample_bit.|watch_sites) |^otel_memory' "$TMP/notes" |
	awk '{ print $2 }' >"$TMP/must"

# a copy, so that nothing but this test has the file in use
SO=$TMP/libhakmem.so
cp "$LIB" "$SO"
HAKMEM_ABORT=0 LD_PRELOAD=$SO "$TMP/busy" >"$TMP/busy.out" 2>/dev/null &
pid=$!
end_at_exit $pid
wait_for 20 grep -q ready "$TMP/busy.out" || { not_ok "the watched program runs"; finish; }

mounted=
if [[ ! -e /sys/kernel/tracing/uprobe_events ]]; then
	mount -t tracefs nodev /sys/kernel/tracing && mounted=1
fi


with_bpftrace() {
	local name n line args=

	bpftrace -l "usdt:$SO:*" -p $pid 2>"$TMP/err" | sed 's/.*libhakmem\.so://; s/:/ /' | sort >"$TMP/listed"
	awk '{ print $1, $2 }' "$TMP/notes" | sort >"$TMP/expected"
	same "bpftrace lists every probe" "$TMP/expected" "$TMP/listed"
	check "and has nothing to complain about" test ! -s "$TMP/err"

	timeout 60 bpftrace -p $pid -e "usdt:$SO:hakmem:*, usdt:$SO:otel_memory:* { @[probe] = count(); }
		interval:s:3 { exit(); }" >"$TMP/wild" 2>"$TMP/err"
	check "bpftrace attaches to all by wildcard" grep -q "^Attaching $((count + 1)) probes" "$TMP/wild"
	while read -r name; do
		check "bpftrace counts $name" grep -Eq "^@\[usdt:.*:hakmem:$name\]: [1-9]" "$TMP/wild"
	done <"$TMP/must"

	# one line of arguments per probe and firing, all arguments of each
	while read -r line; do
		n=$(($(wc -w <<<"$line") - 2))
		name=$(awk '{ print $2 }' <<<"$line")
		args=$(seq -f 'arg%g' -s ', ' 0 $((n - 1)))
		# shellcheck disable=SC2046 # one word per argument
		printf 'usdt:%s:%s:%s { printf("%s%s\\n", %s); }\n' "$SO" "$(awk '{ print $1 }' <<<"$line")" \
			"$name" "$name" "$(printf ' %%lu%.0s' $(seq "$n"))" "$args"
	done <"$TMP/notes" >"$TMP/all.bt"
	echo 'interval:s:2 { exit(); }' >>"$TMP/all.bt"
	BPFTRACE_PERF_RB_PAGES=1024 timeout 60 bpftrace -p $pid "$TMP/all.bt" >"$TMP/args" 2>"$TMP/err"
	judge_args bpftrace "$TMP/args"
}

# Lines "probe numbers": the relations that the contract promises hold in every one.
judge_args() { # WHO FILE
	python3 - "$2" "$TMP/must" >"$TMP/judged" <<'END'
import sys
seen, wrong = {}, []
PAGE = 4096
rules = {
    "refill": lambda a: 1 <= a[0] < 64 and 16 <= a[1] <= 524288 and a[2] >= 1 and a[5] < 6 and a[3] >= 1,
    "flush": lambda a: a[0] < 64 and a[5] < 5 and (a[0] == 0 or 16 <= a[1] <= 524288),
    "remote_push": lambda a: a[0] > 1 and a[2] >= 1 and a[3] >= 16 * a[2] and a[4] in (0, 1),
    "remote_drain": lambda a: a[0] >= a[2] >= 1 and a[1] >= 16 * a[0],
    "remote_help": lambda a: a[0] > 1,
    "remote_take": lambda a: a[0] > 1 and a[2] >= 1 and a[3] >= 2048 * a[2],
    "lock_wait_start": lambda a: a[0] < 7 and a[1] % 4 == 0,
    "lock_wait_done": lambda a: a[0] < 7 and a[1] % 4 == 0 and a[2] < 10**10,
    "mmap_fallback": lambda a: a[0] > 0 and a[2] < 4 and a[3] % 65536 == 0,
    "os_map": lambda a: a[0] % PAGE == 0 and a[1] % PAGE == 0 and a[1] > 0 and a[2] < 7 and 0 < a[3] < 10**10,
    "os_unmap": lambda a: a[0] % PAGE == 0 and a[1] % PAGE == 0 and a[1] > 0 and a[2] < 7 and 0 < a[3] < 10**10,
    "os_purge": lambda a: a[0] % PAGE == 0 and a[1] % PAGE == 0 and a[1] > 0 and a[2] < 7 and 0 < a[3] < 10**10,
    "os_fill": lambda a: a[0] % PAGE == 0 and a[1] % PAGE == 0 and a[1] > PAGE and a[2] < 7 and 0 < a[3] < 10**10,
    "page_new": lambda a: 1 <= a[0] < 64 and a[1] % 65536 == 0 and a[2] % 65536 == 0 and a[3] < 6,
    "page_free": lambda a: 1 <= a[0] < 64 and a[1] % 65536 == 0 and a[2] % 65536 == 0 and a[3] < 5,
    "arena_grow": lambda a: a[0] == (4 << 20) << a[1],
    "thread_start": lambda a: a[0] > 1 and a[1] % 64 == 0,
    "thread_exit": lambda a: a[0] > 1 and a[1] % 64 == 0,
    "adopt": lambda a: a[0] > 1 and a[1] % 64 == 0 and a[2] >= 1,
    "oom": lambda a: a[0] == 2**63 and a[1] == 0,
    "misuse": lambda a: a[0] > 0 and a[1] == 1,
    "alloc": lambda a: a[0] % 16 == 0 and 1 <= a[1] <= a[2],
    "free": lambda a: a[0] % 16 == 0 and a[0] > 0,
}
for line in open(sys.argv[1], errors="replace"):
    words = line.split()
    if len(words) < 2 or words[0] not in rules:
        continue
    args = [int(w) & (2**64 - 1) for w in words[1:]]
    seen[words[0]] = seen.get(words[0], 0) + 1
    if not rules[words[0]](args) and len(wrong) < 5:
        wrong.append(line.strip())
for name in open(sys.argv[2]).read().split():
    if name not in seen:
        wrong.append(f"never seen: {name}")
print("\n".join(wrong) if wrong else "ok " + " ".join(f"{n} {c}" for n, c in sorted(seen.items())))
END
	if grep -q '^ok' "$TMP/judged"; then
		ok "$1 prints arguments that make sense, of every probe"
		sed 's/^ok/#/' "$TMP/judged"
	else
		not_ok "$1 prints arguments that make sense, of every probe" "$(cat "$TMP/judged")" "$(head -n 3 "$TMP/err")"
	fi
}

# perf keeps build ids below HOME and probes in tracefs: the first goes with $TMP, the second here.
with_perf() {
	local provider name

	export HOME=$TMP/home
	mkdir -p "$HOME"
	check "perf takes the library's notes" perf buildid-cache --add "$SO"
	while read -r provider name _; do
		perf probe -q "sdt_$provider:$name" 2>>"$TMP/perf.err" || not_ok "perf probe sdt_$provider:$name" \
			"$(tail -n 1 "$TMP/perf.err")"
	done <"$TMP/notes"
	timeout 60 perf record -q -o "$TMP/perf.data" -m 4096 -e 'sdt_hakmem:*' -p $pid -- sleep 2 >"$TMP/perf.log" 2>&1
	perf script -i "$TMP/perf.data" -F event,trace 2>/dev/null |
		sed -nE 's/^ *sdt_hakmem:([a-z_]+): +\([0-9a-f]+\) ?/\1 /p' | sed -E 's/arg[0-9]+=//g' |
		python3 -c '
import sys
for line in sys.stdin:
    name, *args = line.split()
    print(name, *(int(a, 0) for a in args))' >"$TMP/args"
	cp "$TMP/perf.log" "$TMP/err"
	judge_args perf "$TMP/args"
	perf probe -q -d 'sdt_hakmem:*' -d 'sdt_otel_memory:*' 2>/dev/null
	perf buildid-cache --remove "$SO" 2>/dev/null
	check "perf leaves no probe behind" test -z "$(grep -E 'sdt_(hakmem|otel)' /sys/kernel/tracing/uprobe_events)"
}

with_gdb() {
	local provider name missing=

	gdb -nx -batch -ex 'info probes stap' "$SO" >"$TMP/gdb" 2>/dev/null
	while read -r provider name _; do
		grep -Eq "^stap +$provider +$name +0x[0-9a-f]+" "$TMP/gdb" || missing+=" $provider:$name"
	done <"$TMP/notes"
	check "gdb lists every probe, missing:${missing:- none}" test -z "$missing"
	# a breakpoint at a probe, its arguments by the note
	# shellcheck disable=SC2016 # gdb's variables
	timeout 60 gdb -nx -batch -p $pid -ex 'break -probe-stap hakmem:refill' -ex continue \
		-ex 'print "argc"' -ex 'print $_probe_argc' -ex 'print "bytes"' -ex 'print $_probe_arg1' \
		-ex detach >"$TMP/gdb" 2>&1
	check "gdb stops at refill and sees six arguments" grep -Pzq '"argc"\n.* = 6\n' "$TMP/gdb"
	check "gdb reads an argument" grep -Pzq '"bytes"\n.* = [0-9]+\n' "$TMP/gdb"
}

if command -v bpftrace >/dev/null; then with_bpftrace; else skip bpftrace "not installed"; fi
if command -v perf >/dev/null; then with_perf; else skip perf "not installed"; fi
if command -v gdb >/dev/null; then with_gdb; else skip gdb "not installed"; fi
check "the watched program still runs" kill -0 $pid
[[ -z $mounted ]] || umount /sys/kernel/tracing 2>/dev/null
finish
