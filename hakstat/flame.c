#include "flame.h"
#include "calltree.h"
#include "columns.h"

#include <math.h>
#include <string.h>

#define WIDTH 1200.0
#define ROW 18
#define TOP 44		 /* for the title and the field to search with */
#define BOTTOM 26	 /* for what the pointer is on */
#define LETTER 7.25	 /* width of one */
#define LEAST_WIDTH 0.05 /* what is narrower is left out: no zoom would show it */

struct drawing {
	FILE *out;
	enum profile_value by;
	double total;
	bool diff;
};

/* Names come from the target: in text and in attributes nothing of them may be markup. */
static void put_text(FILE *out, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '<')
			fputs("&lt;", out);
		else if (c == '>')
			fputs("&gt;", out);
		else if (c == '&')
			fputs("&amp;", out);
		else if (c == '"')
			fputs("&quot;", out);
		else if (c == '\'')
			fputs("&#39;", out);
		else
			fputc(c < 0x20 || c >= 0x7f ? '?' : c, out);
	}
}

static unsigned hash(const char *s)
{
	unsigned h = 2166136261U;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619U;
	return h ^ h >> 15;
}

/* Red where it grew, blue where it shrank, the more the stronger. */
static void diff_colour(const struct call_node *n, enum profile_value by, char *out, size_t len)
{
	double a = n->before[by], b = n->value[by], most = a > b ? a : b;
	double part = most > 0 ? (b - a) / most : 0;
	int light = 96 - (int)(38 * sqrt(fabs(part)));

	snprintf(out, len, "hsl(%d,%d%%,%d%%)", part >= 0 ? 8 : 214, fabs(part) < 0.005 ? 0 : 85,
		 light);
}

static void colour(const struct drawing *d, const struct call_node *n, char *out, size_t len)
{
	unsigned h = hash(n->name);

	if (d->diff)
		diff_colour(n, d->by, out, len);
	else if (n->name[0] == '[' || !n->parent)
		snprintf(out, len, "hsl(220,8%%,%u%%)", 78 + h % 8);
	else
		snprintf(out, len, "hsl(%u,%u%%,%u%%)", 14 + h % 40, 72 + h / 64 % 20,
			 58 + h / 4096 % 14);
}

static bool in_bytes(enum profile_value by)
{
	return by == PROFILE_ALLOC_SPACE || by == PROFILE_INUSE_SPACE;
}

static void amount_text(enum profile_value by, double v, char *out, size_t len)
{
	if (in_bytes(by))
		bytes_text(v, out, len);
	else
		rate_text(v, out, len);
}

static enum profile_value count_of(enum profile_value by)
{
	return by == PROFILE_ALLOC_SPACE || by == PROFILE_ALLOC_OBJECTS ? PROFILE_ALLOC_OBJECTS
									: PROFILE_INUSE_OBJECTS;
}

static void put_title(const struct drawing *d, const struct call_node *n)
{
	char amount[32], before[32];

	amount_text(d->by, n->value[d->by], amount, sizeof(amount));
	fputs("<title>", d->out);
	put_text(d->out, n->name);
	if (d->diff) {
		amount_text(d->by, n->before[d->by], before, sizeof(before));
		fprintf(d->out, ": %s, was %s", amount, before);
	} else {
		fprintf(d->out, ": %s, %.2f %%, %.0f objects", amount,
			d->total > 0 ? 100 * n->value[d->by] / d->total : 0,
			n->value[count_of(d->by)]);
	}
	fputs("</title>", d->out);
}

static void put_label(const struct drawing *d, const struct call_node *n, double x, double width,
		      unsigned level)
{
	size_t fits = width > 6 ? (size_t)((width - 6) / LETTER) : 0, len = strlen(n->name);
	char label[200];

	if (fits > sizeof(label) - 3)
		fits = sizeof(label) - 3;
	label[0] = '\0';
	if (fits >= 3 && len <= fits)
		snprintf(label, sizeof(label), "%s", n->name);
	else if (fits >= 3)
		snprintf(label, sizeof(label), "%.*s..", (int)fits - 2, n->name);
	fprintf(d->out, "<text x=\"%.2f\" y=\"%u\">", x + 3, TOP + level * ROW + 13);
	put_text(d->out, label);
	fputs("</text>", d->out);
}

