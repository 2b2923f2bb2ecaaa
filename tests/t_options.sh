#!/usr/bin/env bash
# timeout: 120
# Every HAKMEM_ option changes what it says, bad values are refused with a line, and a
# set-user-id program ignores them all.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CC=${CC:-gcc}
ulimit -c 0
"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -w -fno-builtin -I"$ROOT/lib" -I"$ROOT/probes" \
	"$ROOT/tests/helpers/options.c" "$BUILD/libhakmem.a" -o "$TMP/options" -pthread || { not_ok "helpers/options.c compiles"; finish; }

value() { # WHAT [NAME=VALUE...]
	local what=$1

	shift
	env "$@" timeout 20 "$TMP/options" "$what" 2>"$TMP/err"
}
# shellcheck disable=SC2317 # called by check
absent_in_err() { ! grep -q "$1" "$TMP/err"; }
less() { # NAME A B
	if [[ -n $2 && -n $3 && $2 -lt $3 ]]; then ok "$1 ($2 < $3)"; else not_ok "$1" "$2 is not less than $3"; fi
}

less "HAKMEM_CACHE_BYTES bounds the caches" "$(value cached HAKMEM_CACHE_BYTES=64K)" "$(value cached)"
less "HAKMEM_CACHE_BYTES is a bound in bytes" "$(value cached HAKMEM_CACHE_BYTES=1M)" 1100
less "HAKMEM_DECAY_MS: sooner or later" "$(value dirty HAKMEM_DECAY_MS=100)" \
	"$(value dirty HAKMEM_DECAY_MS=3600000)"
less "HAKMEM_KEEP_BYTES=0 keeps less" "$(value at-once HAKMEM_KEEP_BYTES=0 HAKMEM_DECAY_MS=3600000)" \
	"$(value at-once HAKMEM_KEEP_BYTES=1G HAKMEM_DECAY_MS=3600000)"
less "HAKMEM_GROW_MAX=4M bounds a chunk" "$(value chunk HAKMEM_GROW_MAX=4M)" "$(value chunk)"
less "HAKMEM_GROW_MAX=4M is 4 MiB" "$(value chunk HAKMEM_GROW_MAX=4M)" 6
less "HAKMEM_HUGE: memory by fewer calls" "$(value fills)" "$(value fills HAKMEM_HUGE=0)"
check "HAKMEM_ABORT=0 goes on" [ "$(value misuse HAKMEM_ABORT=0)" = 1 ]
check "and still says so" grep -q '^hakmem: free(0x.*): pointer was not allocated here$' "$TMP/err"
check "HAKMEM_ABORT=1 ends" [ -z "$(value misuse HAKMEM_ABORT=1 2>/dev/null)" ]

# Every option of the table is in the manual page, and at most 12 are there.
grep -o '"HAKMEM_[A-Z_]*"' "$ROOT/lib/options.def" | tr -d '"' >"$TMP/names"
check "at most 12 options" test "$(wc -l <"$TMP/names")" -le 12
while read -r name; do
	check "$name is in hakmem.7" grep -q "$name" "$ROOT/docs/man/hakmem.7"
	for bad in '' x -1 1X 99999999999999999999 '1 2' 0x10; do
		value cached "$name=$bad" >/dev/null
		check "$name='$bad' is refused with a line" \
			test "$(grep -c "^hakmem: .*$name" "$TMP/err") $(wc -l <"$TMP/err")" = "1 1"
	done
done <"$TMP/names"
value cached HAKMEM_CACHE_BYTES=64K >/dev/null
check "a good value says nothing" test ! -s "$TMP/err"

# AT_SECURE: a set-user-id copy run by somebody else.
if [[ $(id -u) -ne 0 ]] || ! command -v setpriv >/dev/null; then
	skip "set-user-id programs ignore the options" "needs root and setpriv"
	finish
fi
as_nobody() { # the program must be where nobody may reach it
	setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}
chmod 755 "$TMP"
cp "$TMP/options" "$TMP/secure"
chmod 4755 "$TMP/secure"
if [[ $(findmnt -no OPTIONS -T "$TMP") == *nosuid* ]]; then
	skip "set-user-id programs ignore the options" "$TMP is mounted nosuid"
	finish
fi
as_nobody env HAKMEM_CACHE_BYTES=64K "$TMP/options" cached >"$TMP/plain"
as_nobody env HAKMEM_CACHE_BYTES=64K "$TMP/secure" cached >"$TMP/ignored"
value cached >"$TMP/default"
same "a set-user-id program ignores HAKMEM_CACHE_BYTES" "$TMP/default" "$TMP/ignored"
less "the same program without the bit does not" "$(cat "$TMP/plain")" "$(cat "$TMP/default")"
# shellcheck disable=SC2016 # the inner shell's words
as_nobody env HAKMEM_ABORT=0 HAKMEM_DECAY_MS=x bash -c '"$0" misuse; exit $?' "$TMP/secure" >"$TMP/out" 2>"$TMP/err"
check "a set-user-id program still aborts with HAKMEM_ABORT=0" [ "$? $(cat "$TMP/out")" = "134 " ]
check "and does not even look at bad values" absent_in_err HAKMEM_
finish
