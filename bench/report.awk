# Makes the tables of bench/run.sh. Files: names of allocators, cells ("bench arguments"), and
# values as "allocator<TAB>cell<TAB>metric<TAB>value", several for each metric. Variables: csv, the
# file to write; ref, the allocator ratios are to.

function split_cell(cell) {
	bench = cell
	sub(/ .*/, "", bench)
	args = substr(cell, length(bench) + 2)
}

# Sorts the values of a key and leaves low, mid (the median) and high.
function summarize(key,    n, i, j, v, t) {
	n = split(values[key], v, " ")
	for (i = 2; i <= n; i++) {
		t = v[i] + 0
		for (j = i - 1; j > 0 && v[j] + 0 > t; j--)
			v[j + 1] = v[j]
		v[j + 1] = t
	}
	low = v[1]
	high = v[n]
	mid = n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
	return n
}

function number(x) {
	if (x >= 1e9)
		return sprintf("%.2fG", x / 1e9)
	if (x >= 1e6)
		return sprintf("%.2fM", x / 1e6)
	if (x >= 1e4)
		return sprintf("%.1fk", x / 1e3)
	return sprintf(x == int(x) ? "%d" : "%.3f", x)
}

function median(name, cell, metric) {
	return summarize(name SUBSEP cell SUBSEP metric) ? mid : "-"
}

function shown(name, cell, metric) {
	mid = median(name, cell, metric)
	return mid == "-" ? "-" : number(mid)
}

function ratio_to(base, x) {
	return base == "-" || x == "-" || base + 0 == 0 || x + 0 == 0 ? "-" : x / base
}

# One line of a cell's table; adds to the sums of the geometric means.
function row(name, cell,    rate, spread, r) {
	r = ratio_to(median(ref, cell, "seconds_per_op"), median(name, cell, "seconds_per_op"))
	add_mean(name, "time", r)
	add_pairs(name, cell)
	rate = median(name, cell, "ops_per_s")
	spread = number(low) ".." number(high)
	add_mean(name, "rss", ratio_to(median(ref, cell, "peak_rss_kib"), median(name, cell, "peak_rss_kib")))
	add_mean(name, "faults", ratio_to(median(ref, cell, "minor_faults"), median(name, cell, "minor_faults")))
	add_mean(name, "cpu", ratio_to(cpu_per_op(ref, cell), cpu_per_op(name, cell)))
	printf "  %-10s %8s [%s]%*s %6s %8s %8s %9s %10s %9s %9s\n", name, number(rate), spread,
		20 - length(spread), "", r == "-" ? r : sprintf("%.2f", r), shown(name, cell, "wall_s"), shown(name, cell, "cpu_s"),
		shown(name, cell, "minor_faults"), shown(name, cell, "peak_rss_kib"),
		shown(name, cell, "syscalls_memory"), shown(name, cell, "syscalls_futex")
}

# Runs of a round are side by side: the mean over rounds of the logarithm of their ratio.
function add_pairs(name, cell,    a, b, n, i, sum) {
	n = split(values[ref SUBSEP cell SUBSEP "seconds_per_op"], a, " ")
	if (n == 0 || split(values[name SUBSEP cell SUBSEP "seconds_per_op"], b, " ") != n)
		return
	for (i = 1; i <= n; i++)
		sum += log(b[i] / a[i])
	pair_count[name]++
	pair_sum[name] += sum / n
	pair_squares[name] += sum / n * sum / n
}

# Their mean over cells, and the interval that holds the true one with 95 %.
function paired(name,    n, m, half) {
	n = pair_count[name]
	if (n < 3)
		return "-"
	m = pair_sum[name] / n
	half = pair_squares[name] / n - m * m
	half = 1.96 * sqrt((half > 0 ? half : 0) / (n - 1))
	return sprintf("%.3f [%.3f..%.3f]", exp(m), exp(m - half), exp(m + half))
}

function cpu_per_op(name, cell,    cpu, ops) {
	cpu = median(name, cell, "cpu_s")
	ops = median(name, cell, "ops")
	return cpu == "-" || ops == "-" || ops == 0 ? "-" : cpu / ops
}

function add_mean(name, what, r) {
	if (r == "-" || r + 0 == 0)
		return
	logs[name, what] += log(r)
	counts[name, what]++
}

function mean(name, what) {
	return counts[name, what] ? sprintf("%.3f", exp(logs[name, what] / counts[name, what])) : "-"
}

# A line for each allocator, cell and metric, with the values of all runs.
function write_csv(    i, part, v) {
	print "allocator,bench,args,metric,values" > csv
	for (i = 1; i <= key_count; i++) {
		split(keys[i], part, SUBSEP)
		split_cell(part[2])
		v = values[keys[i]]
		sub(/^ /, "", v)
		printf "%s,%s,%s,%s,%s\n", part[1], bench, args, part[3], v > csv
	}
	close(csv)
}

function add_value(key, v) {
	if (!(key in values))
		keys[++key_count] = key
	values[key] = values[key] " " v
}

FILENAME != last_file { last_file = FILENAME; file++ }
file == 1 { names[++name_count] = $1 }
file == 2 { cells[++cell_count] = $0 }
file == 3 { add_value($1 SUBSEP $2 SUBSEP $3, $4) }
file == 3 && $3 == "ops_per_s" && $4 > 0 { add_value($1 SUBSEP $2 SUBSEP "seconds_per_op", sprintf("%.9g", 1 / $4)) }

END {
	for (c = 1; c <= cell_count; c++) {
		printf "%s\n", cells[c]
		printf "  %-10s %8s %-22s %6s %8s %8s %9s %10s %9s %9s\n", "allocator", "ops/s",
			"[lowest..highest]", "time", "wall s", "CPU s", "faults", "RSS KiB", "mem calls",
			"futex"
		for (a = 1; a <= name_count; a++)
			row(names[a], cells[c])
		print ""
	}
	printf "geometric means over %d cells, relative to %s\n", cell_count, ref
	printf "  %-10s %10s %10s %10s %10s   %s\n", "allocator", "time", "CPU/op", "faults", "RSS",
		"time of runs side by side, 95 % interval"
	for (a = 1; a <= name_count; a++)
		printf "  %-10s %10s %10s %10s %10s   %s\n", names[a], mean(names[a], "time"),
			mean(names[a], "cpu"), mean(names[a], "faults"), mean(names[a], "rss"), paired(names[a])
	print "  less is better in all of them; `time` above is per operation, too"
	write_csv()
}
