#!/usr/bin/env bash
# timeout: 240
# Programs on libhakmem under valgrind, and built with a sanitizer, the ways README tells: the
# tool must find the two faults of tests/helpers/two_faults.c and nothing in a program without.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need valgrind gcc clang
need_lib
SRC=$ROOT/tests/helpers/two_faults.c
ulimit -c 0

build() { # OUT COMPILER [ARGS...]
	local out=$TMP/$1 cc=$2

	shift 2
	"$cc" -std=gnu11 -D_GNU_SOURCE -O0 -g -w "$SRC" -o "$out" "$@" -pthread 2>"$TMP/cc.log" ||
		{ not_ok "$out compiles" "$(tail -n 3 "$TMP/cc.log")"; finish; }
}

# runs NAME COMMAND...: without faults it must end well and say nothing but "done"
runs() {
	local name=$1 status

	shift
	timeout 120 "$@" >"$TMP/out" 2>"$TMP/err"
	status=$?
	if [[ $status -eq 0 && $(cat "$TMP/out") == 'done' && ! -s $TMP/err ]]; then
		ok "$name: runs"
	else
		not_ok "$name: runs" "status $status: $(head -n 3 "$TMP/out" "$TMP/err")"
	fi
}

# finds NAME TEXT COMMAND...: with the faults (an argument more) it must be reported
finds() {
	local name=$1 text=$2 status

	shift 2
	timeout 120 "$@" x >"$TMP/out" 2>"$TMP/err"
	status=$?
	if [[ $status -ne 0 ]] && grep -q "$text" "$TMP/err"; then
		ok "$name: finds '$text'"
	else
		not_ok "$name: finds '$text'" "status $status: $(head -n 5 "$TMP/err")"
	fi
}

memcheck=(valgrind -q --leak-check=full --error-exitcode=9)
linked=(-L"$BUILD" -lhakmem -Wl,-rpath,"$BUILD")
build plain gcc
build linked gcc "${linked[@]}"
build whole gcc "$BUILD/libhakmem.a"
for option in '' --soname-synonyms=somalloc=libhakmem.so.0 --soname-synonyms=somalloc=NONE; do
	for how in preloaded linked whole; do
		# that option names one file whose malloc is replaced: the program itself is NONE
		case "$option $how" in
		*.so.0\ whole | *NONE\ preloaded | *NONE\ linked) continue ;;
		esac
		command=("${memcheck[@]}" ${option:+"$option"})
		if [[ $how == preloaded ]]; then
			command+=(--trace-children=yes env "LD_PRELOAD=$LIB" "$TMP/plain")
		else
			command+=("$TMP/$how")
		fi
		name="valgrind $option $how"
		runs "$name" "${command[@]}"
		finds "$name" 'Invalid read of size 1' "${command[@]}"
		finds "$name" '1,234 bytes in 1 blocks are definitely lost' "${command[@]}"
	done
done
build static gcc -static "$BUILD/libhakmem.a"
timeout 120 valgrind -q "$TMP/static" >"$TMP/out" 2>/dev/null
check "valgrind, static program: runs" [ "$? $(cat "$TMP/out")" = "0 done" ]

# sanitizer TAG FLAG RUNTIME TEXT
export ASAN_OPTIONS=detect_leaks=0
sanitizer() {
	local tag=$1 flag=-fsanitize=$2 runtime=$3 text=heap-use-after-free

	build "$tag.clang" clang "$flag"
	build "$tag.clang.linked" clang "$flag" "${linked[@]}"
	build "$tag.gcc" gcc "$flag"
	build "$tag.gcc.linked" gcc "$flag" "${linked[@]}"
	build "$tag.gcc.static" gcc "$flag" "-static-$runtime"
	for how in clang.linked gcc.linked; do
		runs "$tag $how" "$TMP/$tag.$how"
		finds "$tag $how" $text "$TMP/$tag.$how"
	done
	for how in clang gcc.static; do
		runs "$tag $how preloaded" env LD_PRELOAD="$LIB" "$TMP/$tag.$how"
		finds "$tag $how preloaded" $text env LD_PRELOAD="$LIB" "$TMP/$tag.$how"
	done
	set -- env LD_PRELOAD="$(gcc -print-file-name="$runtime.so") $LIB" "$TMP/$tag.gcc"
	runs "$tag gcc, runtime first" "$@"
	finds "$tag gcc, runtime first" $text "$@"
}
sanitizer asan address libasan
sanitizer tsan thread libtsan
finds "asan gcc preloaded alone" 'ASan runtime does not come first' \
	env LD_PRELOAD="$LIB" "$TMP/asan.gcc"
finish
