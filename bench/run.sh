#!/usr/bin/env bash
# Compares allocators on the programs of bench/, each through LD_PRELOAD.
#
# usage: bench/run.sh [PATTERN]     only the cells whose "program arguments" match the regex
# Environment
#   SIZE=medium  column of bench/cells: small, medium or long
#   RUNS=5       timed runs of each cell, after one that is not counted
#   PEERS=       more allocators: "name=/path.so name=/path.so,VARIABLE=value,..."
#   ONLY=        only these allocators, by name: "glibc hakmem"
#   REF=glibc    the allocator ratios are to
#   STRACE=1     counts system calls for memory and waiting, in a run of their own; 0: does not
#   OUT=         build/bench/results, to which .csv and .svg are added
#
# The runs of the allocators alternate, so that a slow moment of the machine hits all of them; the
# figures are medians.
set -u

cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
RUNS=${RUNS:-5}
PEERS=${PEERS:-}
ONLY=${ONLY:-}
OUT=${OUT:-$BUILD/bench/results}
SIZE=${SIZE:-medium}
REF=${REF:-glibc}
pattern=${1:-.}
names=() libs=() envs=() cells=()
tmp=$(mktemp -d "${TMPDIR:-/tmp}/hakmem-bench.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM HUP

die() {
	echo "bench: $*" >&2
	exit 1
}

# add NAME PATH[,VARIABLE=value...]: an allocator, if it can be loaded and is wanted
add() {
	local path=${2%%,*} env=${2#"${2%%,*}"}

	[[ -z $ONLY || " $ONLY " == *" $1 "* ]] || return 0
	if [[ -n $path ]]; then
		path=$(readlink -f "$path")
		LD_PRELOAD=$path sed "" /proc/self/maps 2>/dev/null | grep -qF " $path" ||
			die "$1: $path cannot be preloaded"
	fi
	names+=("$1")
	libs+=("$path")
	envs+=("${env//,/ }")
}

# add_installed NAME SONAME: a peer from the system's library folders
add_installed() {
	local path

	path=$(/sbin/ldconfig -p | awk -v name="$2" '$1 == name { print $NF; exit }')
	if [[ -n $path ]]; then
		add "$1" "$path"
	else
		echo "note: $2 is not installed, so there is no column for $1"
	fi
}

find_allocators() {
	local peer

	[[ -r $BUILD/libhakmem.so ]] || die "there is no $BUILD/libhakmem.so; run make"
	add glibc ""
	add_installed mimalloc libmimalloc.so.2
	add_installed jemalloc libjemalloc.so.2
	add_installed tcmalloc libtcmalloc_minimal.so.4
	for peer in $PEERS; do
		[[ $peer == ?*=?* ]] || die "PEERS: '$peer' is not name=/path.so"
		add "${peer%%=*}" "${peer#*=}"
	done
	add hakmem "$BUILD/libhakmem.so"
	[[ " ${names[*]} " == *" $REF "* ]] || REF=${names[0]:-}
	[[ ${#names[@]} -gt 0 ]] || die "ONLY='$ONLY' leaves no allocator"
}

# path_of PROGRAM: a binary of ours, or a script here
path_of() {
	[[ $1 == *.sh ]] && echo "bench/$1" || echo "$BUILD/bench/$1"
}

# The cells of the chosen size, with T replaced by each number of threads.
list_cells() {
	awk -F ' *[|] *' -v size="$SIZE" '
		BEGIN { column = size == "small" ? 3 : size == "medium" ? 4 : size == "long" ? 5 : 0 }
		/^#/ || NF < 5 { next }
		{
			gsub(/ +$/, "", $1)
			sub(/ +$/, "", $5)
			if (!column || $column == "-") next
			n = split($2, threads, " ")
			for (i = 1; i <= n; i++) {
				args = $column
				if (threads[i] != "-") {
					args = " " args " "
					sub(/ T /, " " threads[i] " ", args)
					gsub(/^ | $/, "", args)
				}
				print $1, args
			}
		}' bench/cells
}

find_cells() {
	local cell path

	[[ $SIZE == small || $SIZE == medium || $SIZE == long ]] || die "SIZE must be small, medium or long"
	while read -r cell; do
		[[ $cell =~ $pattern ]] || continue
		path=$(path_of "${cell%% *}")
		[[ -x $path ]] || die "there is no $path; run make bench-bin"
		if [[ $path == *.sh ]] && ! "$path" ${cell#* } >"$tmp/out" 2>&1; then
			echo "note: '$cell' does not run here and is left out"
			continue
		fi
		cells+=("$cell")
	done < <(list_cells)
	[[ ${#cells[@]} -gt 0 ]] || die "no cell matches '$pattern'"
}

commit() {
	local id

	id=$(git rev-parse --short=12 HEAD 2>/dev/null) || { echo "none"; return; }
	git diff --quiet HEAD -- lib probes bench 2>/dev/null || id+=" with changes"
	echo "$id"
}

# Percent of all CPUs that something else uses now; we sleep meanwhile.
busy() {
	local a b

	read -ra a </proc/stat
	sleep 1
	read -ra b </proc/stat
	echo $((100 - 100 * (b[4] + b[5] - a[4] - a[5]) / (100 * $(nproc))))
}

quiet_or_say() {
	local percent

	percent=$(busy)
	((percent < 5)) || echo "WARNING: $1, other processes use $percent % of the CPUs: do not trust the figures"
}

heading() {
	local i version

	echo "machine    $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1), $(nproc) CPUs, $(awk '/^MemTotal/ { print int($2 / 1048576 + 0.5) " GiB" }' /proc/meminfo)"
	echo "kernel     $(uname -sr), transparent huge pages: $(sed 's/.*\[\(.*\)\].*/\1/' /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null)"
	echo "libc       $(ldd --version | head -n 1 | sed 's/^ldd //')"
	echo "commit     $(commit)"
	for i in "${!names[@]}"; do
		[[ -n ${libs[i]} ]] || continue
		version=$(dpkg-query -S "${libs[i]}" 2>/dev/null | cut -d: -f1 | head -n 1)
		[[ -n $version ]] && version=$(dpkg-query -W -f '${Package} ${Version}' "$version")
		printf '%-10s %s  %s\n' "${names[i]}" "${libs[i]}" "$version"
	done
	BUILD='' make -s --no-print-directory print-flags 2>/dev/null | sed 's/^/  /'
	echo "runs       $RUNS, alternating; medians, and in brackets the lowest and the highest"
	echo
}

# An allocator under which a program fails, or finds a broken block, has no figures in that cell.
declare -A failed=()

# one_run ALLOCATOR_INDEX CELL RECORD: appends "allocator<TAB>cell<TAB>metric<TAB>value" if RECORD
one_run() {
	local name=${names[$1]} cell=$2 argv

	[[ -z ${failed[$name $cell]:-} ]] || return 0
	read -ra argv <<<"$cell"
	# shellcheck disable=SC2086
	if ! env ${envs[$1]} "$BUILD/bench/measure" "$tmp/cost" "${libs[$1]}" "$(path_of "${argv[0]}")" "${argv[@]:1}" \
		>"$tmp/out" 2>"$tmp/err"; then
		failed[$name $cell]=$(tail -n 1 "$tmp/err")
		echo "FAILED: '$cell' on $name: ${failed[$name $cell]}"
		return 0
	fi
	[[ $3 == 1 ]] || return 0
	# what the program says about itself counts more than what was measured around it
	{
		tr ' ' '\n' <"$tmp/out" | sed -n 's/^\([a-z_]*\)=\([0-9.]*\)$/\1 \2/p'
		cat "$tmp/cost"
	} | awk -v name="$name" -v cell="$cell" '!seen[$1]++ { print name "\t" cell "\t" $1 "\t" $2 }' >>"$tmp/raw"
}

# A round has an order of its own: who ran before decides what a page of the machine costs.
shuffle() { # ROUND: into `order`
	local i k swap

	order=("${!names[@]}")
	RANDOM=$(($1 + 1))
	for ((i = ${#names[@]} - 1; i > 0; i--)); do
		k=$((RANDOM % (i + 1)))
		swap=${order[i]}
		order[i]=${order[k]}
		order[k]=$swap
	done
}

run_cell() {
	local cell=$1 round i order

	for i in "${!names[@]}"; do
		one_run "$i" "$cell" 0
	done
	for ((round = 0; round < RUNS; round++)); do
		shuffle "$round"
		for i in "${order[@]}"; do
			one_run "$i" "$cell" 1
		done
	done
}

# Calls for memory and waiting, program start included (about 20). Others run at full speed.
# An allocator that makes so many that 20 seconds do not suffice has no figure.
count_calls() {
	local i cell argv

	for i in "${!names[@]}"; do
		for cell in "$@"; do
			[[ $cell == *.sh* ]] && continue
			read -ra argv <<<"$cell"
			# shellcheck disable=SC2086
			timeout -s INT 20 env ${envs[i]} strace -f --seccomp-bpf -e trace=%memory,futex -c -o "$tmp/calls" \
				${libs[i]:+-E "LD_PRELOAD=${libs[i]}"} \
				"$(path_of "${argv[0]}")" "${argv[@]:1}" >"$tmp/out" 2>"$tmp/err" || continue
			awk -v p="${names[i]}"$'\t'"$cell"$'\t' '
				$1 !~ /^[0-9.]+$/ || $NF == "total" { next }
				$NF == "futex" { futex = $4; next }
				{ memory += $4 }
				END {
					print p "syscalls_memory\t" memory + 0
					print p "syscalls_futex\t" futex + 0
				}' "$tmp/calls" >>"$tmp/raw"
		done
	done
}

measure_all() {
	local cell n=0

	: >"$tmp/raw"
	echo "${#cells[@]} cells of size $SIZE"
	for cell in "${cells[@]}"; do
		n=$((n + 1))
		[[ -t 2 ]] && printf '\r[%d/%d] %-50s' "$n" "${#cells[@]}" "$cell" >&2
		run_cell "$cell"
	done
	[[ -t 2 ]] && printf '\r%-60s\r' '' >&2
	if [[ ${STRACE:-1} == 0 ]]; then
		:
	elif command -v strace >/dev/null; then
		count_calls "${cells[@]}"
	else
		echo "note: strace is not installed, so system calls are not counted"
	fi
}

# From the raw values: the CSV file, one table for each cell, and the geometric means.
report() {
	printf '%s\n' "${names[@]}" >"$tmp/names"
	printf '%s\n' "${cells[@]}" >"$tmp/cells"
	awk -F '\t' -v csv="$OUT.csv" -v ref="$REF" -f bench/report.awk "$tmp/names" "$tmp/cells" "$tmp/raw"
	awk -v ref="$REF" -f bench/plot.awk "$OUT.csv" >"$OUT.svg"
}

find_allocators
find_cells
mkdir -p "$(dirname "$OUT")"
heading
quiet_or_say "before the first run"
measure_all
report
quiet_or_say "after the last run"
echo
for cell in "${!failed[@]}"; do
	[[ $cell != hakmem\ * ]] || die "hakmem failed: ${cell#* }"
done
echo "all values: $OUT.csv, drawn: $OUT.svg; compare two with bench/compare"
