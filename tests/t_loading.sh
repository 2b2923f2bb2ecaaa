#!/usr/bin/env bash
# timeout: 120
# Who comes before the allocator, and who goes after it: constructors of preloaded libraries and of
# dependencies, in every order; ifuncs; C++ libraries with thread_local objects that come and go;
# set-user-id programs, which no option reaches.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CC=${CC:-gcc}
CXX=${CXX:-g++}
need "$CXX"
need_lib
H=$ROOT/tests/helpers
ulimit -c 0

cat >"$TMP/user.c" <<'END'
#include <stdio.h>
#include <stdlib.h>
extern void *early_chosen(size_t n) __attribute__((weak));
extern unsigned hak_check(void) __attribute__((weak));
int main(void)
{
	char *p = early_chosen ? early_chosen(1000) : calloc(1, 1000);

	if (!p || p[999] || !hak_check || hak_check())
		return 1;
	free(p);
	return puts("done") < 0;
}
END
lib=(-L"$(dirname "$LIB")" -lhakmem "-Wl,-rpath,$(dirname "$LIB")")
# --no-as-needed: the order of the libraries is the test
compile=("$CC" -std=gnu11 -D_GNU_SOURCE -O1 -fno-builtin)
link=("${compile[@]}" -Wl,--no-as-needed "-Wl,-rpath,$TMP" "-L$TMP")
"${compile[@]}" -Wall -Wextra -Werror -fPIC -shared "$H/early.c" -o "$TMP/libearly.so" &&
	"${compile[@]}" -c "$H/early.c" -o "$TMP/early.o" &&
	"${link[@]}" "$TMP/user.c" -o "$TMP/user" &&
	"${link[@]}" "$TMP/user.c" -learly -o "$TMP/needs-early" &&
	"${link[@]}" "$TMP/user.c" -learly "${lib[@]}" -o "$TMP/early-first" &&
	"${link[@]}" "$TMP/user.c" "${lib[@]}" -learly -o "$TMP/hakmem-first" &&
	"${compile[@]}" -static "$TMP/user.c" "$TMP/early.o" "$BUILD/libhakmem.a" -o "$TMP/user.static" -pthread &&
	"${compile[@]}" -static-pie "$TMP/user.c" "$TMP/early.o" "$BUILD/libhakmem.a" -o "$TMP/user.static-pie" -pthread
check "the helpers compile" test -x "$TMP/user.static-pie"

# shellcheck disable=SC2317 # called by check
done_by() { [[ $(timeout 20 "$@" 2>&1; echo $?) == $'done\n0' ]]; }

for secure in 0 1; do
	export HAKMEM_SECURE=$secure
	for now in "" 1; do # functions bound at their first call, or before main
		export LD_BIND_NOW=$now
		how="(secure=$secure, bound ${now:+at start}${now:-late})"
		check "a library preloaded before ours $how" done_by env "LD_PRELOAD=$TMP/libearly.so:$LIB" "$TMP/user"
		check "a library preloaded after ours $how" done_by env "LD_PRELOAD=$LIB:$TMP/libearly.so" "$TMP/user"
		check "a dependency with ifunc, ours preloaded $how" done_by env "LD_PRELOAD=$LIB" "$TMP/needs-early"
		check "linked, after a dependency $how" done_by "$TMP/early-first"
		check "linked, before a dependency $how" done_by "$TMP/hakmem-first"
	done
	unset LD_BIND_NOW
	check "static, constructors of the program first (secure=$secure)" done_by "$TMP/user.static"
	check "static-pie, constructors of the program first (secure=$secure)" done_by "$TMP/user.static-pie"
done
check "without the library it fails (the test is right)" test "$("$TMP/needs-early"; echo $?)" = 1

# Auditors and libraries in a namespace of their own have a libc, and so a malloc, of their own.
cat >"$TMP/audit.c" <<'END'
#include <link.h>
#include <stdlib.h>
unsigned la_version(unsigned version)
{
	free(malloc(1000));
	return version;
}
unsigned la_objopen(struct link_map *map, Lmid_t id, uintptr_t *cookie)
{
	free(realloc(malloc(100), 100000));
	(void)map, (void)id, (void)cookie;
	return 0;
}
END
cat >"$TMP/namespace.c" <<'END'
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
extern unsigned hak_check(void) __attribute__((weak));
int main(int argc, char **argv)
{
	for (int i = 0; i < 10; i++) {
		void *lib = dlmopen(LM_ID_NEWLM, argv[argc - 1], RTLD_NOW | RTLD_LOCAL);
		int (*work)(int) = lib ? (int (*)(int))dlsym(lib, "plugin_work") : NULL;
		char *p = calloc(1, 100000);

		if (!work || work(20) || !p || p[99999] || !hak_check || hak_check())
			return 1;
		free(p);
		dlclose(lib);
	}
	return puts("done") < 0;
}
END
"$CXX" -std=c++17 -O1 -fno-builtin -fPIC -shared "$H/plugin.cc" -o "$TMP/plugin.so" &&
	"${compile[@]}" -fPIC -shared "$TMP/audit.c" -o "$TMP/libaudit.so" &&
	"${compile[@]}" "$TMP/namespace.c" -o "$TMP/namespace" -ldl &&
	"${link[@]}" "$TMP/namespace.c" "${lib[@]}" -o "$TMP/namespace.linked" -ldl
