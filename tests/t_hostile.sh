#!/usr/bin/env bash
# timeout: 180
# Hostile targets: processes, files and names that lie. Whatever they say, hakstat ends in time,
# with a code of its own and without a byte that a terminal would take for a command, and opens no
# other file. Needs root.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/hakstat/watch.sh
. "$ROOT/tests/hakstat/watch.sh"

PATH=$PATH:/usr/sbin
need objcopy setpriv strace
abi=$(sed -n 's/^#define HAK_ABI \([0-9]*\)U.*/\1/p' "$ROOT/probes/shared.h")
"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -static -DABI="$abi" -I"$ROOT/probes" "$ROOT/tests/hakstat/hostile.c" -o "$TMP/hostile" -pthread ||
	{ not_ok "hakstat/hostile.c compiles"; finish; }

bytes_in() { LC_ALL=C tr -d '\n\t\040-\176' <"$1" | wc -c; }

# tame ARGS...: runs hakstat; prints what is wrong with how that ends or with what it prints
tame() {
	local status bytes out=$TMP/tame.$BASHPID

	timeout -k 1 60 "$HAKSTAT" "$@" >"$out" 2>&1 </dev/null
	status=$?
	bytes=$(bytes_in "$out")
	[[ $status -le 4 && $bytes -eq 0 ]] || echo "$*: code $status, $bytes bytes that are no text: $(head -c 100 "$out" | cat -v)"
	rm -f "$out"
}

# all_tame PID: every kind of command, one after the other
all_tame() {
	tame stat -p "$1" -d 0.1
	tame threads -p "$1" -d 0.1 --json
	tame memory -p "$1" -d 0.1
	tame remote -p "$1" -d 0.1
	tame dump -p "$1" --block 0x10010
	tame probes -p "$1"
}

judge() { # NAME LOG
	if [[ -s $2 ]]; then not_ok "$1" "$(head -n 5 "$2")"; else ok "$1"; fi
}

# begin COMMAND...: sets pid, once it is ready
begin() {
	rm -f "$TMP/ready"
	"$@" >"$TMP/ready" 2>"$TMP/begin.err" &
	pid=$!
	disown $pid
	end_at_exit $pid
	wait_for 20 grep -q ready "$TMP/ready" || not_ok "$1 starts" "$(head -n 2 "$TMP/begin.err")"
}

# --- heaps that lie: side by side, since some keep hakstat for seconds -----------------------------
pids=() jobs=()
mapfile -t modes < <("$TMP/hostile")
for i in "${!modes[@]}"; do
	begin "$TMP/hostile" "${modes[i]}"
	pids+=("$pid")
	all_tame "$pid" >"$TMP/verdict.$i" &
	jobs+=($!)
done
{ tame list; tame list --json; } >"$TMP/verdict"
judge "all of them listed" "$TMP/verdict"
for i in "${!modes[@]}"; do
	wait "${jobs[i]}"
	judge "a heap that lies: ${modes[i]}" "$TMP/verdict.$i"
	kill "${pids[i]}"
done

# --- files that lie --------------------------------------------------------------------------------
mkdir "$TMP/forged"
mapfile -t forged < <(python3 "$ROOT/tests/hakstat/forge.py" "$TMP/forged" "$abi")
begin "$TMP/hostile" maps "${forged[@]}"
check "files that lie are mapped" grep -q "forged/overlap" "/proc/$pid/maps"
{ tame stat -p "$pid" -d 0.1; tame memory -p "$pid" -d 0.1; tame probes -p "$pid"; tame list; } >"$TMP/verdict"
judge "files that lie" "$TMP/verdict"
kill "$pid"

# --- names -----------------------------------------------------------------------------------------
odd=$TMP/$'a\033[31mb\r\n\t\007\302\233c'
cp "$TMP/hostile" "$odd"
begin "$odd" names
{ all_tame "$pid"; tame list; tame list --json; tame doctor -p "$pid"; tame top -p "$pid" -b -n 1 -d 0.1; } >"$TMP/verdict"
judge "names of programs and threads" "$TMP/verdict"
kill "$pid"

# --- what its path leads to is another file, or a pipe ---------------------------------------------
cp "$TMP/hostile" "$TMP/moved"
begin "$TMP/moved" version
echo secret >"$TMP/secret"
for what in secret pipe; do
	rm "$TMP/moved"
	if [[ $what == pipe ]]; then mkfifo "$TMP/moved"; else ln -s "$TMP/secret" "$TMP/moved"; fi
	for as in "" "setpriv --bounding-set=-sys_admin,-checkpoint_restore"; do
		# shellcheck disable=SC2086 # words are meant
		$as timeout -k 1 20 strace -f -e trace=open,openat -o "$TMP/strace" "$HAKSTAT" stat -p "$pid" -d 0.1 >"$TMP/out" 2>&1
		status=$?
		check "a $what in its place${as:+, where map_files is closed}: code $status" test $status -le 4
		check "a $what in its place${as:+, where map_files is closed}: is not opened" \
			test -z "$(grep -E "$TMP/(moved|secret)\"" "$TMP/strace" | grep -v O_PATH)"
	done
