# Turns a captured terminal screen (text on standard input) into an SVG picture:
#   tmux new-session -d -x 100 -y 32 'make demo'; sleep 15
#   tmux capture-pane -p | awk -f docs/svg.awk > docs/top.svg
function esc(s) { gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); gsub(/>/, "\\&gt;", s); gsub(/ /, "\\&#160;", s); return s }
{ line[NR] = $0; if (length($0) > w) w = length($0) }
END {
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\">\n", w * 7.25 + 24, NR * 15 + 20
	print "<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#14171c\"/>"
	print "<g font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"12\" fill=\"#d5d9e0\" xml:space=\"preserve\">"
	for (i = 1; i <= NR; i++) {
		color = i == 1 ? "#6cd0e0" : line[i] ~ /SIZE +ALLOC/ ? "#f2c14e" : i == NR ? "#8a93a0" : "#d5d9e0"
		printf "<text x=\"12\" y=\"%d\" fill=\"%s\">%s</text>\n", i * 15 + 9, color, esc(line[i])
	}
	print "</g></svg>"
}
