#!/usr/bin/env bash
# timeout: 400
# What hakstat does where something fails: every kind of system call, full disks, closed and
# limited files, a /proc that hides. The right exit code, a line that says why, nothing half
# done, no crash, no hang. FAULTS=all: every call, not a choice.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CC=${CC:-gcc}
PATH=$PATH:/usr/sbin
need python3 unshare setpriv
need_lib

# In namespaces of its own: processes are those of the test, mounts end with it.
if [[ ${HAKFAULTS_INSIDE:-} != 1 ]]; then
	unshare -m true 2>/dev/null || skip_all "namespaces are needed"
	HAKFAULTS_INSIDE=1 exec unshare -m -p -f --mount-proc bash "$0"
fi

for helper in inject known_heap; do
	"$CC" -std=gnu11 -D_GNU_SOURCE -O1 -fno-builtin "$ROOT/tests/helpers/$helper.c" -o "$TMP/$helper" -pthread ||
		{ not_ok "helpers/$helper.c compiles"; finish; }
done
cat >"$TMP/command.c" <<'END'
#include <stdlib.h>
int main(void)
{
	for (int i = 0; i < 1000; i++)
		free(malloc(100));
	return 0;
}
END
"$CC" -O1 -fno-builtin "$TMP/command.c" -o "$TMP/command"

LD_PRELOAD=$LIB "$TMP/known_heap" >"$TMP/ready" &
pid=$!
end_at_exit $pid
wait_for 20 grep -q ready "$TMP/ready" || not_ok "the target starts"

export HAKMEM_LIB=$LIB
quota=5
[[ ${FAULTS:-} == all ]] && quota=0
python3 "$ROOT/tests/helpers/hakfaults.py" "$HAKSTAT" "$TMP/inject" $pid "$TMP/command" "$TMP" $quota >"$TMP/faults"
cat "$TMP/faults"
failures=$((failures + $(grep -c '^not ok' "$TMP/faults")))
check "nothing of -c is left behind" test -z "$(pgrep -x command)"

# code NAME CODE TEXT COMMAND...: ends within seconds with that code and a message like that, or none
code() {
	local name=$1 expected=$2 text=$3 status

	shift 3
	timeout -k 1 15 "$@" >"$TMP/out" 2>"$TMP/err" </dev/null
	status=$?
	if [[ $status -eq $expected && $(wc -l <"$TMP/err") -le 2 ]] && if [[ -n $text ]]; then grep -Eq "$text" "$TMP/err"; else test ! -s "$TMP/err"; fi; then
		ok "$name"
	else
		not_ok "$name" "code $status: $(head -n 3 "$TMP/err")"
	fi
}

commands=("list" "probes -p $pid" "doctor -p $pid" "dump -p $pid" "stat -p $pid -d 0.1"
	"top -p $pid -b -n 1 -d 0.1" "--help")
for c in "${commands[@]}"; do
	code "$c >/dev/full" 1 'cannot write.*No space left' bash -c "'$HAKSTAT' $c >/dev/full"
	code "$c, stdout closed" 1 'cannot write.*Bad file descriptor' bash -c "'$HAKSTAT' $c >&-"
done
# files that hakstat opens do not take the place of those that were closed
code "all closed: the report is where it should be" 0 '' \
	bash -c "'$HAKSTAT' stat -p $pid -d 0.1 --json -o '$TMP/report' <&- >&- 2>&-"
check "it is whole" python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$TMP/report"

# A report that cannot be written: before the interval, where that can be known.
code "-o in a folder that is not there" 1 'cannot write /nonexistent/x: No such file' \
	"$HAKSTAT" stat -p $pid -d 600 -o /nonexistent/x
code "-o /dev/full" 1 'cannot write /dev/full: No space left' "$HAKSTAT" stat -p $pid -d 0.1 -o /dev/full
mkdir "$TMP/tiny"
mount -t tmpfs -o size=4k none "$TMP/tiny"
code "-o on a full disk" 1 "cannot write $TMP/tiny/report: No space left on device; it is left empty" \
	"$HAKSTAT" stat -p $pid -d 0.1 --json -o "$TMP/tiny/report"
check "nothing half written is left" test ! -s "$TMP/tiny/report"
umount "$TMP/tiny"
code "-o above the limit of a file's size" 1 "cannot write $TMP/limited: File too large; it is left empty" \
	bash -c "ulimit -f 1; '$HAKSTAT' stat -p $pid -d 0.1 --json -o '$TMP/limited'"
check "nothing half written is left there" test ! -s "$TMP/limited"

# Fewer files than it takes: down to none.
wrong=()
for n in 3 4 5 6 7 8 9 10 12 16; do
	for c in "stat -p $pid -d 0.1 --json" "list --json" "stat -c $TMP/command --json"; do
		timeout -k 1 15 bash -c "ulimit -n $n; exec '$HAKSTAT' $c" >"$TMP/out" 2>"$TMP/err"
		status=$?
		case $status in
		0) python3 -c 'import json, sys; json.load(sys.stdin)' <"$TMP/out" || wrong+=("$n files, $c: no whole output") ;;
		[1-4]) grep -q '^hakstat: ' "$TMP/err" || wrong+=("$n files, $c: code $status without a word") ;;
		127) [[ $n -eq 3 ]] || wrong+=("$n files, $c: $(head -n 1 "$TMP/err")") ;; # the dynamic linker's
		*) wrong+=("$n files, $c: ended with $status") ;;
		esac
	done
done
check "few open files (ulimit -n): an end that says why${wrong[*]+: ${wrong[*]}}" test ${#wrong[@]} -eq 0
code "no locked memory (ulimit -l 0): works" 0 '' bash -c "ulimit -l 0; '$HAKSTAT' stat -p $pid -d 0.1"

# Who may not see it.
mount -o remount,hidepid=2 /proc
chmod 755 "$TMP"
other=(setpriv --reuid 65534 --regid 65534 --clear-groups)
install -m 755 "$HAKSTAT" "$TMP/hakstat"
code "hidepid: a process that /proc hides is there" 4 'hidepid' "${other[@]}" "$TMP/hakstat" stat -p $pid -d 0.1
code "hidepid: one that is not there is not" 3 'no process 4000' "${other[@]}" "$TMP/hakstat" stat -p 4000 -d 0.1
code "hidepid: list" 0 '' "${other[@]}" "$TMP/hakstat" list
check "hidepid: list says that it may not see all" grep -q 'none that you may look into' "$TMP/out"
code "hidepid: root sees all" 0 '' "$HAKSTAT" stat -p $pid -d 0.1
mount -t tmpfs none /proc
code "no /proc: list says so" 1 '/proc is not mounted' "$HAKSTAT" list
code "no /proc: stat says so" 4 '/proc does not show it' "$HAKSTAT" stat -p $pid -d 0.1
umount /proc
finish