static void put_node(const struct drawing *d, const struct call_node *n, double x, unsigned level)
{
	double width = d->total > 0 ? WIDTH * n->width / d->total : 0;
	char fill[48];

	if (width < LEAST_WIDTH)
		return;
	colour(d, n, fill, sizeof(fill));
	fputs("<g>", d->out);
	put_title(d, n);
	fprintf(d->out, "<rect x=\"%.4f\" y=\"%u\" width=\"%.4f\" height=\"%d\" fill=\"%s\"/>", x,
		TOP + level * ROW, width, ROW - 1, fill);
	put_label(d, n, x, width, level);
	fputs("</g>\n", d->out);
	for (const struct call_node *c = n->child; c; c = c->next) {
		put_node(d, c, x, level + 1);
		x += d->total > 0 ? WIDTH * c->width / d->total : 0;
	}
}

/*
 * A rectangle knows its place in the whole graph (x0, w0); zooming to one stretches its part to
 * the full width. What is above it is shown as wide as all.
 */
static const char script[] =
	"(function () {\n"
	"var W = 1200, LETTER = 7.25, nodes = [], shown = null;\n"
	"var info = document.getElementById('info'), back = document.getElementById('back');\n"
	"var field = document.getElementById('search');\n"
	"Array.prototype.forEach.call(document.querySelectorAll('#graph > g'), function (g) {\n"
	"  var r = g.querySelector('rect'), title = g.querySelector('title').textContent;\n"
	"  var n = {g: g, r: r, t: g.querySelector('text'), title: title,\n"
	"    name: title.slice(0, title.lastIndexOf(': ')),\n"
	"    x0: +r.getAttribute('x'), w0: +r.getAttribute('width'), y: +r.getAttribute('y')};\n"
	"  nodes.push(n);\n"
	"  g.addEventListener('mouseover', function () { info.textContent = title; });\n"
	"  g.addEventListener('mouseout', function () { info.textContent = ''; });\n"
	"  g.addEventListener('click', function () { zoom(n); });\n"
	"});\n"
	"function label(n, w) {\n"
	"  var fits = Math.floor((w - 6) / LETTER);\n"
	"  if (fits < 3) return '';\n"
	"  return n.name.length <= fits ? n.name : n.name.slice(0, fits - 2) + '..';\n"
	"}\n"
	"function place(n, x, w, faded) {\n"
	"  n.g.style.display = '';\n"
	"  n.g.style.opacity = faded ? 0.5 : 1;\n"
	"  n.r.setAttribute('x', x);\n"
	"  n.r.setAttribute('width', w);\n"
	"  n.t.setAttribute('x', x + 3);\n"
	"  n.t.textContent = label(n, w);\n"
	"}\n"
	"function zoom(to) {\n"
	"  var e = 1e-3, end = to.x0 + to.w0;\n"
	"  shown = to;\n"
	"  back.style.display = to === nodes[0] ? 'none' : '';\n"
	"  nodes.forEach(function (n) {\n"
	"    if (n.y < to.y && n.x0 <= to.x0 + e && n.x0 + n.w0 >= end - e) place(n, 0, W, true);\n"
	"    else if (n.y >= to.y && n.x0 >= to.x0 - e && n.x0 + n.w0 <= end + e)\n"
	"      place(n, (n.x0 - to.x0) * W / to.w0, n.w0 * W / to.w0, false);\n"
	"    else n.g.style.display = 'none';\n"
	"  });\n"
	"}\n"
	"function search(term) {\n"
	"  var ends = 0, sum = 0, hits = 0, re = null, wrong = false;\n"
	"  try { re = term ? new RegExp(term, 'i') : null; } catch (bad) { re = null; wrong = "
	"true; }\n"
	"  nodes.forEach(function (n) {\n"
	"    n.hit = re && n !== nodes[0] && re.test(n.name);\n"
	"    n.g.setAttribute('class', n.hit ? 'hit' : '');\n"
	"    hits += n.hit ? 1 : 0;\n"
	"  });\n"
	"  nodes.filter(function (n) { return n.hit; })\n"
	"    .sort(function (a, b) { return a.x0 - b.x0 || b.w0 - a.w0; })\n"
	"    .forEach(function (n) {\n"
	"      if (n.x0 + n.w0 <= ends + 1e-3) return;\n"
	"      sum += n.x0 + n.w0 - Math.max(ends, n.x0);\n"
	"      ends = n.x0 + n.w0;\n"
	"    });\n"
	"  document.getElementById('found').textContent = !term ? '' : wrong ? 'no regular "
	"expression yet' :\n"
	"    hits + ' found, ' + (100 * sum / W).toFixed(2) + ' % of all';\n"
	"}\n"
	"back.addEventListener('click', function () { zoom(nodes[0]); });\n"
	"field.addEventListener('input', function () { search(field.value); });\n"
	"document.addEventListener('keydown', function (e) {\n"
	"  if (e.key === '/' && document.activeElement !== field) { field.focus(); "
	"e.preventDefault(); }\n"
	"  if (e.key === 'Escape') {\n"
	"    field.value = ''; field.blur(); search(''); zoom(nodes[0]);\n"
	"  }\n"
	"});\n"
	"if (location.hash.length > 1) {\n"
	"  field.value = decodeURIComponent(location.hash.slice(1));\n"
	"  search(field.value);\n"
	"}\n"
	"})();\n";

