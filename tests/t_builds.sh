#!/usr/bin/env bash
# timeout: 400
# Kinds of build: compilers, optimisation, C libraries, processors, sizes of OS pages. Each is built
# and looked at by programs linked with it, preloaded with it and breaking rules, and its probes
# and symbols are compared with the contract. By default a few rows, each unlike the others in as
# much as possible; MATRIX=wide all, MATRIX=full (make matrix) with more tests each; ONLY="names".
# Builds stay in $BUILD/matrix.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

MATRIX=${MATRIX:-quick}
NEWEST_GLIBC=2.34 # symbol versions needed at most: pthread_key_create and dlsym moved then
need readelf objdump nm

# NAME | when | arguments of make | compiler of the tests | how to run them
rows() {
	sed 's/[[:space:]]*#.*//; /^$/d' <<-'END'
	aarch64        | quick | CC=aarch64-linux-gnu-gcc                | aarch64-linux-gnu-gcc | qemu-aarch64 -L /usr/aarch64-linux-gnu
	musl           | quick | CC=musl-gcc                             | musl-gcc |
	gcc-O0-64k     | quick | CC=gcc OPT=-O0 OS_PAGE=65536            | gcc      |
	clang-O3-lto   | quick | CC=clang OPT=-O3 LTO=1                  | clang    |
	gcc-O1         | full  | CC=gcc OPT=-O1                          | gcc      |
	gcc-O2         | full  | CC=gcc                                  | gcc      |
	gcc-O3         | full  | CC=gcc OPT=-O3                          | gcc      |
	gcc-Os         | full  | CC=gcc OPT=-Os                          | gcc      |
	gcc-O2-lto     | full  | CC=gcc LTO=1                            | gcc      |
	gcc-O3-lto     | full  | CC=gcc OPT=-O3 LTO=1                    | gcc      |
	gcc-O2-16k     | full  | CC=gcc OS_PAGE=16384                    | gcc      |
	gcc-O2-64k     | full  | CC=gcc OS_PAGE=65536                    | gcc      |
	gcc-debug      | full  | CC=gcc DEBUG=1                          | gcc      |
	gcc-noprobes   | full  | CC=gcc PROBES=0                         | gcc      |
	clang-O0       | full  | CC=clang OPT=-O0                        | clang    |
	clang-O1       | full  | CC=clang OPT=-O1                        | clang    |
	clang-O2       | full  | CC=clang                                | clang    |
	clang-O3       | full  | CC=clang OPT=-O3                        | clang    |
	clang-O2-64k   | full  | CC=clang OS_PAGE=65536                  | clang    |
	musl-O3-lto    | full  | CC=musl-gcc OPT=-O3 LTO=1               | musl-gcc |
	musl-O0-64k    | full  | CC=musl-gcc OPT=-O0 OS_PAGE=65536       | musl-gcc |
	aarch64-O0-4k  | full  | CC=aarch64-linux-gnu-gcc OPT=-O0 OS_PAGE=4096 | aarch64-linux-gnu-gcc | qemu-aarch64 -L /usr/aarch64-linux-gnu
	aarch64-O3-16k | full  | CC=aarch64-linux-gnu-gcc OPT=-O3 OS_PAGE=16384 | aarch64-linux-gnu-gcc | qemu-aarch64 -L /usr/aarch64-linux-gnu
	aarch64-lto    | full  | CC=aarch64-linux-gnu-gcc LTO=1          | aarch64-linux-gnu-gcc | qemu-aarch64 -L /usr/aarch64-linux-gnu
	END
}

# The tool of a compiler: objdump of another processor's binutils
tool() { command -v "${cc%gcc}$1" || command -v "$1"; }

build() { # NAME MAKE-ARGUMENTS...
	local name=$1

	shift
	env -u MAKEFLAGS -u MFLAGS make -s -j2 --no-print-directory -C "$ROOT" lib B="$D" "$@" >"$TMP/make.log" 2>&1 && return
	not_ok "$name builds" "$(tail -n 5 "$TMP/make.log")"
	return 1
}

