#!/usr/bin/env bash
# timeout: 240
# What is shipped: hardened, exporting what it should, the same bytes from the same source; and a
# hakstat that gives up what it does not need and never hands a target's text to a shell.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CC=${CC:-gcc}
PATH=$PATH:/usr/sbin
need readelf objdump nm strace python3 capsh
need_lib

# --- hardened ------------------------------------------------------------------------------
# shellcheck disable=SC2317 # called by check
has() { readelf -W "$1" "$2" 2>/dev/null | grep -Eq "$3"; } # OPTION FILE PATTERN
for file in "$LIB" "$HAKSTAT"; do
	name=$(basename "$file")
	check "$name: relocations are read-only" has -l "$file" GNU_RELRO
	check "$name: bound at start" has -d "$file" 'FLAGS.*NOW'
	check "$name: no executable stack" has -l "$file" 'GNU_STACK.* RW '
	check "$name: nothing both writable and executable" test -z "$(readelf -Wl "$file" | grep 'LOAD.*RWE')"
	check "$name: no code is relocated, no search path" test -z "$(readelf -d "$file" | grep -E 'TEXTREL|R(UN)?PATH')"
	check "$name: stack protector" has --dyn-syms "$file" __stack_chk_fail
	check "$name: has a build id" has -n "$file" 'Build ID: [0-9a-f]{40}'
done
check "hakstat: position-independent" has -d "$HAKSTAT" 'FLAGS_1.*PIE'
check "hakstat: fortified" has --dyn-syms "$HAKSTAT" '__(printf|snprintf|fprintf)_chk'
check "hakstat: marked for indirect branches" grep -q endbr64 <(objdump -d "$HAKSTAT" --disassemble=main)
make -s --no-print-directory -C "$ROOT" print-flags >"$TMP/flags"
for flag in -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2; do
	for which in LIB_CFLAGS TOOL_CFLAGS; do
		check "print-flags: $which has $flag" grep -q -- "^$which .* $flag" "$TMP/flags"
	done
done
for flag in -fPIE -fcf-protection; do
	check "print-flags: TOOL_CFLAGS has $flag" grep -q -- "^TOOL_CFLAGS .* $flag" "$TMP/flags"
done

# --- symbols -------------------------------------------------------------------------------
sed -n '/global:/,/local:/s/^[[:space:]]*\([A-Za-z_0-9]*\);.*/\1/p' "$ROOT/lib/libhakmem.map" | sort >"$TMP/map"
nm -D --defined-only "$LIB" | awk '$2 != "A" { print $3 }' | sort >"$TMP/exports"
same "libhakmem.so exports what libhakmem.map lists, without versions" "$TMP/map" "$TMP/exports"
nm --defined-only --extern-only "$BUILD/libhakmem.a" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort >"$TMP/archive"
# but for the nothrow operators, which it leaves to libstdc++
grep -v '^_Zn.*RKSt9nothrow_t$' "$TMP/map" >"$TMP/map.archive"
same "libhakmem.a takes no other name from a program" "$TMP/map.archive" "$TMP/archive"
check "the library needs of libc nothing that runs another program" \
	test -z "$(nm -D --undefined-only "$LIB" | grep -E ' (system|popen|exec[a-z]*|posix_spawn|fork)(@|$)')"

# --- the same bytes ------------------------------------------------------------------------
other=$TMP/elsewhere/a/longer/path
mkdir -p "$other"
tar -C "$ROOT" --exclude=./build --exclude=./.git -cf - . | tar -C "$other" -xf -
find "$other" -type f -exec touch -d '2001-01-01' {} +
# with the tests' own compiler, and none of the options of a make that runs us
env -u MAKEFLAGS -u MFLAGS TZ=Asia/Tokyo LC_ALL=C make -s -j2 --no-print-directory -C "$other" all CC="$CC" \
	>"$TMP/make.log" 2>&1 || not_ok "builds in another place" "$(tail -n 5 "$TMP/make.log")"
for file in libhakmem.so libhakmem.a hakstat bpf/hakstat.bpf.o bpf/hakstat.skel.h hakmem.pc; do
	check "$file: the same bytes from another place and time" cmp "$BUILD/$file" "$other/build/$file"
done
check "no path of the build in what is shipped" \
	test -z "$(grep -lF -e "$other" "$other"/build/{libhakmem.so,libhakmem.a,hakstat})"

# --- privileges ----------------------------------------------------------------------------
cat >"$TMP/rests.c" <<'END'
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	void *p = malloc(100);

	if (argc > 1)
		prctl(PR_SET_NAME, argv[1]);
	free(p);
	for (;;)
		pause();
}
END
"$CC" -O1 -fno-builtin "$TMP/rests.c" -o "$TMP/rests"
LD_PRELOAD=$LIB "$TMP/rests" &
pid=$!
end_at_exit $pid
wait_for 10 grep -q libhakmem /proc/$pid/maps

