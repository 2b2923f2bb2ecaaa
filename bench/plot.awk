# Draws a CSV of bench/run.sh as SVG: a row for each cell, a dot for each allocator at its time per
# operation relative to that of `ref`, on a logarithmic scale; geometric means at the end.

function median(list,    n, i, j, v, t) {
	n = split(list, v, " ")
	for (i = 2; i <= n; i++) {
		t = v[i] + 0
		for (j = i - 1; j > 0 && v[j] + 0 > t; j--)
			v[j + 1] = v[j]
		v[j + 1] = t
	}
	return n % 2 ? v[(n + 1) / 2] + 0 : (v[n / 2] + v[n / 2 + 1]) / 2
}

function escaped(s) {
	gsub(/&/, "\\&amp;", s)
	gsub(/</, "\\&lt;", s)
	return s
}

# 1/16 to 16 times the reference
function x_of(ratio,    x) {
	x = log(ratio) / log(2)
	return LEFT + WIDTH * ((x < -4 ? -4 : x > 4 ? 4 : x) + 4) / 8
}

function dot(ratio, y, name, title) {
	printf "<circle cx=\"%.1f\" cy=\"%d\" r=\"%d\" fill=\"%s\" fill-opacity=\"0.85\"><title>%s</title></circle>\n",
		x_of(ratio), y - 4, name == "hakmem" ? 6 : 4, color[name], escaped(title)
}

function text(x, y, s, more) {
	printf "<text x=\"%.1f\" y=\"%d\" %s>%s</text>\n", x, y, more, escaped(s)
}

BEGIN {
	FS = ","
	LEFT = 330
	WIDTH = 560
	STEP = 18
	n_colors = split("#888888 #e69f00 #56b4e9 #009e73 #cc79a7 #7a5cc7 #0072b2 #a05a2c #444444", palette, " ")
	color["hakmem"] = "#d7301f"
}

NR > 1 && $4 == "seconds_per_op" {
	cell = $2 " " $3
	if (!(cell in cell_seen)) {
		cell_seen[cell] = 1
		cells[++cell_count] = cell
	}
	if (!($1 in name_seen)) {
		name_seen[$1] = 1
		names[++name_count] = $1
		if (!($1 in color))
			color[$1] = palette[(++used - 1) % n_colors + 1]
	}
	time[$1, cell] = median($5)
}

END {
	height = 70 + STEP * (cell_count + 2)
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n",
		LEFT + WIDTH + 30, height
	printf "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
	text(10, 20, "Time per operation relative to " ref ", less is better", "font-weight=\"bold\"")
	x = 10
	for (a = 1; a <= name_count; a++) {
		printf "<circle cx=\"%d\" cy=\"36\" r=\"5\" fill=\"%s\"/>\n", x + 5, color[names[a]]
		text(x + 14, 40, names[a], "")
		x += 30 + 8 * length(names[a])
	}
	for (e = -4; e <= 4; e++) {
		printf "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"56\" y2=\"%d\" stroke=\"%s\"/>\n", x_of(2 ^ e),
			x_of(2 ^ e), height - 8, e ? "#dddddd" : "#888888"
		text(x_of(2 ^ e), 54, e < 0 ? "1/" 2 ^ -e : 2 ^ e, "text-anchor=\"middle\" fill=\"#666666\"")
	}
	for (c = 1; c <= cell_count + 1; c++) {
		y = 66 + STEP * c
		mean = c > cell_count
		text(10, y, mean ? "geometric mean" : cells[c], mean ? "font-weight=\"bold\"" : "")
		for (a = 1; a <= name_count; a++) {
			name = names[a]
			if (mean) {
				if (n[name])
					dot(exp(sum[name] / n[name]), y, name, sprintf("%s %.3f", name, exp(sum[name] / n[name])))
				continue
			}
			base = time[ref, cells[c]]
			if (!base || !time[name, cells[c]])
				continue
			r = time[name, cells[c]] / base
			sum[name] += log(r)
			n[name]++
			dot(r, y, name, sprintf("%s %.3f", name, r))
		}
	}
	print "</svg>"
}
