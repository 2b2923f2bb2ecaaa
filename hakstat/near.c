#include "near.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_ 40 /* names are compared up to that */

/* Levenshtein distance, in any case. */
static int distance(const char *a, const char *b)
{
	int row[NAME_MAX_ + 1], n = (int)strnlen(b, NAME_MAX_);

	for (int k = 0; k <= n; k++)
		row[k] = k;
	for (int i = 0; a[i] && i < NAME_MAX_; i++) {
		int corner = row[0]++;

		for (int k = 1; k <= n; k++) {
			bool equal =
				tolower((unsigned char)a[i]) == tolower((unsigned char)b[k - 1]);
			int least = row[k] < row[k - 1] ? row[k] + 1 : row[k - 1] + 1;

			if (corner + !equal < least)
				least = corner + !equal;
			corner = row[k];
			row[k] = least;
		}
	}
	return row[n];
}

/* By the id or any part of it: "hits" is near to hit_rate. */
static int farness(const char *name, const char *id)
{
	int least = strstr(id, name) ? 0 : 1 + distance(name, id);
	char parts[NAME_MAX_ + 1], *save = NULL;

	snprintf(parts, sizeof(parts), "%s", id);
	for (char *p = strtok_r(parts, "_", &save); p; p = strtok_r(NULL, "_", &save)) {
		int far = 1 + distance(name, p);

		least = far < least ? far : least;
	}
	return least;
}

void near_add(struct near *n, const char *name, const char *id)
{
	int far = farness(name, id), at = NEAR;

	for (int i = 0; i < NEAR; i++)
		if (n->id[i] && !strcmp(n->id[i], id))
			return;
	while (at > 0 && (!n->id[at - 1] || far < n->far[at - 1]))
		at--;
	for (int i = NEAR - 1; i > at; i--) {
		n->id[i] = n->id[i - 1];
		n->far[i] = n->far[i - 1];
	}
	if (at < NEAR) {
		n->id[at] = id;
		n->far[at] = far;
	}
}
