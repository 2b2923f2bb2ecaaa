# shellcheck shell=bash
# One program, every way to use the library. Source it after tests/lib.sh.

CC=${CC:-gcc}
CXX=${CXX:-g++}
MODES="preload shared static static-pie"
VARIANT= # of the library, for the names of results
SECURE="0 1" # what HAKMEM_SECURE is in turn

# build_modes PROGRAM: of tests/helpers/PROGRAM.c or .cc
build_modes() {
	local source=$ROOT/tests/helpers/$1.c out=$TMP/$1 compiler=("$CC" -std=gnu11)

	[[ -r $source ]] || { source+=c; compiler=("$CXX" -std=c++17 -fsized-deallocation); }
	rm -f "$out" "$out".*
	# frame pointers: endings.c unwinds from the middle of its assembly
	"${compiler[@]}" -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror -fno-builtin -fno-omit-frame-pointer \
		"-I$ROOT/tests" -fPIE -c "$source" -o "$out.o" &&
		"${compiler[0]}" -pie "$out.o" -o "$out" -pthread &&
		"${compiler[0]}" -pie "$out.o" "$LIB" "-Wl,-rpath,$(dirname "$LIB")" -o "$out.shared" -pthread &&
		"${compiler[0]}" -static "$out.o" "$BUILD/libhakmem.a" -o "$out.static" -pthread &&
		"${compiler[0]}" -static-pie "$out.o" "$BUILD/libhakmem.a" -o "$out.static-pie" -pthread
	check "${VARIANT:+$VARIANT/}$1 compiles in every mode" test -x "$out.static-pie"
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
		for secure in $SECURE; do
			command_of "$mode" "$program"
			name=${VARIANT:+$VARIANT/}$program/$mode$( ((secure)) && echo /secure)
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
