#!/usr/bin/env bash
# How much memory allocators take for what is live: every pattern of bench/bounded.c under each, a
# table in Markdown, every sample in build/bench/bounded.csv, drawn as build/bench/bounded.svg.
#
# usage: bench/bounded.sh [PATTERN...]
# Environment
#   SIZE=medium  small: what the tests run; medium: minutes; long: a million threads, an hour
#   PEERS=       more allocators: "name=/path.so name=/path.so,VARIABLE=value,..."
#   ONLY=        only these allocators, by name: "glibc hakmem"
#   OUT=         build/bench/bounded, to which .csv and .svg are added
set -u

cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
OUT=${OUT:-$BUILD/bench/bounded}
SIZE=${SIZE:-medium}
names=() libs=() envs=()

add() { # NAME PATH[,VARIABLE=value...]
	local path=${2%%,*} env=${2#"${2%%,*}"}

	[[ -z ${ONLY:-} || " $ONLY " == *" $1 "* ]] || return 0
	names+=("$1")
	libs+=("${path:+$(readlink -f "$path")}")
	envs+=("${env//,/ }")
}

add_installed() { # NAME SONAME
	local path

	path=$(/sbin/ldconfig -p | awk -v name="$2" '$1 == name { print $NF; exit }')
	if [[ -n $path ]]; then
		add "$1" "$path"
	else
		echo "note: $2 is not installed, so there is no column for $1"
	fi
}

# MiB, rounds and threads of a pattern
arguments() {
	case $SIZE.$1 in
	small.threads) echo 32 30 4 ;;
	small.pipe) echo 32 30 4 ;;
	small.wave | small.mixes) echo 64 12 ;;
	small.shift) echo 32 2 ;;
	small.pin) echo 32 1 ;;
	small.robson) echo 32 ;;
	medium.threads) echo 128 200 4 ;;
	medium.pipe) echo 128 300 4 ;;
	medium.wave | medium.mixes) echo 256 12 ;;
	medium.shift) echo 128 6 ;;
	medium.pin) echo 128 3 ;;
	medium.robson) echo 128 ;;
	long.threads) echo 128 1000 4 ;;
	long.pipe) echo 128 4000 4 ;;
	long.wave | long.mixes) echo 1024 24 ;;
	long.shift) echo 256 12 ;;
	long.pin) echo 256 6 ;;
	long.robson) echo 256 ;;
	*) echo "bench: no size $SIZE of pattern $1" >&2 ;;
	esac
}

one() { # ALLOCATOR_INDEX PATTERN
	local args

	args=$(arguments "$2")
	[[ -n $args ]] || exit 1
	# shellcheck disable=SC2086
	env ${envs[$1]} ${libs[$1]:+"LD_PRELOAD=${libs[$1]}"} "$BUILD/bench/bounded" "$2" $args |
		awk -v name="${names[$1]}" -v pattern="$2" '
			NF == 3 { print name "," pattern "," $1 "," $2 "," $3 }
			/=/ { gsub(/[a-z_]*=/, ""); print name "," pattern ",sum," $1 "," $2 "," $3 "," $4 "," $5 }' \
			>>"$OUT.csv"
}

table() {
	awk -F, '
		$3 != "sum" { next }
		!($2 in seen) { seen[$2] = 1; patterns[++n] = $2 }
		!($1 in known) { known[$1] = 1; names[++m] = $1 }
		{
			live[$2] = $4 > live[$2] ? $4 : live[$2]
			cell[$2, $1] = sprintf("%.2f (%+.0f, %.0f)", $5 / $4, ($7 - $6) / 1024, $8 / 1024)
		}
		END {
			printf "| pattern | live, MiB |"
			for (a = 1; a <= m; a++) printf " %s |", names[a]
			printf "\n|---|---|"
			for (a = 1; a <= m; a++) printf "---|"
			print ""
			for (p = 1; p <= n; p++) {
				printf "| %s | %.0f |", patterns[p], live[patterns[p]] / 1024
				for (a = 1; a <= m; a++) printf " %s |", cell[patterns[p], names[a]]
				print ""
			}
		}' "$OUT.csv"
}

add glibc ""
add_installed mimalloc libmimalloc.so.2
add_installed jemalloc libjemalloc.so.2
add_installed tcmalloc libtcmalloc_minimal.so.4
for peer in ${PEERS:-}; do add "${peer%%=*}" "${peer#*=}"; done
add hakmem "$BUILD/libhakmem.so"
mkdir -p "$(dirname "$OUT")"
: >"$OUT.csv"
[[ $# -gt 0 ]] || set -- threads pipe wave shift mixes pin robson
for pattern in "$@"; do
	for i in "${!names[@]}"; do one "$i" "$pattern"; done
done
echo "Peak of RSS / peak of live bytes; in brackets, MiB: last third's peak - middle third's, RSS at rest"
echo
table
awk -f bench/bounded.awk "$OUT.csv" >"$OUT.svg"
echo
echo "all samples: $OUT.csv, drawn: $OUT.svg"
