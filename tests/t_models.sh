#!/usr/bin/env bash
# timeout: 240
# parallel: yes
# The models of the lock-free protocols (tests/models/*.pml), every interleaving of each: they
# hold, and every variant their heads list as broken is found to be.
. "$(dirname "$0")/lib.sh"
need spin gcc
cd "$TMP" || exit 1

# explore MODEL VARIANT: leaves what pan says in pan.out
explore() {
	local optimise=-O1 # variants fail early: compiling them is what takes time

	[[ -z $2 ]] || optimise=-O0
	rm -f pan pan.out
	spin ${2:+-D"$2"} -a "$ROOT/tests/models/$1.pml" >spin.out 2>&1 &&
		gcc $optimise -w -DSAFETY -o pan pan.c 2>>spin.out &&
		./pan -m10000 -w20 -n >pan.out 2>&1
}

# The search was complete and found nothing.
holds() {
	explore "$1" "" && grep -q 'errors: 0' pan.out &&
		! grep -qiE 'max search depth|out of memory|not completed' pan.out
}

# found MODEL VARIANT KIND
found() {
	explore "$1" "$2" && grep -q 'errors: 1' pan.out && grep -q "^pan:1: .*$3" pan.out
}

kind_of() {
	case $1 in
	assertion) echo 'assertion violated' ;;
	end.state) echo 'invalid end state' ;;
	esac
}

try_model() {
	local model=$1 variant kind states

	if holds "$model"; then
		states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' pan.out)
		ok "$model holds in every interleaving ($states states)"
	else
		not_ok "$model holds in every interleaving" "$(tail -n 30 spin.out pan.out)"
	fi
	while read -r variant kind; do
		if found "$model" "$variant" "$(kind_of "$kind")"; then
			ok "$model broken is found to be: $variant"
		else
			not_ok "$model broken is found to be: $variant" \
				"$(tail -n 30 spin.out pan.out)"
		fi
	done < <(sed -n 's/^ \* broken: \([A-Z_]*\)  *\([a-z.]*\) .*/\1 \2/p' \
		"$ROOT/tests/models/$model.pml")
}

# Every variant a model knows of is listed in its head, and the other way round.
lists_all() {
	local model=$ROOT/tests/models/$1.pml

	diff <(sed -n 's/^ \* broken: \([A-Z_]*\) .*/\1/p' "$model" | sort -u) \
		<(sed -nE 's/^#ifn?def ([A-Z_]+)$/\1/p' "$model" | sort -u)
}

for model in "$ROOT"/tests/models/*.pml; do
	model=${model##*/}
	model=${model%.pml}
	check "$model lists its variants" lists_all "$model"
	try_model "$model"
done
finish