check "auditor, plugin and their users compile" test -x "$TMP/namespace.linked"
check "an auditor, ours preloaded" done_by env "LD_AUDIT=$TMP/libaudit.so" "LD_PRELOAD=$LIB" "$TMP/user"
check "an auditor, ours linked" done_by env "LD_AUDIT=$TMP/libaudit.so" "$TMP/hakmem-first"
check "namespaces come and go, ours preloaded" done_by env "LD_PRELOAD=$LIB" "$TMP/namespace" "$TMP/plugin.so"
check "namespaces come and go, ours linked" done_by "$TMP/namespace.linked" "$TMP/plugin.so"

# C++ libraries in loops, their thread_local objects destroyed by the threads; in secure mode, and
# with the allocator linked as a shared library (t_dlopen.sh has the others).
"$CC" -std=gnu11 -D_GNU_SOURCE -O1 "$H/loader.c" -o "$TMP/loader" -Wl,--no-as-needed "${lib[@]}" -pthread -ldl &&
	"$CC" -std=gnu11 -D_GNU_SOURCE -O1 "$H/loader.c" -o "$TMP/loader.plain" -pthread -ldl
check "the loader compiles" test -x "$TMP/loader.plain"
# shellcheck disable=SC2317 # called by check
loads() { [[ $(timeout 60 "$@" "$TMP/plugin.so" 2>&1; echo $?) == $'hakmem\n0' ]]; }
for secure in 0 1; do
	check "C++ libraries come and go, linked (secure=$secure)" loads env HAKMEM_SECURE=$secure "$TMP/loader"
done
check "C++ libraries come and go, preloaded (secure=1)" loads env HAKMEM_SECURE=1 "LD_PRELOAD=$LIB" "$TMP/loader.plain"

# AT_SECURE: what the environment says does not count, whichever option, however linked.
[[ $(id -u) -eq 0 ]] || { skip "set-user-id programs" "needs root"; finish; }
cat >"$TMP/options.c" <<'END'
#include "internal.h"
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
	free(malloc(1));
#define X(name, env, def, min, max, unit, meaning) printf("%s %ju\n", env, (uintmax_t)hak_options.name);
#include "options.def"
	return 0;
}
END
for mode in -no-pie -static -static-pie; do
	"${compile[@]}" "$mode" "-I$ROOT/lib" "-I$ROOT/probes" "$TMP/options.c" \
		"$BUILD/libhakmem-test.a" -o "$TMP/options$mode" -pthread
done
check "the set-user-id helpers compile" test -x "$TMP/options-static-pie"
chmod 755 "$TMP"
if [[ $(findmnt -no OPTIONS -T "$TMP") == *nosuid* ]]; then
	skip "set-user-id programs" "$TMP is mounted nosuid"
	finish
fi
set_all=(HAKMEM_CACHE_BYTES=64K HAKMEM_DECAY_MS=77 HAKMEM_KEEP_BYTES=1M HAKMEM_GROW_MAX=4M HAKMEM_HUGE=0 HAKMEM_ABORT=0 HAKMEM_SECURE=1 HAKMEM_PROFILE=1)
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
check "every option is among those set" test "$(grep -c '^X(' "$ROOT/lib/options.def")" -eq ${#set_all[@]}
unset HAKMEM_SECURE
for mode in -no-pie -static -static-pie; do
	program=$TMP/options$mode
	as_nobody "$program" >"$TMP/default"
	as_nobody env "${set_all[@]}" "$program" >"$TMP/changed"
	check "$mode: without the bit nobody's options count, all of them" \
		[ "$(comm -12 <(sort "$TMP/default") <(sort "$TMP/changed") | wc -l)" = 0 ]
	for bits in 4755 2755; do
		chmod $bits "$program"
		as_nobody env "${set_all[@]}" "$program" >"$TMP/ignored" 2>&1
		same "$mode: set-user-id or set-group-id ($bits), none does" "$TMP/default" "$TMP/ignored"
	done
done
# The loader itself keeps a preload out of such a program: there is no hakmem in it at all.
cp "$TMP/user" "$TMP/user.setuid"
chmod 4755 "$TMP/user.setuid"
check "set-user-id: not preloaded" [ "$(as_nobody env LD_PRELOAD="$LIB" "$TMP/user.setuid" 2>/dev/null; echo $?)" = 1 ]
finish