# Compiles a test with the row's compiler: OUT SOURCE ARGUMENTS...
compile() {
	local out=$1

	shift
	"$cc" -std=gnu11 -D_GNU_SOURCE -O1 -w -fno-builtin -I"$ROOT/lib" -I"$ROOT/probes" -I"$ROOT/tests" \
		-include "$ROOT/lib/family.h" "$@" -o "$TMP/$out" -pthread 2>"$TMP/cc.log" ||
		{ not_ok "$name: $out compiles" "$(tail -n 3 "$TMP/cc.log")"; return 1; }
}

# Runs a program as the row does, with libraries preloaded or "" for none: PRELOAD PROGRAM ARGS...
run() {
	local preload=$1

	shift
	if [[ -n $runner ]]; then
		# shellcheck disable=SC2086 # words are meant
		timeout 120 $runner ${preload:+-E LD_PRELOAD="$preload"} "$@"
	else
		timeout 120 env ${preload:+LD_PRELOAD="$preload"} "$@"
	fi
}

passes() { # WHAT PRELOAD PROGRAM ARGS...
	local what=$1

	shift
	if run "$@" >"$TMP/out" 2>&1 && grep -q '^ok - ' "$TMP/out" && ! grep -q '^not ok' "$TMP/out"; then
		ok "$name: $what"
	else
		not_ok "$name: $what" "$(grep -v '^ok' "$TMP/out" | tail -n 5)"
	fi
}

misuses() {
	local program reason preload=$D/libhakmem.so linked=()

	for program in double_free_small misaligned_small foreign_stack; do
		compile m "$ROOT/tests/misuse/$program.c" "${linked[@]}" || continue
		reason=$(sed -n '1s|^/\* \(.*\) \*/$|\1|p' "$ROOT/tests/misuse/$program.c")
		run "$preload" "$TMP/m" >"$TMP/out" 2>"$TMP/err"
		check "$name: $program is told" \
			grep -Eqx "hakmem: free\($(head -n 1 "$TMP/out")\): $reason" "$TMP/err"
		# the first is preloaded; others may call what only glibc has
		preload='' linked=("$D/libhakmem.a")
	done
}

programs() {
	local alone=()

	compile quick.o -c "$ROOT/tests/helpers/quick.c" || return
	compile quick.a "$TMP/quick.o" "$D/libhakmem.a" && passes "linked" "" "$TMP/quick.a"
	compile quick.s "$TMP/quick.o" -static "$D/libhakmem.a" && passes "static" "" "$TMP/quick.s"
	compile quick "$TMP/quick.o" -L"$D" -lhakmem -Wl,-rpath,"$D" &&
		HAKMEM_SECURE=1 passes "shared, HAKMEM_SECURE=1" "" "$TMP/quick"
	[[ $MATRIX == full ]] || return # the rest takes long
	# qemu cannot fork a program with threads: its own assertions fail in the child
	[[ -n $runner ]] && alone=(-DTEST_SANITIZED=1)
	compile api "$ROOT/tests/t_api.c" "$D/libhakmem.a" && passes "the family" "" "$TMP/api"
	compile stress "${alone[@]}" "$ROOT/tests/t_stress.c" "$D/libhakmem.a" &&
		passes "stress" "" "$TMP/stress" 1
}

# Sampling and the table of HAKMEM_PROFILE on another processor: registers, and stacks to copy.
samples() {
	compile sample -DTEST_SANITIZED=1 "$ROOT/tests/t_sample.c" "$D"/obj/lib/*.o -lm \
		-Wl,--wrap=hak_probe_otel_memory_alloc,--wrap=hak_probe_otel_memory_free || return
	passes "samples" "" "$TMP/sample" only
	HAKMEM_PROFILE=1 passes "samples from the start" "" "$TMP/sample" HAKMEM_PROFILE
}

notes() {
	"$(tool readelf)" -n "$1" 2>/dev/null | awk '
		$1 == "Provider:" { p = $2 }
		$1 == "Name:" { n = $2 }
		$1 == "Location:" { if ($NF != "0x0000000000000000") n = n " SEMAPHORE" }
		$1 == "Arguments:" { sub(/^ *Arguments: */, ""); sub(/ *$/, ""); print p, n, $0 }'
}

# One plain nop a probe, of the processor's only length.
nops() {
	local at length=1

	[[ $cc == aarch64* ]] && length=4
	"$(tool readelf)" -n "$D/libhakmem.so" | sed -n 's/.*Location: 0x0*\([0-9a-f]*\),.*/\1/p' |
		while read -r at; do
			"$(tool objdump)" -d "$D/libhakmem.so" --start-address="0x$at" \
				--stop-address="$((0x$at + length))" | sed -n 's/^ *[0-9a-f]*:\t\([0-9a-f]*\) *\t\(.*\)/\2/p'
		done | tr -s ' \t' ' ' | sed 's/ $//' | sort | uniq -c | tr -s ' '
}

