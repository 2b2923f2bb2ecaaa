/* What a view does not know, and what to do: "-" alone leaves people guessing. */
#include "columns.h"
#include "views.h"
#include "privilege.h"

#include <limits.h>
#include <string.h>

static void list_columns(const struct view *v, char *out, size_t len)
{
	out[0] = '\0';
	for (int i = 0; i < v->ncolumns; i++) {
		const struct column *c = &v->columns[i];
		size_t at = strlen(out);

		if (c->width && view_by_bpf(v, c))
			snprintf(out + at, len - at, "%s%s", at ? ", " : "", c->title);
	}
}

bool view_lacks(const struct view *v, const struct model *m, char *out, size_t len)
{
	char columns[256], what_to_do[PATH_MAX + 128] = "hakstat doctor says why there is none";

	if (m->has_bpf || !m->target || !v->by_bpf || (v == &view_syscalls && m->syscalls))
		return false;
	if (m->target->closed)
		snprintf(what_to_do, sizeof(what_to_do), "%s", target_closed);
	else if (!may_use_bpf())
		remedy(CAPS_BPF, "", what_to_do, sizeof(what_to_do));
	list_columns(v, columns, sizeof(columns));
	if (*v->by_bpf == '*')
		snprintf(columns, sizeof(columns), "all of it");
	snprintf(out, len, "unknown without %s: %s (%s); %s", m->target->closed ? "probes" : "BPF",
		 columns, v->name, what_to_do);
	return true;
}
