#!/usr/bin/env bash
# What allocators do with the programs of tests/misuse: a table in Markdown.
#   bench/hardening.sh "name=/path.so,VARIABLE=value" "name=" ...
# Without a path: the system's; hakmem comes by itself.
# says: ended by the allocator, with a line; stops: ended by a signal without one; warns: a line,
# and the program goes on; .: goes on, silently. Each is run 5 times; the weakest counts, and
# "says 3/5" means that the other two went on.
set -u

cd "$(dirname "$0")/.." || exit 1
LIB=$(readlink -f "${BUILD:-build}/libhakmem.so") || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
ulimit -c 0

outcome() { # PROGRAM ENVIRONMENT...
	local program=$1 status

	shift
	bash -c 'env "$@" >"$OUT" 2>"$ERR"; exit $?' - "$@" timeout 20 "$program" 2>/dev/null
	status=$?
	if [[ $status -gt 128 && -s $ERR ]]; then echo says
	elif [[ $status -gt 128 ]]; then echo stops
	elif [[ $status -eq 124 ]]; then echo hangs
	elif [[ -s $ERR ]]; then echo warns
	else echo .; fi
}

of_five() { # PROGRAM ENVIRONMENT...
	for _ in 1 2 3 4 5; do outcome "$@"; done | sort | uniq -c | awk '
		{ n[$2] = $1; kinds++ }
		END {
			if (kinds == 1) { for (k in n) print k; exit }
			for (k in n) if (k != ".") s = s (s ? ", " : "") k " " n[k] "/5"
			print s
		}'
}

row() { # SOURCE
	local program columns="" entry env

	program=$tmp/$(basename "$1" .c)
	gcc -std=gnu11 -D_GNU_SOURCE -O1 -w -fno-builtin "$1" -o "$program" -pthread || exit 1
	columns+=" $(of_five "$program" "LD_PRELOAD=$LIB") |"
	columns+=" $(of_five "$program" "LD_PRELOAD=$LIB" HAKMEM_SECURE=1) |"
	for entry in "${peers[@]}"; do
		entry=${entry#*=}
		IFS=, read -ra env <<<"LD_PRELOAD=$entry"
		columns+=" $(of_five "$program" "${env[@]}") |"
	done
	echo "| $(basename "$1" .c | tr _ ' ') |$columns"
}

export OUT=$tmp/out ERR=$tmp/err
peers=("$@")
printf '| misuse | hakmem | hakmem, secure |'
for entry in "${peers[@]}"; do printf ' %s |' "${entry%%=*}"; done
printf '\n|---|---|---|'
for entry in "${peers[@]}"; do printf -- '---|'; done
echo
for source in tests/misuse/*.c tests/misuse/secure/*.c; do row "$source"; done | tee "$tmp/rows"
awk -F ' *[|] *' '
	{ for (i = 3; i < NF; i++) if ($i ~ /^(says|stops)$/) n[i]++; else if ($i !~ /^[.]$/) some[i]++ }
	END {
		printf "| **always ended, of %d** (and sometimes, or warned of) |", NR
		for (i = 3; i < NF; i++) printf " %d%s |", n[i], some[i] ? sprintf(" (%d)", some[i]) : ""
		print ""
	}' "$tmp/rows"
