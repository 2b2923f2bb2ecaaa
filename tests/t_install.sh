#!/usr/bin/env bash
# timeout: 180
# make install puts everything under DESTDIR, what is there works, make uninstall leaves nothing.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CC=${CC:-gcc}
D=$TMP/dest
need pkg-config

quiet_make() { make -s --no-print-directory -C "$ROOT" "$@" PREFIX=/usr DESTDIR="$D" >"$TMP/make.log" 2>&1; }

quiet_make install || { not_ok "make install" "$(tail -n 5 "$TMP/make.log")"; finish; }
(cd "$D" && find . ! -type d | sort) >"$TMP/files"
for file in lib/libhakmem.so lib/libhakmem.so.0 lib/libhakmem.a lib/pkgconfig/hakmem.pc \
	include/hakmem.h bin/hakstat; do
	check "installs $file" test -e "$D/usr/$file"
done
for page in hakmem.7 hakstat.8; do
	check "installs the manual page $page" test -s "$D/usr/share/man/man${page##*.}/$page"
done
for script in "$ROOT"/probes/bpftrace/*.bt; do
	check "installs ${script##*/}" cmp -s "$script" "$D/usr/share/hakmem/bpftrace/${script##*/}"
done
check "nothing outside the prefix" test -z "$(grep -v '^\./usr/' "$TMP/files")"
check "hakstat runs from there" "$D/usr/bin/hakstat" --version
"$D/usr/bin/hakstat" doctor >"$TMP/doctor"
check "its doctor tries to attach, to the library installed with it" \
	grep -Eq '^(ok|MISSING) +BPF attach' "$TMP/doctor"
if command -v man >/dev/null; then
	for page in "$D"/usr/share/man/man?/*; do
		[[ -e $page ]] || continue
		check "$(basename "$page") formats without a warning" \
			test -z "$(MANWIDTH=80 man --warnings=w -l "$page" 2>&1 >/dev/null)"
	done
fi

# A program built by what pkg-config says.
cat >"$TMP/prog.c" <<'END'
#include <hakmem.h>
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
	static struct hak_snapshot a, b;
	void *p;

	hak_snapshot(&a);
	p = malloc(1000);
	hak_snapshot(&b);
	printf("%s %llu\n", hak_version(), (unsigned long long)(b.live_bytes - a.live_bytes));
	free(p);
	return 0;
}
END
export PKG_CONFIG_SYSROOT_DIR=$D PKG_CONFIG_LIBDIR=$D/usr/lib/pkgconfig
export PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
version=$(sed -n 's/.*HAKMEM_VERSION "\(.*\)"/\1/p' "$ROOT/lib/hakmem.h")
check "pkg-config knows the version" [ "$(pkg-config --modversion hakmem)" = "$version" ]
works() { # NAME OUTPUT
	if [[ $2 == "$version 1024" ]]; then ok "$1"; else not_ok "$1" "printed: $2"; fi
}
# shellcheck disable=SC2046 # words are meant
"$CC" -fno-builtin "$TMP/prog.c" -o "$TMP/prog" $(pkg-config --cflags --libs hakmem)
works "a program linked with -lhakmem" "$(LD_LIBRARY_PATH=$D/usr/lib "$TMP/prog" 2>&1)"
check "it needs the library by its soname" grep -q 'NEEDED.*libhakmem\.so\.0' <(readelf -d "$TMP/prog")
# shellcheck disable=SC2046
"$CC" -fno-builtin -static "$TMP/prog.c" -o "$TMP/prog.static" $(pkg-config --cflags --static --libs hakmem)
works "a static program" "$("$TMP/prog.static" 2>&1)"

# Where the dynamic linker looks, a program finds the library at once, and it is forgotten after
# uninstall. In a mount namespace, so that nothing of this host changes.
cat >"$TMP/local" <<'END'
set -e
cd "$ROOT"
mount -t tmpfs none /usr/local
mkdir "$TMP/etc"
mount -t tmpfs none "$TMP/etc"
mkdir "$TMP/etc/upper" "$TMP/etc/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$TMP/etc/upper,workdir=$TMP/etc/work" /etc
touch "$TMP/local.ready"
make -s --no-print-directory install PREFIX=/usr/local
unset PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_LIBDIR
$CC -fno-builtin "$TMP/prog.c" -o "$TMP/prog.local" $(pkg-config --cflags --libs hakmem)
"$TMP/prog.local" >"$TMP/local.out" 2>&1 || true
make -s --no-print-directory uninstall PREFIX=/usr/local
PATH=$PATH:/sbin
ldconfig -p >"$TMP/known"
END
CC=$CC unshare -m bash "$TMP/local" >"$TMP/local.log" 2>&1
status=$?
if [[ -e $TMP/local.ready ]]; then
	works "a program linked with the library in /usr/local" "$(cat "$TMP/local.out" "$TMP/local.log")"
	check "uninstalled, the dynamic linker knows of none" \
		bash -c "test $status -eq 0 && ! grep -q hakmem '$TMP/known'"
else
	skip "installing in /usr/local" "no mount namespace: $(tail -n 1 "$TMP/local.log")"
fi

quiet_make uninstall || not_ok "make uninstall" "$(tail -n 5 "$TMP/make.log")"
check "make uninstall leaves no file" test -z "$(find "$D" ! -type d)"
check "nor a directory of its own" test -z "$(find "$D" -name 'hakmem*')"
finish
