# shellcheck shell=bash
# One program, every way to use the library. Source it after tests/lib.sh.

CC=${CC:-gcc}
MODES="preload shared static static-pie"

# build_modes PROGRAM: of tests/helpers/PROGRAM.c
build_modes() {
	local source=$ROOT/tests/helpers/$1.c out=$TMP/$1
	# frame pointers: endings.c unwinds from the middle of its assembly
	local compile=("$CC" -std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror -fno-builtin
		-fno-omit-frame-pointer "-I$ROOT/tests")

	"${compile[@]}" -fPIE -c "$source" -o "$out.o" &&
		"$CC" -pie "$out.o" -o "$out" -pthread &&
		"$CC" -pie "$out.o" "$LIB" "-Wl,-rpath,$(dirname "$LIB")" -o "$out.shared" -pthread &&
		"$CC" -static -no-pie "$out.o" "$BUILD/libhakmem.a" -o "$out.static" -pthread &&
		"$CC" -static-pie "$out.o" "$BUILD/libhakmem.a" -o "$out.static-pie" -pthread
	check "$1 compiles in every mode" test -x "$out.static-pie"
}

# command_of MODE PROGRAM: sets `command`
command_of() {
	case $1 in
	preload) command=(env "LD_PRELOAD=$LIB" "$TMP/$2") ;;
	*) command=("$TMP/$2.$1") ;;
	esac
}

# in_modes PROGRAM [ARGS...]: its own lines, with the mode; a crash or no line at all fails
in_modes() {
	local program=$1 mode secure name status command

	shift
	for mode in $MODES; do
		for secure in 0 1; do
			command_of "$mode" "$program"
			name=$program/$mode$( ((secure)) && echo /secure)
			HAKMEM_SECURE=$secure timeout 60 "${command[@]}" "$@" >"$TMP/lines"
			status=$?
			sed -E "s|^((not )?ok) - |&$name: |" "$TMP/lines"
			failures=$((failures + $(grep -c '^not ok - ' "$TMP/lines")))
			check "$name: ends well" [ "$status $(grep -c '^ok - ' "$TMP/lines" | sed 's/^[1-9].*/some/')" = "0 some" ]
		done
	done
}

# shellcheck disable=SC2317 # called by check
fails() { ! "$@" >/dev/null 2>&1; }
