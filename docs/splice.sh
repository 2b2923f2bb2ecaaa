#!/usr/bin/env bash
# splice.sh FILE GEN: puts the option table, as GEN prints it, between the marks in FILE.
set -eu
table=$("$2" options)
awk -v table="$table" '
	/end of options/ { skip = 0 }
	!skip { print }
	/options: made from/ { print table; skip = 1 }
' "$1" > "$1.new"
mv "$1.new" "$1"
