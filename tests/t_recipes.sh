#!/usr/bin/env bash
# timeout: 120
# The ready-made scripts of probes/bpftrace, and the commands for perf that hakstat prints, on a
# process that does all the allocator can. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[[ $(id -u) -eq 0 ]] || skip_all "needs root"
CC=${CC:-gcc}
need_lib
# bpftrace wants it, to end; perf mounts it too, and leaves it
[[ -e /sys/kernel/tracing/uprobe_events ]] || mount -t tracefs nodev /sys/kernel/tracing
"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -fno-builtin "$ROOT/tests/hakstat/busy.c" -o "$TMP/busy" -pthread ||
	{ not_ok "hakstat/busy.c compiles"; finish; }
"$CC" -O2 -fno-builtin "$ROOT/tests/hakstat/contended.c" -o "$TMP/contended" -pthread ||
	{ not_ok "hakstat/contended.c compiles"; finish; }
SO=$TMP/libhakmem.so
cp "$LIB" "$SO"
HAKMEM_ABORT=0 LD_PRELOAD=$SO "$TMP/busy" >"$TMP/busy.out" 2>/dev/null &
pid=$!
end_at_exit $pid
wait_for 20 grep -q ready "$TMP/busy.out" || { not_ok "the watched program runs"; finish; }

recipe() { # SCRIPT PID PATTERN...
	local script=$1 at=$2 tracer pattern

	shift 2
	BPFTRACE_STRLEN=64 bpftrace -p "$at" "$ROOT/probes/bpftrace/$script" >"$TMP/$script.out" 2>"$TMP/err" &
	tracer=$!
	wait_for 20 grep -q '^Attaching' "$TMP/$script.out"
	if [[ $at == "$pid" ]]; then
		sleep 1
	else
		sleep 0.5
		echo >&7 # it contends now, for half a second
		sleep 1
	fi
	interrupt $tracer
	wait $tracer
	for pattern in "$@"; do
		check "$script prints $pattern" grep -Eq -- "$pattern" "$TMP/$script.out"
	done
	# of its own limits it complains wherever they cannot be raised
	check "$script has nothing to complain about" test -z "$(grep -v RLIMIT_MEMLOCK "$TMP/err")"
}

if command -v bpftrace >/dev/null; then
	recipe class_hits.bt $pid '^@refills\[[0-9]+\]: [1-9]' '^@hit_per_mille\[[0-9]+\]: -?[0-9]+$' '^@flushes\['
	recipe remote_push.bt $pid '^@blocks_by_owner\[[0-9]+\]: [1-9]' '^@bytes_by_owner' '^@blocks\['
	recipe fallback_sizes.bt $pid '^@bytes\[[0-3]\]:' '^@calls\[[0-3],'
	mkfifo "$TMP/fifo"
	LD_PRELOAD=$SO "$TMP/contended" <"$TMP/fifo" &
	contended=$!
	end_at_exit $contended
	exec 7>"$TMP/fifo"
	wait_for 10 grep -q "$SO" "/proc/$contended/maps"
	recipe lock_wait.bt $contended '^@ns\[0\]:' '^@total_ns\[0\]: [1-9]' '^@spins\[0\]'
	exec 7>&-
else
	skip bpftrace "not installed"
fi

# What `hakstat probes -p` prints for perf, of a library whose path leads nowhere: a group of its
# own, so that nobody else's probes are touched.
tried=$(sed -n 's/^	recipe \([a-z_.]*\) .*/\1/p' "${BASH_SOURCE[0]}" | sort)
check "each script there is was tried" [ "$tried" = "$(cd "$ROOT/probes/bpftrace" && printf '%s\n' *.bt | sort)" ]

if command -v perf >/dev/null; then
	rm "$SO"
	"$HAKSTAT" probes -p $pid >"$TMP/probes" 2>"$TMP/err"
	sed -n '/^With perf/,/^$/s/^  //p' "$TMP/probes" >"$TMP/perf.sh"
	check "hakstat probes prints recipes for perf" grep -q "^perf record -g -e hakmem_$pid:refill -p $pid" "$TMP/perf.sh"
	(cd "$TMP" && HOME=$TMP timeout 60 bash -e ./perf.sh) >"$TMP/perf.out" 2>&1
	check "perf: all of them work" [ $? -eq 0 ]
	check "perf stat counts refills" grep -Eq "^ +[1-9][0-9,]* +hakmem_$pid:refill" "$TMP/perf.out"
	perf script -i "$TMP/perf.data" >"$TMP/script" 2>/dev/null
	# names of a deleted library it does not know
	check "perf record has stacks" grep -Pzq ":refill: .*\n\s+[0-9a-f]+ .*\n\s+[0-9a-f]+ " "$TMP/script"
	check "perf leaves no probe behind" test -z "$(grep "hakmem_$pid/" /sys/kernel/tracing/uprobe_events)"
else
	skip perf "not installed"
fi
check "the watched program still runs" kill -0 $pid
finish
