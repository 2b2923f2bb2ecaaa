#!/usr/bin/env bash
# timeout: 400
# Lives of processes and threads, in every way a program can come to use the library: preloaded,
# linked, static, static-pie, each with HAKMEM_SECURE=1 once more. The cases are in
# tests/helpers/process.c, endings.c, beside.c and corners.c.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/helpers/modes.sh
. "$ROOT/tests/helpers/modes.sh"

need_lib
for program in process endings beside corners; do
	build_modes "$program"
	in_modes "$program"
done
HAKMEM_ABORT=0 in_modes endings misuse 2>/dev/null

# A program that is static-pie really is: loaded at a place of its own, with no interpreter.
check "static-pie: no interpreter" \
	[ "$(readelf -lW "$TMP/process.static-pie" | grep -c INTERP) $(readelf -hW "$TMP/process.static-pie" | grep -c 'DYN ')" = "0 1" ]
check "without the library the cases fail (the tests are right)" fails "$TMP/beside"
finish
