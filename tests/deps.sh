#!/usr/bin/env bash
# Installs the Debian packages named, as far as they are missing. With NO_DEPS=1 it lists them
# and fails instead. Packages after "--" may fail to install: the caller has a substitute.
set -u
need=() optional=() list=need
for p in "$@"; do
	if [ "$p" = -- ]; then
		list=optional
		continue
	fi
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' && continue
	if [ $list = need ]; then need+=("$p"); else optional+=("$p"); fi
done
[ $((${#need[@]} + ${#optional[@]})) = 0 ] && exit 0
echo "packages missing: ${need[*]} ${optional[*]}"
if [ "${NO_DEPS:-}" = 1 ]; then
	echo "NO_DEPS=1: nothing installed; apt-get install ${need[*]} ${optional[*]}" >&2
	exit 1
fi
command -v apt-get >/dev/null || { echo "no apt-get here: install them by hand" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
get() { apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
[ -n "$(find /var/lib/apt/lists -name '*Packages*' -mmin -1440 -print -quit 2>/dev/null)" ] || apt-get update -qq
for try in 1 2; do
	[ ${#need[@]} = 0 ] && break
	get "${need[@]}" && break
	[ $try = 2 ] && exit 1
	apt-get update -qq
done
for p in ${optional[@]+"${optional[@]}"}; do
	get "$p" || echo "could not install $p: going on without"
done
exit 0
