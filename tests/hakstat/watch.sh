# shellcheck shell=bash
# What the tests of hakstat share: a program with known counts under preload, started and told
# when to go, and the moment at which a watcher is attached to it.

[[ $(id -u) -eq 0 ]] || skip_all "needs root"
CC=${CC:-gcc}
need python3 readelf
need_lib
[[ -x $HAKSTAT ]] || { echo "there is no $HAKSTAT"; exit 1; }

compile_known() { # OUT ARGS...
	"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -fno-builtin "$ROOT/tests/hakstat/known.c" -o "$@" -pthread ||
		{ echo "hakstat/known.c does not compile"; exit 1; }
}
compile_known "$TMP/known"
compile_known "$TMP/known.static" -static "$BUILD/libhakmem.a"
# a copy of the library: no other process of the machine has it, so that its sites are ours
SO=$TMP/libhakmem.so
cp "$LIB" "$SO"
known_pid=

# start_known PROGRAM SCENARIO [WRAPPER...]: sets known_pid once the program waits. Its stdin is fd 7.
start_known() {
	local program=$1 scenario=$2 preload=$SO
	shift 2

	site_file=$SO
	[[ $program == *.static ]] && preload='' site_file=$program
	rm -f "$TMP/counts" "$TMP/counts.pid" "$TMP/fifo"
	mkfifo "$TMP/fifo"
	"$@" env LD_PRELOAD="$preload" "$program" "$scenario" "$TMP/counts" <"$TMP/fifo" 2>"$TMP/known.err" &
	end_at_exit $!
	exec 7>"$TMP/fifo"
	wait_for 20 test -s "$TMP/counts.pid" || { not_ok "$scenario starts" "$(cat "$TMP/known.err")"; return 1; }
	known_pid=$(cat "$TMP/counts.pid")
}

go() { echo >&7; }

end_known() {
	exec 7>&-
	wait_for 10 gone "$known_pid"
}

# How many probe sites hold a breakpoint.
attached_sites() { python3 "$ROOT/tests/hakstat/sites.py" "$1" "$site_file" "${site_copy:-$site_file}"; }
all_attached() { [[ $(attached_sites "$1") =~ ^([1-9][0-9]*)\ ([0-9]+)$ && ${BASH_REMATCH[1]} == "${BASH_REMATCH[2]}" ]]; }
some_attached() { [[ $(attached_sites "$1") =~ ^[1-9] ]]; }
none_attached() { [[ $(attached_sites "$1") =~ ^0\ [1-9] ]]; }

# In poll or the like: it has looked at the counters, and waits for the interval to pass.
# shellcheck disable=SC2317 # called by wait_for
waits() { [[ $(cat "/proc/$1/syscall" 2>/dev/null) =~ ^(7|271|230|35|232|281)\  ]]; }

# wait_attached PID WATCHER: it is on the sites it wants, and the first look has been taken
wait_attached() {
	wait_for 20 some_attached "$1" || return 1
	if [[ -r /proc/self/syscall ]]; then wait_for 20 waits "$2"; else sleep 1; fi
}

# compare NAME KNOWN JSON [only]
compare() {
	local name=$1 wrong

	shift
	wrong=$(python3 "$ROOT/tests/hakstat/compare.py" "$@" 2>&1)
	if [[ -z $wrong ]]; then ok "$name"; else not_ok "$name" "$(head -n 8 <<<"$wrong")" "$(head -n 3 "$TMP/err")"; fi
}

valid_json() { python3 -m json.tool "$1" >/dev/null; }
