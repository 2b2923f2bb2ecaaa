#!/usr/bin/env bash
# gcc compiling this project under preload: driver, cc1 and assembler; objects equal, byte by byte.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
need gcc
need_lib

flags=(-std=gnu11 -D_GNU_SOURCE -O2 -g -fPIC -ftls-model=initial-exec -Ilib -Iprobes)
cd "$ROOT" || exit 1

# compile LIBRARY DIRECTORY; no -pipe, so that each of the programs reads a whole file
compile() {
	local f

	mkdir -p "$TMP/$2"
	for f in lib/*.c bench/*.c; do
		LD_PRELOAD=$1 gcc "${flags[@]}" -c "$f" -o "$TMP/$2/$(basename "$f" .c).o" || return 1
	done
}

compare() {
	local f equal=0 all=0

	for f in "$TMP"/plain/*.o; do
		all=$((all + 1))
		if cmp -s "$f" "$TMP/hakmem/${f##*/}"; then
			equal=$((equal + 1))
		else
			not_ok "${f##*/} equals that of a plain compile"
		fi
	done
	check "$equal of $all objects equal those of a plain compile" test "$equal" -eq "$all"
	check "the whole library was compiled" test "$all" -gt 15
}

uses_lib "the compiler proper takes its malloc from the library" \
	"$(gcc -print-prog-name=cc1)" -quiet "${flags[@]}" -imultiarch "$(gcc -print-multiarch)" \
	lib/page.c -o "$TMP/page.s"
check "the compiler proper succeeded" test -s "$TMP/page.s"
compile "" plain >"$TMP/plain.log" 2>&1
check "a plain compile succeeds" test $? -eq 0
compile "$LIB" hakmem >"$TMP/hakmem.log" 2>&1
check "a compile under preload succeeds" test $? -eq 0
same "the messages are equal" "$TMP/plain.log" "$TMP/hakmem.log"
compare
finish
