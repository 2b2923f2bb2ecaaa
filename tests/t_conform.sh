#!/usr/bin/env bash
# timeout: 240
# What C, POSIX, C++ and glibc's manual promise of the malloc family, by preload, shared link, static
# and static-pie, of the library as gcc and as clang builds it; gcc's with HAKMEM_SECURE=1, too. The
# cases are in tests/helpers/conform.c, conform_libc.c and conform_new.cc.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/helpers/modes.sh
. "$ROOT/tests/helpers/modes.sh"

need_lib
PROGRAMS="conform conform_libc conform_new"

all_programs() {
	local program

	for program in $PROGRAMS; do
		build_modes "$program"
		in_modes "$program"
	done
}

all_programs
for program in $PROGRAMS; do
	check "$program: without the library it fails (the tests are right)" fails bash -c "$TMP/$program; exit \$?"
done

# By the other compiler, library and programs.
if [[ $CC == clang* ]]; then
	other=gcc CXX=g++
else
	other=clang CXX=clang++
fi
need "$other"
VARIANT=$other SECURE=0
BUILD=$ROOT/build/$other
LIB=$BUILD/libhakmem.so
check "make CC=$other" \
	make -s --no-print-directory -C "$ROOT" "CC=$other" "B=build/$other" PROBES=1 DEBUG=0 SANITIZE= lib
CC=$other
all_programs
finish