static void put_head(FILE *out, const char *title, unsigned height)
{
	fprintf(out,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%u\" "
		"viewBox=\"0 0 %.0f %u\">\n"
		"<style>text { font: 12px monospace; fill: #111; }\n"
		"#graph g { cursor: pointer; } #graph rect:hover { stroke: #000; }\n"
		"#graph text { pointer-events: none; } #graph .hit rect { fill: #b04fd8; }\n"
		"#head { font-size: 15px; } #back { cursor: pointer; fill: #06c; }</style>\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fdfdfb\"/>\n"
		"<text id=\"head\" x=\"4\" y=\"18\">",
		WIDTH, height, WIDTH, height);
	put_text(out, title);
	fputs("</text>\n<text id=\"back\" x=\"4\" y=\"36\" style=\"display:none\">show all "
	      "(Esc)</text>\n<text id=\"found\" x=\"740\" y=\"18\"></text>\n"
	      "<foreignObject x=\"960\" y=\"2\" width=\"236\" height=\"26\">"
	      "<input xmlns=\"http://www.w3.org/1999/xhtml\" id=\"search\" "
	      "placeholder=\"search: / and a regular expression\" style=\"width:226px\"/>"
	      "</foreignObject>\n",
	      out);
}

bool flame_write(FILE *out, const struct profile *p, const struct profile *from,
		 enum profile_value by, const char *title)
{
	struct call_node *root = calltree_make(p, from, by, false, "all");
	struct drawing d = {.out = out, .by = by, .diff = from != NULL};
	unsigned height;

	if (!root)
		return false;
	d.total = root->width;
	height = TOP + calltree_depth(root) * ROW + BOTTOM;
	put_head(out, title, height);
	fputs("<g id=\"graph\">\n", out);
	put_node(&d, root, 0, 0);
	fprintf(out, "</g>\n<text id=\"info\" x=\"4\" y=\"%u\"></text>\n", height - 8);
	fprintf(out, "<script><![CDATA[\n%s]]></script>\n</svg>\n", script);
	calltree_free(root);
	return true;
}
