#!/usr/bin/env bash
# What `make demo` shows: redis-server on libhakmem under a mixed load, seen live by hakstat top.
# On a terminal until q; otherwise five frames of one second each. Everything it starts it also
# ends, and its folder is removed.
#
# Environment: HAK_DEMO_FRAMES=5, HAK_DEMO_SECONDS=1 (number and length of the frames; with
# HAK_DEMO_FRAMES set it never waits for a key), HAK_DEMO_LOAD=workload (even where redis is there).
set -u

cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
hakstat=$BUILD/hakstat
lib=$(readlink -f "$BUILD/libhakmem.so")
dir=$(mktemp -d "${TMPDIR:-/tmp}/hakmem-demo.XXXXXX") || exit 1
sock=$dir/redis.sock
target=0
children=()

say() { printf 'demo: %s\n' "$*"; }

die() {
	say "$*" >&2
	exit 1
}

alive() { kill -0 "$1" 2>/dev/null; }

# The clients first: they would report the server's end as an error of its own.
leave() {
	local i pid

	trap '' INT TERM HUP
	for ((i = ${#children[@]} - 1; i >= 0; i--)); do
		pid=${children[i]}
		kill -TERM "$pid" 2>/dev/null
	done
	for pid in "${children[@]}"; do
		for ((i = 0; i < 100; i++)); do
			alive "$pid" || break
			sleep 0.05
		done
		alive "$pid" && kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	rm -rf "$dir"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# start COMMAND...: in a session of its own, so that Ctrl-C on hakstat does not reach it before we
# end it, and ended by the kernel should this script be killed.
start() {
	setsid setpriv --pdeathsig TERM "$@" </dev/null &
	children+=($!)
}

# wait_until SECONDS COMMAND...: until the command succeeds; false if the target ends before
wait_until() {
	local end=$((SECONDS + $1))

	shift
	until "$@"; do
		alive "$target" && ((SECONDS < end)) || return 1
		sleep 0.1
	done
}

cli() { timeout 5 redis-cli -s "$sock" "$@" 2>/dev/null; }
answers() { [[ $(cli ping) == PONG ]]; }
has_keys() { [[ $(cli dbsize) -ge 1000 ]]; }
maps_lib() { grep -qF " $lib" "/proc/$target/maps" 2>/dev/null; }

# maxmemory is a guard only. Hashes deleted lazily are freed by another thread than the one that
# filled them, once they are tables of more than 64 entries.
start_redis() {
	LD_PRELOAD=$lib start redis-server --port 0 --unixsocket "$sock" --save '' --appendonly no \
		--dir "$dir" --maxmemory 400mb --maxmemory-policy allkeys-random \
		--hash-max-listpack-entries 32 --daemonize no >"$dir/server.log" 2>&1
	target=${children[-1]}
	wait_until 15 answers || die "redis-server does not answer: $(tail -n 3 "$dir/server.log")"
}

# Every client writes the same keys, so that a value is often replaced by one of another size.
start_load() {
	local bytes

	for bytes in 16 200 1500 10000 65536; do
		start nice redis-benchmark -s "$sock" -q -l -c 4 -P 4 -n 20000 -r 4000 -d "$bytes" \
			-t set,get >/dev/null 2>&1
	done
	start nice redis-benchmark -s "$sock" -q -l -c 2 -P 4 -n 20000 -r 400 \
		hset h:__rand_int__ a:__rand_int__ 0123456789abcdef b:__rand_int__ 0123456789abcdef \
		c:__rand_int__ 0123456789abcdef d:__rand_int__ 0123456789abcdef >/dev/null 2>&1
	start redis-cli -s "$sock" -r -1 -i 0.02 eval \
		"local t = redis.call('time') return redis.call('unlink', string.format('h:%012d', t[2] % 400))" \
		0 >/dev/null 2>&1
	wait_until 20 has_keys || die "the load does not arrive: $(tail -n 3 "$dir/server.log")"
}

start_workload() {
	[[ -x $BUILD/bench/workload ]] || die "neither redis nor $BUILD/bench/workload is here; run make"
	say "$1: the bundled workload takes its place"
	LD_PRELOAD=$lib start "$BUILD/bench/workload" 4 0 20000 20000 >"$dir/server.log" 2>&1
	target=${children[-1]}
	wait_until 15 maps_lib || die "the workload does not start: $(tail -n 3 "$dir/server.log")"
	sleep 0.5
}

start_target() {
	local tool

	for tool in redis-server redis-cli redis-benchmark; do
		command -v $tool >/dev/null && continue
		start_workload "$tool is not installed"
		return
	done
	if [[ ${HAK_DEMO_LOAD:-redis} == workload ]]; then
		start_workload "HAK_DEMO_LOAD=workload"
		return
	fi
	start_redis
	maps_lib || die "redis-server runs without $lib: $(tail -n 3 "$dir/server.log")"
	start_load
	say "redis-server (pid $target) on libhakmem, values of 16 B to 64 KiB from 22 clients"
}

# On a terminal in a process group of its own: Ctrl-C ends hakstat as q does, and make hears nothing.
watch() {
	local status

	if [[ -t 0 && -t 1 && -z ${HAK_DEMO_FRAMES:-} ]]; then
		set -m
		"$hakstat" top -p "$target" -d "${HAK_DEMO_SECONDS:-1}"
		status=$?
		set +m
		return $status
	else
		"$hakstat" top -p "$target" -b -d "${HAK_DEMO_SECONDS:-1}" -n "${HAK_DEMO_FRAMES:-5}"
	fi
}

[[ -r $lib ]] || die "there is no $BUILD/libhakmem.so; run make"
[[ -x $hakstat ]] || die "there is no $hakstat; run make"
start_target
trap ':' INT # Ctrl-C is hakstat's now
watch
status=$?
[[ $status -eq 0 ]] || die "hakstat ended with status $status"
alive "$target" || die "the server ended before hakstat: $(tail -n 3 "$dir/server.log")"
say "ended; the server and its clients are stopped"
