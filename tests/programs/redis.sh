#!/usr/bin/env bash
# redis-server with a fixed data set and its benchmark; DEBUG DIGEST must equal that of glibc.
# shellcheck source=tests/lib.sh disable=SC2317  # functions are called through check and wait_for
. "$(dirname "$0")/../lib.sh"
need redis-server redis-cli redis-benchmark
need_lib

# A fixed set of every type, 16 B to 64 KiB, with overwrites, growth, deletes and expiry.
make_data() {
	awk 'BEGIN {
		srand(7)
		for (big = ""; length(big) < 65536;) big = big "abcdefghijklmnopqrstuvwxyz012345"
		for (i = 0; i < 30000; i++) {
			n = 16 * 2 ^ int(rand() * 12)
			n = int(n + rand() * n)
			printf "SET s:%d %s\r\n", i % 12000, substr(big, 1 + i % 32, n > 65000 ? 65000 : n)
			printf "HSET h:%d f%d %s\r\n", i % 200, i % 700, substr(big, 1, 1 + i % 300)
			printf "RPUSH l:%d %s\r\n", i % 100, substr(big, 1, 1 + i % 900)
			printf "ZADD z:%d %d m%d\r\n", i % 50, i * 7 % 1000, i
			printf "SADD u:%d %d\r\n", i % 60, i * 13
			if (i % 3 == 0) printf "APPEND a:%d %s\r\n", i % 500, substr(big, 1, 1 + i % 400)
			if (i % 5 == 0) printf "DEL s:%d\r\n", (i * 31) % 12000
			if (i % 7 == 0) printf "LPOP l:%d\r\n", i % 100
			if (i % 11 == 0) printf "SETRANGE s:%d %d xyz\r\n", i % 12000, i % 5000
		}
	}'
}

cli() { redis-cli -s "$TMP/$run.sock" "$@"; }

answers() { [[ $(cli ping) == PONG ]]; }

start_server() {
	LD_PRELOAD=$preload redis-server --port 0 --unixsocket "$TMP/$run.sock" --save '' \
		--appendonly no --dir "$TMP" --enable-debug-command yes --daemonize no \
		--lazyfree-lazy-user-del yes --activedefrag no >"$TMP/$run.log" 2>&1 &
	server=$!
	end_at_exit "$server"
	wait_for 10 answers || { not_ok "redis answers ($run)" "$(tail -n 5 "$TMP/$run.log")"; finish; }
}

# The benchmark's own keys are random, so they go to another data base.
load_server() {
	cli --pipe <"$TMP/data" >"$TMP/$run.pipe" 2>&1 || not_ok "data set loaded ($run)" "$(tail -n 3 "$TMP/$run.pipe")"
	cli debug populate 50000 p 100 >/dev/null
	cli eval 'for i = 1, 5000 do redis.call("SET", "lua:" .. i, string.rep("v", i)) end' 0 >/dev/null
	redis-benchmark -s "$TMP/$run.sock" --dbnum 1 -q -n 40000 -c 20 -P 8 -d 3000 -r 5000 \
		-t set,get,lpush,lpop,hset,zadd,spop >"$TMP/$run.bench" 2>&1 ||
		not_ok "redis-benchmark ($run)" "$(tail -n 3 "$TMP/$run.bench")"
	cli -n 1 flushdb async >/dev/null
}

run_redis() {
	run=$1 preload=$2
	start_server
	[[ $run == plain ]] || check "the server maps the library" maps_lib "$server"
	load_server
	cli debug digest >"$TMP/$run.digest"
	cli dbsize >>"$TMP/$run.digest"
	cli memory doctor >/dev/null
	cli shutdown nosave
	wait "$server"
	check "the server ends with status 0 ($run)" test $? -eq 0
}

make_data >"$TMP/data"
uses_lib "redis-server takes its malloc from the library" redis-server --version
# Debian's redis is linked with jemalloc; libc first in the search order makes it a glibc run
run_redis plain libc.so.6
run_redis hakmem "$LIB"
check "the digest is one" grep -qE '^[0-9a-f]{40}$' "$TMP/plain.digest"
check "there are data" test "$(tail -n 1 "$TMP/plain.digest")" -gt 60000
same "DEBUG DIGEST and DBSIZE equal those of glibc" "$TMP/plain.digest" "$TMP/hakmem.digest"
finish
