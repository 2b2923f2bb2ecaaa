#!/usr/bin/env bash
# Fuzzes with clang's libFuzzer:
#   tests/fuzz/run.sh SECONDS [NEW]  the heap, normal and with HAKMEM_SECURE=1, and hakstat's parsers
#   tests/fuzz/run.sh minimise       what inputs found so far reach goes into tests/fuzz/corpus
# Needs build/fuzz (make fuzz-bin). New inputs go to NEW (build/fuzz/new), one that fails too.
set -u
cd "$(dirname "$0")/../.." || exit 1
new=${2:-build/fuzz/new}

# Target, share of the time in percent, HAKMEM_SECURE
runs='heap 40 0
heap 40 1
dump 10 0
file 5 0
profile 5 0'

fuzz() {
	local target share secure seconds failed=0

	while read -r target share secure; do
		seconds=$((($1 * share + 99) / 100))
		mkdir -p "$new/$target"
		echo "== $target, HAKMEM_SECURE=$secure, $seconds s"
		HAKMEM_SECURE=$secure build/fuzz/fuzz-$target -max_total_time=$seconds \
			-max_len=4096 -len_control=20 -timeout=120 -rss_limit_mb=4096 -print_final_stats=1 -verbosity=0 \
			-artifact_prefix="$new/$target-failed-" "$new/$target" \
			"tests/fuzz/corpus/$target" </dev/null || failed=1
	done <<<"$runs"
	return $failed
}

# The coverage of both modes by as few inputs as do it.
minimise() {
	local target share secure

	rm -rf build/fuzz/minimal
	while read -r target share secure; do
		mkdir -p "build/fuzz/minimal/$target"
		HAKMEM_SECURE=$secure build/fuzz/fuzz-$target -merge=1 -use_counters=0 -rss_limit_mb=4096 -max_len=16384 -verbosity=0 \
			"build/fuzz/minimal/$target" "tests/fuzz/corpus/$target" "$new/$target" \
			</dev/null || return
	done <<<"$runs"
	for target in heap dump file profile; do
		rm -rf "tests/fuzz/corpus/$target"
		cp -r "build/fuzz/minimal/$target" tests/fuzz/corpus/
	done
	du -cb tests/fuzz/corpus/*/* | tail -n 1
}

case ${1:-} in
minimise) minimise ;;
[1-9]*) fuzz "$1" ;;
*)
	sed -n 's/^# \{0,1\}//p' "$0" | tail -n +2 >&2
	exit 2
	;;
esac
