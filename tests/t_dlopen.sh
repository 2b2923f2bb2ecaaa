#!/usr/bin/env bash
# timeout: 120
# C++ libraries that come and go: constructors, thread-local destructors, every operator new and
# delete, from threads, in a C program that is preloaded, linked, or loads the allocator late.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CC=${CC:-gcc}
CXX=${CXX:-g++}
need "$CXX" nm
need_lib
H=$ROOT/tests/helpers
"$CXX" -std=c++17 -O1 -fno-builtin -fPIC -shared "$H/plugin.cc" -o "$TMP/plugin.so" &&
	"$CC" -std=gnu11 -D_GNU_SOURCE -O1 "$H/loader.c" -o "$TMP/loader" -pthread -ldl &&
	"$CC" -std=gnu11 -D_GNU_SOURCE -O1 "$H/loader.c" "$BUILD/libhakmem.a" -o "$TMP/loader.a" \
		-Wl,--undefined=malloc,--export-dynamic -pthread -ldl
check "the helpers compile" test -x "$TMP/loader.a"

works() { # NAME EXPECTED COMMAND...
	local name=$1 expected=$2

	shift 2
	# a shell of its own keeps the report of a signal away
	bash -c 'timeout 60 "$@" >"$TMP/out" 2>&1; exit $?' - "$@" 2>/dev/null
	check "$name" [ "$? $(cat "$TMP/out")" = "0 $expected" ]
	[[ $(cat "$TMP/out") == "$expected" ]] || sed 's/^/    /' "$TMP/out"
}

works "the plugin works with libc (the test is right)" libc "$TMP/loader" "$TMP/plugin.so"
works "preloaded" hakmem env LD_PRELOAD="$LIB" "$TMP/loader" "$TMP/plugin.so"
works "linked" hakmem "$TMP/loader.a" "$TMP/plugin.so"

exports() { nm -D --defined-only --without-symbol-versions "$1" | awk '{ print $3 }' | sort -u; }
# Every operator that libstdc++ has is the library's, so that no two heaps meet.
exports "$LIB" >"$TMP/exports"
exports "$("$CXX" -print-file-name=libstdc++.so.6)" | grep -E '^_Z(nw|na|dl|da)' >"$TMP/std"
grep -E '^_Z(nw|na|dl|da)' "$TMP/exports" >"$TMP/ours"
same "every operator new and delete of libstdc++ is there" "$TMP/std" "$TMP/ours"

# And so is libc's family, as far as it is for programs to call.
ldd "$TMP/loader" | sed -n 's/.*libc\.so\.6 => \([^ ]*\).*/\1/p' >"$TMP/libc"
exports "$(cat "$TMP/libc")" | grep -Ex '(v|pv|c|re|m)alloc|malloc_.*|mallinfo2?|mallopt|free|cfree|(posix_)?memalign|aligned_alloc|reallocarray' |
	grep -Evx 'malloc_(get|set)_state' >"$TMP/family"
check "libc exports the family" test "$(wc -l <"$TMP/family")" -ge 15
while read -r name; do
	check "libc's $name has its counterpart" grep -qx "$name" "$TMP/exports"
done <"$TMP/family"

# operator new without libstdc++: a C program may call it by its name.
cat >"$TMP/plain.c" <<'END'
extern void *_Znwm(unsigned long);
extern void _ZdlPv(void *);
int main(void)
{
	char *p = _Znwm(100);
	p[99] = 1;
	_ZdlPv(p);
	return 0;
}
END
"$CC" "$TMP/plain.c" "$BUILD/libhakmem.a" -o "$TMP/plain" -pthread
check "operator new in a program without libstdc++" "$TMP/plain"

# The library itself, opened and closed: it stays, since threads have destructors in it.
cat >"$TMP/closed.c" <<'END'
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
static void *use(void *path)
{
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	void *(*get)(unsigned long) = (void *(*)(unsigned long))dlsym(lib, "hak_malloc");
	void (*give)(void *) = (void (*)(void *))dlsym(lib, "hak_free");

	for (int i = 1; i < 5000; i++)
		give(get(i));
	dlclose(lib);
	return path;
}
int main(int argc, char **argv)
{
	for (int i = 0; i < 3; i++) {
		pthread_t t;

		pthread_create(&t, NULL, use, argv[argc - 1]);
		pthread_join(t, NULL);
	}
	return puts("closed") < 0;
}
END
"$CC" "$TMP/closed.c" -o "$TMP/closed" -pthread -ldl
works "closed by the thread that opened it" closed "$TMP/closed" "$LIB"

# A copy beside the one that is preloaded: two allocators, each with counters of its own.
cat >"$TMP/copy.c" <<'END'
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
	void *lib = dlopen(argv[argc - 1], RTLD_NOW | RTLD_LOCAL);
	void *(*get)(unsigned long) = (void *(*)(unsigned long))dlsym(lib, "hak_malloc");
	const char *root = dlsym(lib, "hakmem_root"), *first = dlsym(RTLD_DEFAULT, "hakmem_root");

	get(100);
	return puts(root == first ? "one" : strcmp(first, "hakmem\n") || strcmp(root, "hakmem\n") ? "shared" : "two") < 0;
}
END
"$CC" -D_GNU_SOURCE "$TMP/copy.c" -o "$TMP/copy" -ldl
cp "$LIB" "$TMP/copy.so"
works "a copy beside it" two env LD_PRELOAD="$LIB" "$TMP/copy" "$TMP/copy.so"

# And with it, though a static program has of it only what it names.
cat >"$TMP/oom.cc" <<'END'
#include <cstdio>
#include <new>
int main()
{
	try {
		char *volatile p = new char[1UL << 50];
		*p = 1;
	} catch (std::bad_alloc &e) {
		puts(e.what());
	}
	return 0;
}
END
for mode in "" -static; do
	"$CXX" -O0 $mode "$TMP/oom.cc" "$BUILD/libhakmem.a" -o "$TMP/oom" -pthread 2>"$TMP/warnings"
	check "no warning from the linker ($mode)" test ! -s "$TMP/warnings"
	check "new throws bad_alloc ($mode)" [ "$("$TMP/oom")" = std::bad_alloc ]
done
finish
