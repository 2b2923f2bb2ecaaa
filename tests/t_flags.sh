#!/usr/bin/env bash
# timeout: 60
# make print-flags tells the compiler, its flags and every option of the build, as they are; make
# help what there is to make and to set.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

make -s --no-print-directory -C "$ROOT" help >"$TMP/help"
for word in 'make demo' 'make test' 'make bench' 'make install' 'make lint' PROBES=0 DEBUG=1 SANITIZE= NO_DEPS=1 V=1; do
	check "make help tells of $word" grep -q "^  $word" "$TMP/help"
done

flags() { make -s --no-print-directory -C "$ROOT" print-flags "$@"; }

flags >"$TMP/flags" || { not_ok "make print-flags"; finish; }
for word in CC LIB_CFLAGS LDFLAGS_SO PROBES DEBUG SANITIZE VERSION BUILD; do
	check "prints $word" grep -q "^$word " "$TMP/flags"
done
check "names a compiler with its version" grep -Eq '^CC .*[0-9]+\.[0-9]+' "$TMP/flags"
check "the version is that of the header" \
	grep -q "^VERSION *$(sed -n 's/.*HAKMEM_VERSION "\(.*\)"/\1/p' "$ROOT/lib/hakmem.h")$" "$TMP/flags"
check "optimised by default" grep -q '^LIB_CFLAGS .* -O2 ' "$TMP/flags"
flags PROBES=0 >"$TMP/flags"
check "PROBES=0 shows, with its folder" grep -Pzq 'PROBES +0\n(.*\n)*BUILD +build/noprobes\n' "$TMP/flags"
check "PROBES=0 changes the flags" grep -q 'HAK_NO_PROBES' "$TMP/flags"
flags DEBUG=1 >"$TMP/flags"
check "DEBUG=1 shows, with its folder" grep -Pzq 'DEBUG +1\n(.*\n)*BUILD +build/debug\n' "$TMP/flags"
flags SANITIZE=thread >"$TMP/flags"
check "SANITIZE=thread shows, with its folder" grep -Pzq 'SANITIZE +thread\n(.*\n)*BUILD +build/tsan\n' "$TMP/flags"
# the flags printed are those the objects were made with
make -s --no-print-directory -C "$ROOT" -n -W lib/class.c V=1 build/obj/lib/class.o >"$TMP/commands" 2>/dev/null
flags | sed -n 's/^LIB_CFLAGS *//p' | tr -s ' ' >"$TMP/printed"
check "they are the flags of the compile command" \
	grep -qF -- "$(sed 's/ *$//' "$TMP/printed")" <(tr -s ' ' <"$TMP/commands")
finish
