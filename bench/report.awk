# Makes the tables of bench/run.sh. Files: names of allocators, cells ("bench arguments"), and
# values as "allocator<TAB>cell<TAB>metric<TAB>value", several for each metric. Variable csv: the
# file to write.

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
function row(name, cell,    rate, spread, r, per_op) {
	rate = median(name, cell, "ops_per_s")
	spread = number(low) ".." number(high)
	r = ratio_to(median(names[1], cell, "ops_per_s"), rate)
	if (r != "-")
		add_mean(name, "speed", r)
	add_mean(name, "rss", ratio_to(median(names[1], cell, "peak_rss_kib"), median(name, cell, "peak_rss_kib")))
	add_mean(name, "faults", ratio_to(median(names[1], cell, "minor_faults"), median(name, cell, "minor_faults")))
	add_mean(name, "cpu", ratio_to(cpu_per_op(names[1], cell), cpu_per_op(name, cell)))
	per_op = median(name, cell, "syscalls_per_op")
	printf "  %-10s %8s [%s]%*s %6s %8s %8s %9s %10s %9s %7s %10s\n", name, number(rate), spread,
		20 - length(spread), "", r == "-" ? r : sprintf("%.2f", r), shown(name, cell, "wall_s"), shown(name, cell, "cpu_s"),
		shown(name, cell, "minor_faults"), shown(name, cell, "peak_rss_kib"),
		shown(name, cell, "syscalls"), shown(name, cell, "syscalls_mmap"),
		per_op == "-" ? "-" : sprintf("%.2e", per_op)
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

function write_csv(    c, a, m, n, key) {
	n = split("ops_per_s wall_s cpu_s seconds ops minor_faults major_faults peak_rss_kib syscalls syscalls_memory syscalls_mmap syscalls_futex syscalls_per_op", metric, " ")
	print "allocator,bench,args,metric,value" > csv
	for (c = 1; c <= cell_count; c++) {
		split_cell(cells[c])
		for (a = 1; a <= name_count; a++) {
			for (m = 1; m <= n; m++) {
				key = names[a] SUBSEP cells[c] SUBSEP metric[m]
				if (!(key in values))
					continue
				runs = summarize(key)
				printf "%s,%s,%s,%s,%.9g\n", names[a], bench, args, metric[m], mid > csv
				if (runs > 1) {
					printf "%s,%s,%s,%s_min,%.9g\n", names[a], bench, args, metric[m], low > csv
					printf "%s,%s,%s,%s_max,%.9g\n", names[a], bench, args, metric[m], high > csv
				}
			}
		}
	}
	close(csv)
}

FILENAME != last_file { last_file = FILENAME; file++ }
file == 1 { names[++name_count] = $1 }
file == 2 { cells[++cell_count] = $0 }
file == 3 { key = $1 SUBSEP $2 SUBSEP $3; values[key] = values[key] " " $4 }

END {
	for (c = 1; c <= cell_count; c++) {
		printf "%s\n", cells[c]
		printf "  %-10s %8s %-22s %6s %8s %8s %9s %10s %9s %7s %10s\n", "allocator", "ops/s",
			"[lowest..highest]", "ratio", "wall s", "CPU s", "faults", "RSS KiB", "syscalls",
			"mmap", "calls/op"
		for (a = 1; a <= name_count; a++)
			row(names[a], cells[c])
		print ""
	}
	printf "geometric means over %d cells, relative to %s\n", cell_count, names[1]
	printf "  %-10s %10s %10s %10s %10s\n", "allocator", "ops/s", "CPU/op", "faults", "RSS"
	for (a = 1; a <= name_count; a++)
		printf "  %-10s %10s %10s %10s %10s\n", names[a], mean(names[a], "speed"),
			mean(names[a], "cpu"), mean(names[a], "faults"), mean(names[a], "rss")
	print "  ops/s: higher is better; CPU/op, faults and RSS: lower is better"
	write_csv()
}
