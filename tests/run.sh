#!/usr/bin/env bash
# Runs tests and counts: tests/run.sh TEST...
#
# A test is an executable or a .sh file. Exit status 0: passed, 1: failed, 77: skipped, the reason
# on its last line. A test that prints lines "ok - name", "not ok - name" or "skip - name: reason"
# (a number after ok is allowed) is counted by them instead.
# In the first five lines of a script, or of the C source of a test:
#   timeout: N        seconds, 300 by default
#   alone: why        not beside others: it changes or counts what is the machine's
# Environment: JOBS= as many at once as there are CPUs; ALLOW_SKIP=1 lets tests be skipped even as root on a kernel with BPF, where
# nothing is missing and a skip hides a defect. Logs are in build/test-logs/.
set -u

cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build}
JOBS=${JOBS:-$(nproc)}
logs=build/test-logs
passed=0 failed=0 skipped=0
has_bpf=0
[[ $(id -u) -eq 0 && -r /sys/kernel/btf/vmlinux ]] && has_bpf=1
[[ ${ALLOW_SKIP:-0} == 1 ]] && has_bpf=0

source_of() {
	local base=${1##*/}

	case $1 in
	*.sh) echo "$1" ;;
	*) echo "tests/t_${base#*_}.c" ;;
	esac
}

# header FILE KEY: the value of "KEY: value" in the first five lines
header() {
	[[ -r $1 ]] || return 0
	head -n 5 "$1" | sed -n "s/^.*[^a-z]$2:[[:space:]]*\([a-z0-9]*\).*/\1/p" | head -n 1
}

log_of() { echo "$logs/${1//\//_}.log"; }

seconds_since() {
	local now=${EPOCHREALTIME/[.,]/}

	printf '%d.%02d' $(((now - $1) / 1000000)) $(((now - $1) / 10000 % 100))
}

# Leaves the output in the log and "status seconds limit" beside it.
run_one() {
	local test=$1 log limit start rc command=("$1")

	log=$(log_of "$test")
	limit=$(header "$(source_of "$test")" timeout)
	start=${EPOCHREALTIME/[.,]/}
	if [[ $test == *.sh ]]; then
		command=(bash "$test")
	elif [[ $test != /* ]]; then
		command=("./$test")
	fi
	CMOCKA_MESSAGE_OUTPUT=TAP timeout -k 5 "${limit:-300}" "${command[@]}" >"$log" 2>&1 </dev/null
	rc=$?
	echo "$rc $(seconds_since "$start") ${limit:-300}" >"$log.result.new"
	mv "$log.result.new" "$log.result"
}

count_lines() { grep -acE "$1" "$2"; }

tail_of() { tail -n "${2:-20}" "$1" | sed 's/^/        /'; }

# A skip where everything a test can need is there is a failure.
take_skips() {
	if ((has_bpf)); then
		failed=$((failed + $1))
	else
		skipped=$((skipped + $1))
	fi
}

# verdict WORD TEST SECONDS [DETAIL]
verdict() { printf '%-5s %7ss  %s%s\n' "$1" "$3" "$2" "${4:+  ($4)}"; }

# failures_of LOG: what failed, each with what the test says of it; false if the log names nothing
failures_of() {
	awk '/^not ok / { found = 1; left = 13 }
		/^(ok|skip) / { left = 0 }
		left-- > 0 { print "        " $0 }
		END { exit !found }' "$1"
}

report_lines() {
	local test=$1 log=$2 rc=$3 took=$4 good=$5 bad=$6 skips=$7 word=ok detail

	[[ $rc -ne 0 && $rc -ne 77 && $bad -eq 0 ]] && bad=1
	detail="$good passed, $bad failed, $skips skipped"
	[[ $rc -eq 124 || $rc -eq 137 ]] && detail+="; timed out"
	((bad || (skips && has_bpf))) && word=FAIL detail+="; $log"
	passed=$((passed + good)) failed=$((failed + bad))
	take_skips "$skips"
	verdict $word "$test" "$took" "$detail"
	[[ $skips -eq 0 ]] || grep -aE '^skip - |^ok .*# SKIP' "$log" | sed 's/^/        /'
	[[ $bad -eq 0 ]] || failures_of "$log" || tail_of "$log"
	[[ $rc -ne 124 && $rc -ne 137 ]] || tail_of "$log"
}

report_whole() {
	local test=$1 log=$2 rc=$3 took=$4 limit=$5

	case $rc in
	0)
		passed=$((passed + 1))
		verdict ok "$test" "$took"
		;;
	77)
		take_skips 1
		verdict "$( ((has_bpf)) && echo FAIL || echo skip)" "$test" "$took" \
			"skipped: $(tail -n 1 "$log")"
		;;
	*)
		failed=$((failed + 1))
		[[ $rc -eq 124 || $rc -eq 137 ]] && rc="$rc, timed out after $limit s"
		verdict FAIL "$test" "$took" "status $rc; $log"
		tail_of "$log"
		;;
	esac
}

report() {
	local log rc took limit good bad skips

	log=$(log_of "$1")
	read -r rc took limit <"$log.result"
	rm -f "$log.result"
	skips=$(count_lines '^skip - .|^ok .*# SKIP' "$log")
	good=$(($(count_lines '^ok ([0-9]+ )?- .' "$log") - $(count_lines '^ok .*# SKIP' "$log")))
	bad=$(count_lines '^not ok ([0-9]+ )?- .' "$log")
	if ((good + bad + skips)); then
		report_lines "$1" "$log" "$rc" "$took" "$good" "$bad" "$skips"
	else
		report_whole "$1" "$log" "$rc" "$took" "$limit"
	fi
}

# Reports in the order given, each as soon as it and those before it are done.
run_parallel() {
	local test running=0 reported=0

	for test in "$@" ""; do
		if [[ -n $test ]]; then
			((running < JOBS)) || { wait -n; running=$((running - 1)); }
			run_one "$test" &
			running=$((running + 1))
		else
			wait
		fi
		while ((reported < $#)) && [[ -e $(log_of "${@:reported+1:1}").result ]]; do
			reported=$((reported + 1))
			report "${@:reported:1}"
		done
	done
}

main() {
	local test together=() alone=()

	for test in "$@"; do
		if [[ -n $(header "$(source_of "$test")" alone) ]]; then
			alone+=("$test")
		else
			together+=("$test")
		fi
	done
	run_parallel "${together[@]}"
	for test in "${alone[@]}"; do
		run_one "$test"
		report "$test"
	done
	((has_bpf)) && echo "(root and BPF present: a skip counts as a failure; ALLOW_SKIP=1 allows it)"
	echo "$passed passed, $failed failed, $skipped skipped"
	((failed == 0))
}

[[ $# -gt 0 ]] || { echo "usage: tests/run.sh TEST..." >&2; exit 2; }
mkdir -p "$logs"
rm -f "$logs"/*.result*
main "$@"