caps_of() { capsh --decode="$(sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status")" | cut -d = -f 2 | tr ',' '\n' | sort | tr '\n' ' '; }
reads="cap_checkpoint_restore cap_dac_read_search cap_sys_ptrace"
attaches=$(printf '%s\n' $reads cap_bpf cap_perfmon | sort | tr '\n' ' ')
"$HAKSTAT" top -p $pid -b -d 0.2 >"$TMP/out" 2>"$TMP/err" &
watcher=$!
end_at_exit $watcher
wait_for 20 grep -q -- '---' "$TMP/out"
check "top -p: left with $attaches" [ "$(caps_of $watcher CapEff)" = "$attaches" ]
check "top -p: for good" [ "$(caps_of $watcher CapPrm)" = "$attaches" ]
check "top -p: it cannot get any by a program" grep -q 'NoNewPrivs:[[:space:]]*1' /proc/$watcher/status
kill $watcher
# what a command of ours may do is what hakstat may
"$HAKSTAT" stat -c "grep -E '^Cap(Eff|Prm|Bnd)' /proc/self/status" -o "$TMP/report" >"$TMP/out" 2>"$TMP/err"
same "-c: the command has what it would have without" <(grep -E '^Cap(Eff|Prm|Bnd)' /proc/self/status | sort) <(sort "$TMP/out")
"$HAKSTAT" stat -c "sleep 3" -o "$TMP/report" 2>"$TMP/err" &
watcher=$!
end_at_exit $watcher
killing=$(printf '%s\n' $attaches cap_kill | sort | tr '\n' ' ')
left_with() { [[ $(caps_of "$1" CapPrm) == "$2" ]]; }
check "stat -c: left with $killing" wait_for 5 left_with $watcher "$killing"
wait $watcher
# that is enough to go on with a program the process becomes
cat >"$TMP/becomes" <<END
#!/bin/bash
read -r
exec "$TMP/rests"
END
chmod +x "$TMP/becomes"
mkfifo "$TMP/gate"
LD_PRELOAD=$LIB "$TMP/becomes" <"$TMP/gate" &
becoming=$!
end_at_exit $becoming
exec 8>"$TMP/gate"
wait_for 10 grep -q libhakmem /proc/$becoming/maps
"$HAKSTAT" top -p $becoming -b -d 0.2 >"$TMP/out" 2>"$TMP/err" &
watcher=$!
end_at_exit $watcher
wait_for 20 grep -q -- '---' "$TMP/out"
echo go >&8
check "without the rest it attaches to a program that the process becomes" wait_for 10 grep -q '^ *rests \[' "$TMP/out"
check "and has no complaint" test ! -s "$TMP/err"
kill $watcher
exec 8>&-

# --- nothing of a target is ever run -------------------------------------------------------
check "hakstat has one way to run a program, for -c and --exec" \
	[ "$(nm -D --undefined-only "$HAKSTAT" | grep -oE ' (system|popen|exec[a-z]*|posix_spawnp?|wordexp|dlopen)(@|$)' | tr -d ' @' | sort | tr '\n' ' ')" = "execvp wordexp " ]
check "wordexp is forbidden to run commands" test -z "$(grep -n 'wordexp(' "$ROOT"/hakstat/*.c | grep -v WRDE_NOCMD)"
cd "$TMP" || exit 1
mkdir hostile
evil=$'hostile/`touch pwned`;$(touch pwned)\n\e]0;x\a'"'"'"|touch pwned #'
cp rests "$evil"
evil_lib=$'hostile/`touch${IFS}pwned`;$(touch${IFS}pwned)\e[31m\'"|&.so'
cp "$LIB" "$evil_lib"
LD_PRELOAD=$TMP/$evil_lib "$TMP/$evil" $'\e[2J`id`;$(id)' &
bad=$!
end_at_exit $bad
wait_for 10 grep -q pwned /proc/$bad/maps
check "a process of hostile names runs on the library" "$HAKSTAT" dump -p $bad --check >dumped
for c in "list" "list --json" "probes -p $bad" "doctor -p $bad" "doctor -p $bad --json" "dump -p $bad --pages" \
	"stat -p $bad -d 0.1" "stat -p $bad -d 0.1 --json" "top -p $bad -b -n 1 -d 0.1" "top -a -b -n 1 -d 0.1"; do
	# shellcheck disable=SC2086 # words are meant
	timeout 30 strace -f -o calls -e trace=execve,execveat,fork,vfork,clone,clone3 "$HAKSTAT" $c >out 2>err
	check "hostile names: $c ends well" [ $? -eq 0 ]
	check "hostile names: $c runs nothing" [ "$(grep -cE '(execve|execveat|fork|vfork|clone3?)\(' calls)" -eq 1 ]
	check "hostile names: $c prints nothing a terminal obeys" \
		test -z "$(LC_ALL=C grep -aP '[\x00-\x08\x0b-\x1f\x7f-\xff]' out err)"
done
# the commands for other tools, as somebody pastes them
"$HAKSTAT" probes -p $bad | sed -n 's/^  \(bpftrace\|perf\|echo\|gdb\)/true \1/p' >commands
bash commands >/dev/null 2>&1
check "hostile names: what probes prints is safe to paste" test -z "$(find . -name pwned)"
check "hostile names: nothing was run" test ! -e pwned
finish
