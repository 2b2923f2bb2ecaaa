#!/usr/bin/env bash
# timeout: 480
# The fuzz targets, under AddressSanitizer and UBSan: what the corpus holds, what forty seconds
# find, and that what is planted is found. A real run: make fuzz FUZZ_SECONDS=3600
. "$(dirname "$0")/lib.sh"
need clang
cd "$ROOT" || exit 1
fuzz=build/fuzz
corpus=tests/fuzz/corpus

if make --no-print-directory fuzz-bin >"$TMP/make" 2>&1; then
	ok "the fuzz targets build"
else
	not_ok "the fuzz targets build" "$(tail "$TMP/make")"
	finish
fi

# passes NAME COMMAND...: what it says of a failure
passes() {
	local name=$1

	shift
	if "$@" >"$TMP/out" 2>&1 </dev/null; then
		ok "$name"
	else
		not_ok "$name" "$(grep -aE '^fuzz:|hakmem:|ERROR|SUMMARY|Base64' "$TMP/out" | head)"
	fi
}

replay() { HAKMEM_SECURE=$2 "$fuzz/fuzz-$1" -runs=0 -artifact_prefix="$TMP/" "$corpus/$1"; }

# finds BUG MESSAGE: starting from nothing, within so many inputs
finds() {
	mkdir "$TMP/plant-$1"
	if PLANT=$1 HAKMEM_SECURE=0 "$fuzz/fuzz-heap-plant" -artifact_prefix="$TMP/" -seed=1 \
		-max_len=64 -len_control=0 -runs=100000 "$TMP/plant-$1" >"$TMP/out" 2>&1 </dev/null; then
		not_ok "a planted bug is found: $1" "100000 inputs found nothing"
	elif grep -aq "^fuzz: $2" "$TMP/out"; then
		ok "a planted bug is found: $1"
	else
		not_ok "a planted bug is found: $1" "$(tail -n 20 "$TMP/out")"
	fi
}

bytes=$(du -cb $corpus/*/* | tail -n 1 | cut -f 1)
check "the corpus is there, below 200 KiB" test "$bytes" -gt 1000 -a "$bytes" -lt 204800
passes "the heap's corpus" replay heap 0
passes "the heap's corpus, HAKMEM_SECURE=1" replay heap 1
passes "the corpus of hakstat's walk through a heap" replay dump 0
passes "the corpus of hakstat's files" replay file 0
passes "the corpus of hakstat's counters" replay counters 0
passes "the corpus of profiles" replay profile 0
passes "inputs that failed once: the walk through a heap" "$fuzz/fuzz-dump" -runs=0 \
	-artifact_prefix="$TMP/" tests/fuzz/found/dump
passes "40 s of fuzzing" bash tests/fuzz/run.sh 40 "$TMP/new"
finds contents 'contents of a block changed'
finds overlap 'two blocks overlap'
finds zero "calloc's memory is not zero"
finds usable 'usable size below the size'
finds lost 'the library counts other blocks'
finds errno 'errno changed by free'
finds align 'misaligned'
finish