done
kill "$pid"

# --- stacks: symbols and debug information that lie ------------------------------------------------
cat >"$TMP/evil.c" <<'END'
#include <stdlib.h>
#include <stdio.h>
#include <unistd.h>
#ifdef DEEP
void *evil_function(size_t n);
#else
__attribute__((noipa)) void *evil_function(size_t n)
{
	void *p = malloc(n);
	__asm__ volatile("" ::"r"(p) : "memory");
	return p;
}
#endif
int main(void)
{
	static void *b[600];
	puts("ready");
	fflush(stdout);
	for (;;) {
		for (int i = 0; i < 600; i++)
			b[i] = evil_function(32768);
		for (int i = 0; i < 600; i++)
			free(b[i]);
		usleep(100000);
	}
}
END
# Blocks within blocks, 400,000 deep: libdw calls itself for each.
cat >"$TMP/deep.s" <<'END'
	.text
	.globl evil_function
	.type evil_function,@function
evil_function:
.Lb:	.cfi_startproc
	subq $8,%rsp
	.cfi_def_cfa_offset 16
	call malloc@plt
	addq $8,%rsp
	.cfi_def_cfa_offset 8
	ret
	.cfi_endproc
.Le:	.size evil_function,.-evil_function
	.section .debug_abbrev,"",@progbits
	.byte 1, 0x11, 1, 0x03, 0x08, 0x11, 0x01, 0x12, 0x07, 0, 0
	.byte 2, 0x2e, 1, 0x03, 0x08, 0x11, 0x01, 0x12, 0x07, 0, 0
	.byte 3, 0x0b, 1, 0x11, 0x01, 0x12, 0x07, 0, 0
	.byte 0
	.section .debug_info,"",@progbits
	.4byte .Lend-.Lstart
.Lstart: .2byte 4
	.4byte .debug_abbrev
	.byte 8, 1
	.asciz "deep.c"
	.8byte .Lb, .Le-.Lb
	.byte 2
	.asciz "evil_function"
	.8byte .Lb, .Le-.Lb
	.rept 400000
	.byte 3
	.8byte .Lb, .Le-.Lb
	.endr
	.rept 400003
	.byte 0
	.endr
.Lend:	.section .note.GNU-stack,"",@progbits
END
mkfifo "$TMP/pipe.debug"
"$CC" -O1 -g -fno-builtin "$TMP/evil.c" -o "$TMP/evil" &&
	"$CC" -O1 -fno-builtin -DDEEP -no-pie "$TMP/evil.c" "$TMP/deep.s" -o "$TMP/evil.deep" ||
	{ not_ok "programs with evil functions compile"; finish; }
strip -o "$TMP/stripped" "$TMP/evil"
printf 'pipe.debug\0\0\1\2\3\4' >"$TMP/beside"
printf '%s\0\1\2\3\4' "$TMP/pipe.debug" >"$TMP/absolute"
printf '%s\0aaaaaaaaaaaaaaaaaaaa' "$TMP/pipe.debug" >"$TMP/shared"
objcopy --add-section .gnu_debuglink="$TMP/beside" "$TMP/stripped" "$TMP/evil.beside"
objcopy --add-section .gnu_debuglink="$TMP/absolute" "$TMP/stripped" "$TMP/evil.absolute"
objcopy --add-section .gnu_debugaltlink="$TMP/shared" "$TMP/evil" "$TMP/evil.shared"
python3 - "$TMP/evil" "$TMP/evil.escapes" <<'END'
import sys
data = open(sys.argv[1], "rb").read()
assert data.count(b"evil_function") >= 2
open(sys.argv[2], "wb").write(data.replace(b"evil_function", b"ev\x1b[31m\x07\n\r\x9bij"))
END
chmod +x "$TMP"/evil.*

# stacks_of NAME PID: what is wrong
stacks_of() {
	local status bytes out=$TMP/stacks.$1

	timeout -k 1 60 strace -f -e trace=open,openat -o "$TMP/strace.$1" \
		"$HAKSTAT" stacks -p "$2" --on refill -d 0.5 >"$out" 2>&1
	status=$?
	bytes=$(bytes_in "$out")
	[[ $status -eq 0 && $bytes -eq 0 ]] || echo "code $status, $bytes bytes that are no text: $(head -n 3 "$out" | cat -v)"
	grep -q ' main \|evil' "$out" || echo "no stack of it"
	grep -F pipe.debug "$TMP/strace.$1" | grep -v O_PATH
}
pids=() jobs=() evil=(deep beside absolute shared escapes)
for name in "${evil[@]}"; do
	begin env LD_PRELOAD="$SO" "$TMP/evil.$name"
	pids+=("$pid")
	stacks_of "$name" "$pid" >"$TMP/verdict.$name" &
	jobs+=($!)
done
for i in "${!evil[@]}"; do
	wait "${jobs[i]}"
	judge "stacks of a program that lies: ${evil[i]}" "$TMP/verdict.${evil[i]}"
	kill "${pids[i]}"
done
check "a name with escapes is shown, without them" grep -qF 'ev?[31m????ij' "$TMP/stacks.escapes"
finish
