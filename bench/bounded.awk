# Draws a CSV of bench/bounded.sh as SVG: a panel for each pattern, RSS of each allocator over the
# work done, what is live as a grey area, and as a dashed line what hakmem promises: 1.5 times
# the peak of live bytes and its constant.

function escaped(s) {
	gsub(/&/, "\\&amp;", s)
	gsub(/</, "\\&lt;", s)
	return s
}

function text(x, y, s, more) {
	printf "<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y, more, escaped(s)
}

# A round number of steps of the scale: at most 6 up to v.
function step_for(v,    s, k) {
	for (s = 1; ; s *= 10)
		for (k = 1; k <= 5; k += k == 1 ? 1 : 3)
			if (v / (s * k) <= 6)
				return s * k
}

function x_of(at) { return left + WIDE * at / 12000 }
function y_of(kib) { return top + HIGH - HIGH * kib / 1024 / most }

function line(name,    b, s) {
	for (b = 0; b <= BINS; b++)
		if ((p, name, b) in high)
			s = s sprintf("%s%.1f,%.1f", s ? " " : "", x_of(b * 12000 / BINS), y_of(high[p, name, b]))
	printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" stroke-linejoin=\"round\"/>\n",
		s, color[name], name == "hakmem" ? 2.2 : 1.2
}

function area(    b, s) {
	s = sprintf("%.1f,%.1f", x_of(0), y_of(0))
	for (b = 0; b <= BINS; b++)
		if ((p, b) in live) {
			s = s sprintf(" %.1f,%.1f", x_of(b * 12000 / BINS), y_of(live[p, b]))
			last = b
		}
	printf "<polygon points=\"%s %.1f,%.1f\" fill=\"#dddddd\"/>\n", s, x_of(last * 12000 / BINS), y_of(0)
}

function panel(    v, s, a, promise) {
	most = peak[p] / 1024
	promise = 1.5 * live_peak[p] + CONSTANT[p]
	if (promise / 1024 > most && promise / 1024 < 2 * most)
		most = promise / 1024
	most *= 1.05
	s = step_for(most)
	text(left, top - 10, TITLE[p] ? TITLE[p] : p, "font-weight=\"bold\"")
	area()
	for (v = 0; v <= most; v += s) {
		printf "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#cccccc\" stroke-width=\"0.6\"/>\n",
			left, left + WIDE, y_of(v * 1024), y_of(v * 1024)
		text(left - 6, y_of(v * 1024) + 4, v, "text-anchor=\"end\" fill=\"#666666\"")
	}
	printf "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#888888\" stroke-width=\"0.8\"/>\n",
		x_of(10000), x_of(10000), top, top + HIGH
	text(x_of(10000) - 4, top + HIGH + 14, "end of the work", "text-anchor=\"end\" fill=\"#666666\"")
	text(x_of(10000) + 4, top + HIGH + 14, "2 s at rest", "fill=\"#666666\"")
	if (promise / 1024 < most)
		printf "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#d7301f\" stroke-dasharray=\"5 4\"/>\n",
			left, left + WIDE, y_of(promise), y_of(promise)
	for (a = 1; a <= name_count; a++)
		line(names[a])
}

BEGIN {
	FS = ","
	BINS = 240
	WIDE = 400
	HIGH = 200
	n_colors = split("#888888 #e69f00 #56b4e9 #009e73 #cc79a7 #7a5cc7 #0072b2 #a05a2c #444444", palette, " ")
	color["hakmem"] = "#d7301f"
	# KiB: HAKMEM_KEEP_BYTES and the threads' pool; 9.6 MiB for each thread
	ONE = 1024 * (16 + 32 + 9.6)
	for (i = split("threads pipe wave shift mixes pin robson", t, " "); i; i--)
		CONSTANT[t[i]] = ONE + (i <= 2 ? 3 * 9.6 * 1024 : 0)
	TITLE["threads"] = "threads: lives of threads, 4 at a time"
	TITLE["pipe"] = "pipe: 2 producers, 2 consumers, sizes drift"
	TITLE["wave"] = "wave: growing and shrinking to a tenth"
	TITLE["mixes"] = "mixes: the same, each time with other sizes"
	TITLE["shift"] = "shift: one size after the other, 16 B to 16 MiB"
	TITLE["pin"] = "pin: one size after the other, a block in each 64 KiB stays"
	TITLE["robson"] = "robson: sizes double, what stays spoils the most"
}

!($2 in seen) {
	seen[$2] = 1
	patterns[++pattern_count] = $2
}

!($1 in known) {
	known[$1] = 1
	names[++name_count] = $1
	if (!($1 in color))
		color[$1] = palette[(++picked - 1) % n_colors + 1]
}

$3 == "sum" {
	if ($4 > live_peak[$2])
		live_peak[$2] = $4
	if ($5 > peak[$2])
		peak[$2] = $5
	next
}

{
	b = int($3 * BINS / 12000)
	if ($4 > high[$2, $1, b])
		high[$2, $1, b] = $4
	if ($5 > live[$2, b])
		live[$2, b] = $5
}

END {
	rows = int((pattern_count + 1) / 2)
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n",
		2 * (WIDE + 80) + 10, 70 + rows * (HIGH + 70)
	print "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
	text(10, 20, "Resident memory (MiB) while the program works; grey: bytes it asked for and has not freed", "font-weight=\"bold\"")
	x = 10
	for (a = 1; a <= name_count; a++) {
		printf "<circle cx=\"%d\" cy=\"38\" r=\"5\" fill=\"%s\"/>\n", x + 5, color[names[a]]
		text(x + 14, 42, names[a], "")
		x += 30 + 8 * length(names[a])
	}
	printf "<line x1=\"%d\" x2=\"%d\" y1=\"38\" y2=\"38\" stroke=\"#d7301f\" stroke-dasharray=\"5 4\"/>\n", x, x + 30
	text(x + 36, 42, "hakmem's bound: 1.5 x live peak + constant", "")
	for (k = 1; k <= pattern_count; k++) {
		p = patterns[k]
		left = 60 + (k - 1) % 2 * (WIDE + 80)
		top = 90 + int((k - 1) / 2) * (HIGH + 70)
		panel()
	}
	print "</svg>"
}
