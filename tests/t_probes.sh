#!/usr/bin/env bash
# timeout: 120
# The probes in the built files are those of the contract, and cost the hit paths nothing.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CC=${CC:-gcc}
NOPROBES=${NOPROBES:-$BUILD/noprobes}
need readelf objdump nm python3
need_lib

# "provider name operands", one line per note, in the order of the file.
notes() {
	readelf -n "$1" 2>/dev/null | awk '
		$1 == "Provider:" { p = $2 }
		$1 == "Name:" { n = $2 }
		$1 == "Location:" { if ($NF != "0x0000000000000000") n = n " SEMAPHORE" }
		$1 == "Arguments:" { sub(/^ *Arguments: */, ""); sub(/ *$/, ""); print p, n, $0 }'
}

"$BUILD/gen" notes >"$TMP/contract" || { not_ok "the contract can be printed"; finish; }
sort "$TMP/contract" >"$TMP/expected"

notes_match() { # NAME FILE
	notes "$2" | sort >"$TMP/found"
	same "$1: names, operands, one site each" "$TMP/expected" "$TMP/found"
	check "$1: every operand is a register" \
		test -z "$(cut -d ' ' -f 3- "$TMP/found" | sed 's/^SEMAPHORE //' | tr ' ' '\n' | grep -Evx '[48]@%[a-z0-9]+')"
}

cat >"$TMP/main.c" <<'END'
#include <stdlib.h>
int main(void)
{
	free(malloc(100));
	return 0;
}
END
"$CC" "$TMP/main.c" "$BUILD/libhakmem.a" -o "$TMP/linked" -pthread
"$CC" "$TMP/main.c" "$BUILD/libhakmem.a" -static -o "$TMP/static" -pthread
cp "$LIB" "$TMP/stripped.so" && strip --strip-all "$TMP/stripped.so"
notes_match "libhakmem.so" "$LIB"
notes_match "libhakmem.so, stripped" "$TMP/stripped.so"
notes_match "an executable with libhakmem.a" "$TMP/linked"
# a static executable also has the probes of libc itself
notes "$TMP/static" | grep -E '^(hakmem|otel_memory) ' | sort >"$TMP/found"
same "a static executable: names, operands, one site each" "$TMP/expected" "$TMP/found"

# The site is one single-byte nop (a longer one may be rewritten by the kernel).
site_bytes() {
	local at

	readelf -n "$LIB" | sed -n 's/.*Location: 0x0*\([0-9a-f]*\),.*/\1/p' | while read -r at; do
		objdump -d "$LIB" --start-address="0x$at" --stop-address="$((0x$at + 1))" |
			sed -n 's/^ *[0-9a-f]*:\t\([0-9a-f ]*\).*/\1/p' | tr -d ' '
	done | sort | uniq -c | tr -s ' '
}
check "every site is a single-byte nop" [ "$(site_bytes)" = " $(wc -l <"$TMP/contract") 90" ]

check "PROBES=0 leaves no note" [ -z "$(notes "$NOPROBES/libhakmem.so")" ]
check "PROBES=0 is a build of its own" [ -s "$NOPROBES/libhakmem.so" ]
"$BUILD/gen" markdown >"$TMP/PROBES.md"
same "docs/PROBES.md is up to date" "$TMP/PROBES.md" "$ROOT/docs/PROBES.md"

# A function's instructions, one a line after its offset, without what the linker decides.
listing() { python3 "$ROOT/tests/helpers/listing.py" "$@"; }
# shellcheck disable=SC2317 # called by check
absent() { ! grep -qE "$1" "$2"; } # PATTERN FILE

for fn in malloc free; do
	listing "$LIB" $fn >"$TMP/$fn.with"
	listing "$NOPROBES/libhakmem.so" $fn >"$TMP/$fn.without"
	check "$fn: listed" [ "$(wc -l <"$TMP/$fn.with")" -gt 10 ]
	same "$fn: the same instructions with and without probes" "$TMP/$fn.without" "$TMP/$fn.with"
done

# What a hit really executes, step by step.
"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -I"$ROOT/probes" "$ROOT/tests/helpers/hit.c" -o "$TMP/hit" -ldl ||
	{ not_ok "helpers/hit.c compiles"; finish; }
executed() { # LIBRARY LISTINGS-SUFFIX
	local fn size at

	LD_PRELOAD=$1 timeout 30 "$TMP/hit" >"$TMP/steps" || { echo "cannot step"; return; }
	while read -r fn size at; do
		echo "$fn $size $(sed -n "s/^$at /$at /p" "$TMP/$fn.$2")"
	done <"$TMP/steps"
}
executed "$LIB" with >"$TMP/hits.with"
executed "$NOPROBES/libhakmem.so" without >"$TMP/hits.without"
same "a hit executes the same with and without probes" "$TMP/hits.without" "$TMP/hits.with"
check "no nop on a hit path" absent ' (cs |data16 )*nop' "$TMP/hits.with"
check "no call on a hit path" absent ' call' "$TMP/hits.with"
check "no locked instruction on a hit path" absent ' (lock|xchg)' "$TMP/hits.with"
check "a hit never leaves its function" absent '^[a-z]+ [0-9]+ *$' "$TMP/hits.with"
for fn in malloc free; do
	for size in 100 5000 65536; do
		grep "^$fn $size " "$TMP/hits.with" >"$TMP/one"
		check "$fn($size): stepped to its ret" grep -q ' ret' <(tail -n 1 "$TMP/one")
		printf '# %s of %s bytes, a hit: %s instructions\n' $fn $size "$(wc -l <"$TMP/one")"
	done
done

# What the library exports is the list of its version script, no more, no less.
sed -n '/global:/,/local:/p' "$ROOT/lib/libhakmem.map" | sed -n 's/^[[:space:]]*\([A-Za-z_0-9]*\);.*/\1/p' |
	sort >"$TMP/map"
nm -D --defined-only --without-symbol-versions "$LIB" | awk '$2 != "A" { print $3 }' | sort >"$TMP/exports"
same "exported symbols are those of libhakmem.map" "$TMP/map" "$TMP/exports"
readelf -d "$LIB" >"$TMP/dynamic"
grep NEEDED "$TMP/dynamic" | grep -vE 'libc\.so|ld-linux' >"$TMP/needed"
check "nothing but libc is needed" test ! -s "$TMP/needed"
check "the soname is set" grep -q 'SONAME.*libhakmem\.so\.' "$TMP/dynamic"
finish
