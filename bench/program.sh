#!/usr/bin/env bash
# One run of a real program on the allocator in LD_PRELOAD, which is for that program alone; ends
# with the line bench/run.sh reads. Exit status 77: the program is not installed.
#
# usage: bench/program.sh redis|sqlite|python|gcc|lua|perl [SIZE]
set -u

lib=${LD_PRELOAD:-}
unset LD_PRELOAD
name=${1:?} size=${2:-1}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/hakmem-program.XXXXXX")
server=
cleanup() {
	[[ -n $server ]] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
	rm -rf "$tmp"
}
trap cleanup EXIT

have() { command -v "$1" >/dev/null || exit 77; }
now() { date +%s.%N; }
with_lib() { env ${lib:+"LD_PRELOAD=$lib"} "$@"; }
hz=$(getconf CLK_TCK)

# report OPS START [RSS_KIB CPU_S]
report() {
	awk -v name="$name" -v ops="$1" -v start="$2" -v end="$(now)" -v rss="${3:-}" -v cpu="${4:-}" 'BEGIN {
		s = end - start
		printf "program name=%s ops=%d seconds=%.6f ops_per_s=%.3f", name, ops, s, ops / s
		if (rss != "") printf " peak_rss_kib=%d cpu_s=%.6f", rss, cpu
		print ""
	}'
}

run_redis() {
	local sock=$tmp/sock n=$((60000 * size)) start cpu rss

	have redis-server
	have redis-benchmark
	(
		[[ -n $lib ]] && export LD_PRELOAD=$lib
		exec redis-server --port 0 --unixsocket "$sock" --save '' --appendonly no --dir "$tmp"
	) >"$tmp/log" 2>&1 &
	server=$!
	for ((i = 0; i < 100; i++)); do
		[[ -S $sock ]] && break
		sleep 0.05
	done
	start=$(now)
	for bytes in 16 300 4000 40000; do
		redis-benchmark -s "$sock" -q -n $((n / (1 + bytes / 4000))) -c 20 -P 16 -r 20000 -d $bytes \
			-t set,get,lpush,lpop,hset >"$tmp/out" 2>&1 || exit 1
	done
	rss=$(awk '/^VmHWM/ { print $2 }' "/proc/$server/status")
	cpu=$(awk -v hz="$hz" '{ print ($14 + $15) / hz }' "/proc/$server/stat")
	report $((n * 5 * 4)) "$start" "$rss" "$cpu"
}

run_sqlite() {
	local start

	have sqlite3
	start=$(now)
	with_lib sqlite3 :memory: >"$tmp/out" <<-SQL || exit 1
		create table t(a int, b text, c blob);
		begin;
		with recursive c(i) as (select 1 union all select i + 1 from c where i < $((150000 * size)))
			insert into t select i, hex(zeroblob(i % 200)) || i, zeroblob(i % 1000) from c;
		create index tb on t(b);
		commit;
		select count(*), sum(length(b)) from t where b like '%77%';
		select sum(length(g)) from (select group_concat(b) g from t group by a % 1000);
	SQL
	report $((150000 * size)) "$start"
}

run_python() {
	local start python

	# Debian's own: a manager of versions in front of it would be a shell script
	python=/usr/bin/python3
	[[ -x $python ]] || exit 77
	start=$(now)
	PYTHONMALLOC=malloc with_lib $python - "$size" >"$tmp/out" <<-'PY' || exit 1
		import json, sys
		x = 1
		for r in range(int(sys.argv[1])):
		    rows = [{"id": i, "name": str(i) * 3, "w": [i / 7, i / 3], "k" * (i % 700): i} for i in range(30000)]
		    rows = json.loads(json.dumps(rows))
		    index = {str(i): row for i, row in enumerate(rows)}
		    for i in range(40000):
		        x = (x * 1103515245 + 12345) % 2**31
		        index[str(x % 50000)] = bytes(600 + x % 8000)
	PY
	report $((70000 * size)) "$start"
}

run_gcc() {
	local start

	have gcc
	{
		echo '#include <stdio.h>'
		for ((i = 0; i < 300 * size; i++)); do
			echo "struct s$i { int a[$((i % 7 + 1))]; struct s$i *next; };
			int f$i(struct s$i *p, int n) { int x = 0; for (int i = 0; p && i < n; i++, p = p->next)
			for (int k = 0; k < $((i % 7 + 1)); k++) x += p->a[k] * (i ^ k) + printf(\"%d\", x); return x; }"
		done
	} >"$tmp/x.c"
	start=$(now)
	with_lib gcc -O2 -c "$tmp/x.c" -o "$tmp/x.o" || exit 1
	report $((300 * size)) "$start"
}

run_lua() {
	local lua start

	lua=$(command -v lua5.4 lua5.3 lua5.1 lua | head -n 1)
	[[ -n $lua ]] || exit 77
	start=$(now)
	with_lib "$lua" - >"$tmp/out" <<-LUA || exit 1
		for r = 1, $size do
			local t = {}
			for i = 1, 300000 do t[i % 50000 + 1] = {i, tostring(i) .. string.rep("x", i % 100)} end
			table.sort(t, function(a, b) return a[2] < b[2] end)
			local s = {}
			for i = 1, 50000 do s[#s + 1] = t[i][2] end
			print(#table.concat(s))
		end
	LUA
	report $((300000 * size)) "$start"
}

run_perl() {
	local start

	have perl
	start=$(now)
	with_lib perl -e '
		for my $r (1 .. $ARGV[0]) {
			my %h;
			$h{"key$_"} = [$_, "x" x ($_ % 300), {a => $_}] for 0 .. 150000;
			my $s = join(",", map { $h{$_}[1] } sort keys %h);
			$s =~ s/xx,/y/g;
			print length($s), "\n";
		}' "$size" >"$tmp/out" || exit 1
	report $((150000 * size)) "$start"
}

"run_$name"
