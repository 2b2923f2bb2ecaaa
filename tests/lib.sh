# shellcheck shell=bash
# Helpers for the shell tests; source it first. A test prints one line per result (ok, not_ok,
# skip), ends with `finish`, and works in $TMP, which is removed with every process given to
# end_at_exit.
set -u

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${BUILD:-build}
[[ $BUILD == /* ]] || BUILD=$ROOT/$BUILD
LIB=${LIB:-$BUILD/libhakmem.so}
[[ $LIB == /* ]] || LIB=$ROOT/$LIB
HAKSTAT=${HAKSTAT:-$BUILD/hakstat}
TMP=$(mktemp -d "${TMPDIR:-/tmp}/hakmem-test.XXXXXX")
export ROOT BUILD LIB HAKSTAT TMP

failures=0
to_end=()

leave() {
	local pid

	for pid in "${to_end[@]}"; do
		kill "$pid" 2>/dev/null
	done
	for pid in "${to_end[@]}"; do
		wait_for 5 gone "$pid" || kill -KILL "$pid" 2>/dev/null
	done
	rm -rf "$TMP"
}
trap leave EXIT
trap 'exit 1' INT TERM HUP

end_at_exit() { to_end+=("$1"); }

# A child of ours that has ended stays as a zombie until wait; it counts as gone.
gone() {
	[[ ! -e /proc/$1/stat ]] || grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}

ok() { printf 'ok - %s\n' "$1"; }

# not_ok NAME [WHY...]
not_ok() {
	printf 'not ok - %s\n' "$1"
	shift
	[[ $# -eq 0 ]] || printf '    %s\n' "$@"
	failures=$((failures + 1))
}

# skip NAME REASON: this one result; skip_all REASON: the whole test.
skip() { printf 'skip - %s: %s\n' "$1" "$2"; }

skip_all() {
	printf '%s\n' "$1"
	exit 77
}

# check NAME COMMAND...: ok if the command succeeds
check() {
	local name=$1

	shift
	if "$@"; then ok "$name"; else not_ok "$name" "failed: $*"; fi
}

# same NAME EXPECTED_FILE FILE
same() {
	if cmp -s "$2" "$3"; then
		ok "$1"
	else
		not_ok "$1" "the two outputs differ:"
		diff -a "$2" "$3" | head -n 20 | cut -c 1-200
	fi
}

finish() {
	[[ $failures -eq 0 ]]
	exit
}

need() {
	local tool

	for tool in "$@"; do
		command -v "$tool" >/dev/null || skip_all "$tool is not installed"
	done
}

need_lib() {
	[[ -r $LIB ]] || { echo "there is no $LIB"; exit 1; }
}

# wait_for SECONDS COMMAND...: until the command succeeds; false after that many seconds
wait_for() {
	local end=$((SECONDS + $1 + 1))

	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || return 1
		sleep 0.05
	done
}

preloaded() { LD_PRELOAD=$LIB "$@"; }

# True if process PID has the library mapped.
maps_lib() { grep -qF " $(readlink -f "$LIB")" "/proc/$1/maps"; }

# uses_lib NAME COMMAND...: runs the command under preload and has the dynamic linker say whose
# malloc every object got. A mapped library alone proves nothing: with a wrong symbol version it
# is loaded and never called. The command's output goes to $TMP/uses_lib.out.
uses_lib() {
	local name=$1 log=$TMP/bindings bound

	shift
	rm -f "$log".*
	# bound at start: threads that bind later write into each other's lines
	LD_BIND_NOW=1 LD_DEBUG=bindings LD_DEBUG_OUTPUT=$log preloaded "$@" >"$TMP/uses_lib.out" 2>&1
	bound=$(cat "$log".* 2>/dev/null | grep -aoE " to [^ ]+ \[[0-9]+\]: [a-z]+ symbol \`malloc'" |
		cut -d ' ' -f 3 | sort -u)
	rm -f "$log".*
	if [[ $bound == "$LIB" ]]; then
		ok "$name"
	else
		not_ok "$name" "malloc came from: ${bound:-nowhere}"
	fi
}

# interrupt PID: a tracer in the background, more than once: until it has a handler it ignores the
# signal, as all do that a shell starts with &. The caller waits for it.
interrupt() {
	for _ in {1..20}; do
		kill -INT "$1" 2>/dev/null || return 0
		sleep 0.5
	done
	kill -KILL "$1" 2>/dev/null
}
