#!/usr/bin/env bash
# python3 with its own test modules, malloc for every object; the verdicts must equal a plain run.
# timeout: 240
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
need_lib

modules=(test_list test_dict test_json test_threading test_re test_bytes test_set test_gc
	test_array test_weakref test_fork1)

# The first python3 that brings a test suite: the one on PATH may be a wrapper script.
find_python() {
	local p

	for p in python3 /usr/bin/python3 /usr/local/bin/python3; do
		python=$("$p" -c 'import sys; print(sys.executable)' 2>/dev/null) || continue
		if "$python" -c 'import test.test_list, test.test_dict' 2>/dev/null; then
			return 0
		fi
	done
	return 1
}

find_python || skip_all "no python3 with its test modules (libpython3-testsuite)"

# One line for each module, in order: passed, or which of its tests failed; and how many ran.
verdicts() {
	local module log word

	for module in "${modules[@]}"; do
		"$python" -c "import test.$module" 2>/dev/null || continue
		log=$TMP/$module.$2.log
		word=failed
		(cd "$TMP" && PYTHONMALLOC=malloc LD_PRELOAD=$1 timeout 100 "$python" -m test -q -W \
			"$module" >"$log" 2>&1) && word=passed
		echo "$module $word $(grep -aoE '^(FAIL|ERROR): [A-Za-z0-9_]+' "$log" | sort -u | tr '\n' ' ')" \
			"$(grep -aoE 'Total tests: .*' "$log")"
	done
}

one_verdict() { grep -m 1 "^$1 " "$TMP/$2.verdicts"; }

compare() {
	local module plain ours

	for module in "${modules[@]}"; do
		plain=$(one_verdict "$module" plain) || continue
		ours=$(one_verdict "$module" hakmem)
		if [[ $plain == "$ours" ]]; then
			ok "$module: as in a plain run (${plain#* })"
		else
			not_ok "$module: plain ${plain#* }, under preload ${ours#* }" \
				"$(tail -n 15 "$TMP/$module.hakmem.log")"
		fi
	done
}

cat >"$TMP/mapped.py" <<'END'
import os, sys
sys.exit(0 if any(os.environ["LIB"] in line for line in open("/proc/self/maps")) else 1)
END
uses_lib "python3 takes its malloc from the library" "$python" -c 'print(sorted(range(1000))[-1])'
check "python3 maps the library" preloaded "$python" "$TMP/mapped.py"
verdicts "" plain >"$TMP/plain.verdicts" &
verdicts "$LIB" hakmem >"$TMP/hakmem.verdicts"
wait
check "at least six modules pass in a plain run" \
	test "$(grep -c passed "$TMP/plain.verdicts")" -ge 6
compare
finish
