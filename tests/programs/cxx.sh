#!/usr/bin/env bash
# A C++ program: threads, exceptions, containers, every form of new and delete, bad_alloc.
# shellcheck source=tests/lib.sh disable=SC2317  # functions are called through check and wait_for
. "$(dirname "$0")/../lib.sh"
need g++
need_lib

build() {
	g++ -std=c++17 -O1 -g -Wall -Wextra -pthread -o "$TMP/cxx" "$ROOT/tests/programs/cxx.cpp" -ldl
}

run() { # run LIBRARY NAME [ARGUMENT...]
	local preload=$1 name=$2

	shift 2
	LD_PRELOAD=$preload "$TMP/cxx" "$@" >"$TMP/$name.out" 2>"$TMP/$name.err"
}

# limited LIBRARY NAME: operator new failing because the address space is at its limit
limited() { (ulimit -v 800000 && run "$1" "$2" exhaust); }

check "the program compiles" build
uses_lib "the program takes its malloc from the library" "$TMP/cxx"
check "a plain run succeeds" run "" plain
check "a run under preload succeeds" run "$LIB" hakmem
same "the output equals a plain run's" "$TMP/plain.out" "$TMP/hakmem.out"
check "operator new of every form is the library's" run "$LIB" owner owner "$LIB"
run "" owner owner "$LIB" && not_ok "a plain run must not find the library's operators"
check "plain: bad_alloc, new_handler and nothrow NULL at the limit" limited "" plain_limit
check "operator new throws bad_alloc at the limit, calls the new_handler; nothrow gives NULL" \
	limited "$LIB" limit
same "the output at the limit equals a plain run's" "$TMP/plain_limit.out" "$TMP/limit.out"
finish