contract() {
	local arch=()

	[[ $cc == aarch64* ]] && arch=(aarch64)
	"$BUILD/gen" notes "${arch[@]}" | sort >"$TMP/expected"
	notes "$D/libhakmem.so" | sort >"$TMP/found"
	[[ $name == *noprobes* ]] && : >"$TMP/expected"
	same "$name: probes are those of the contract" "$TMP/expected" "$TMP/found"
	[[ $name == *noprobes* ]] || check "$name: every site is one nop" [ "$(nops)" = " $(wc -l <"$TMP/found") nop" ]
	"$(tool nm)" -D --defined-only --without-symbol-versions "$D/libhakmem.so" |
		awk '$2 != "A" { print $3 }' | sort >"$TMP/exports"
	sed -n '/global:/,/local:/s/^[[:space:]]*\([A-Za-z_0-9]*\);.*/\1/p' "$ROOT/lib/libhakmem.map" | sort >"$TMP/map"
	same "$name: exports what libhakmem.map lists" "$TMP/map" "$TMP/exports"
}

# The newest version of a glibc symbol the library asks for; nothing on musl.
newest_glibc() { "$(tool objdump)" -T "$D/libhakmem.so" | grep -o 'GLIBC_[0-9.]*' | cut -d _ -f 2 | sort -V | tail -n 1; }

versions() {
	local newest

	newest=$(newest_glibc)
	if [[ $cc == musl* ]]; then
		check "$name: needs nothing of glibc" [ -z "$newest" ]
	else
		check "$name: no glibc newer than $NEWEST_GLIBC is needed (found $newest)" \
			[ "$(printf '%s\n' "$newest" $NEWEST_GLIBC | sort -V | tail -n 1)" = $NEWEST_GLIBC ]
	fi
}

# What a system with such pages would refuse is refused, and everything works all the same.
large_pages() { # BYTES
	compile big_pages.so "$ROOT/tests/helpers/big_pages.c" -shared -fPIC || return
	export OS_PAGE=$1
	passes "on OS pages of $1 bytes" "$TMP/big_pages.so" "$TMP/quick"
	HAKMEM_SECURE=1 passes "on OS pages of $1 bytes, HAKMEM_SECURE=1" "$TMP/big_pages.so" "$TMP/quick"
	export OS_PAGE=$((2 * $1))
	run "$TMP/big_pages.so" "$TMP/quick" >"$TMP/out" 2>&1
	check "$name: on larger ones than it was built for it says so" \
		grep -qx "hakmem: cannot run here, built for smaller OS pages (make OS_PAGE=$OS_PAGE)" "$TMP/out"
	unset OS_PAGE
}

row() { # NAME MAKE-ARGUMENTS
	name=$1
	D=$BUILD/matrix/$name
	local start=${EPOCHREALTIME/./} args

	read -ra args <<<"$2"
	build "$name" "${args[@]}" || return
	programs
	[[ -z $runner || $2 == *LTO=1* ]] || samples # elsewhere tests/t_sample.c is run as it is
	misuses
	contract
	versions
	[[ $2 == *OS_PAGE=* && -z $runner ]] && large_pages "$(sed 's/.*OS_PAGE=\([0-9]*\).*/\1/' <<<"$2")"
	printf '# %s: %d ms\n' "$name" $(((${EPOCHREALTIME/./} - start) / 1000))
}

[[ -x $BUILD/gen ]] || make -s --no-print-directory -C "$ROOT" "$BUILD/gen"
while IFS='|' read -r name when args cc runner <&3; do
	read -r name <<<"$name" && read -r when <<<"$when" && read -r cc <<<"$cc" && read -r runner <<<"$runner"
	[[ $when == quick || $MATRIX != quick ]] || continue
	if [[ -n ${ONLY:-} && " $ONLY " != *" $name "* ]]; then continue; fi
	command -v "$cc" >/dev/null || { not_ok "$name" "there is no $cc"; continue; }
	row "$name" "$args"
done 3< <(rows)
finish
