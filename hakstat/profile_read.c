#include "profile.h"
#include "target.h"
#include "wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define FILE_BYTES_MAX ((size_t)256 << 20) /* unpacked */
#define FRAMES_MAX 8192U		   /* of a stack: trees are walked by recursion */

#define TYPE_(id, type, unit) type,
#define UNIT_OF_(id, type, unit) unit,
const char *const profile_types[] = {PROFILE_VALUES(TYPE_)};
const char *const profile_units[] = {PROFILE_VALUES(UNIT_OF_)};

static const char *keep(struct profile *p, const char *text, size_t n)
{
	char *copy;

	if (p->texts == p->texts_room) {
		size_t room = p->texts_room ? 2 * p->texts_room : 256;
		char **more = realloc(p->text, room * sizeof(char *));

		if (!more)
			return NULL;
		p->text = more;
		p->texts_room = room;
	}
	copy = strndup(text, n);
	if (!copy)
		return NULL;
	sanitize(copy);
	p->text[p->texts++] = copy;
	return copy;
}

struct profile_stack *profile_add(struct profile *p, unsigned n)
{
	struct profile_stack *s;

	if (p->n == p->room) {
		size_t room = p->room ? 2 * p->room : 256;

		s = realloc(p->stack, room * sizeof(*s));
		if (!s)
			return NULL;
		p->stack = s;
		p->room = room;
	}
	s = &p->stack[p->n];
	memset(s, 0, sizeof(*s));
	s->frame = calloc((size_t)n + 1, sizeof(char *));
	if (!s->frame)
		return NULL;
	p->n++;
	return s;
}

bool profile_frame(struct profile *p, struct profile_stack *s, const char *name)
{
	const char *kept = keep(p, name, strlen(name));

	if (kept)
		s->frame[s->n++] = kept;
	return kept != NULL;
}

void profile_free(struct profile *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->stack[i].frame);
	for (size_t i = 0; i < p->texts; i++)
		free(p->text[i]);
	free(p->stack);
	free(p->text);
	memset(p, 0, sizeof(*p));
}

double profile_total(const struct profile *p, enum profile_value v)
{
	double sum = 0;

	for (size_t i = 0; i < p->n; i++)
		sum += p->stack[i].value[v];
	return sum;
}

void profile_print_folded(FILE *out, const char *first, const struct profile_stack *s,
			  enum profile_value v)
{
	if (s->value[v] < 0.5)
		return;
	fputs(*first ? first : "?", out);
	for (unsigned i = 0; i < s->n; i++) {
		fputc(';', out);
		for (const char *c = s->frame[i]; *c; c++)
			fputc(*c == ';' ? ':' : *c, out);
	}
	fprintf(out, " %.0f\n", s->value[v]);
}

/* --- reading a file --- */

/* Numbers of a message, in the order they come. */
struct list {
	uint64_t *v;
	size_t n, room;
	bool failed;
};

struct entry {
	uint64_t id;
	size_t at; /* of a function: index of its name; of a location: of its functions in `list` */
	size_t n;
	uint64_t address;
};

struct table {
	struct entry *entry; /* by id, once sorted */
	size_t n, room;
};

struct reading {
	struct profile *p;
	const uint8_t *data;
	size_t bytes;
	struct list strings; /* indices into p->text */
	struct table functions, locations;
	struct list lines; /* function ids of locations, innermost first */
	struct list types; /* strings of the sample types */
	int value_at[PROFILE_VALUE_COUNT];
	bool bad, no_memory;
};

static void push(void *arg, uint64_t v)
{
	struct list *l = arg;

	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		uint64_t *more = l->failed ? NULL : realloc(l->v, room * sizeof(*more));

		if (!more) {
			l->failed = true;
			return;
		}
		l->v = more;
		l->room = room;
	}
	l->v[l->n++] = v;
}

static struct entry *add_entry(struct reading *r, struct table *t)
{
	if (t->n == t->room) {
		size_t room = t->room ? 2 * t->room : 256;
		struct entry *more = realloc(t->entry, room * sizeof(*more));

		if (!more) {
			r->no_memory = true;
			return NULL;
		}
		t->entry = more;
		t->room = room;
	}
	memset(&t->entry[t->n], 0, sizeof(*t->entry));
	return &t->entry[t->n++];
}

static int by_id(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static const struct entry *find(const struct table *t, uint64_t id)
{
	struct entry key = {.id = id};

	return t->n ? bsearch(&key, t->entry, t->n, sizeof(key), by_id) : NULL;
}

static void read_function(struct reading *r, struct wire_reader in)
{
	struct entry *e = add_entry(r, &r->functions);

	while (e && wire_next(&in)) {
		if (in.field == 1)
			e->id = in.number;
		else if (in.field == 2)
			e->at = (size_t)in.number;
	}
	r->bad |= in.bad;
}

static void read_line(struct reading *r, struct wire_reader in)
{
	while (wire_next(&in))
		if (in.field == 1)
			push(&r->lines, in.number);
	r->bad |= in.bad;
}

static void read_location(struct reading *r, struct wire_reader in)
{
	struct entry *e = add_entry(r, &r->locations);

	if (!e)
		return;
	e->at = r->lines.n;
	while (wire_next(&in)) {
		if (in.field == 1)
			e->id = in.number;
		else if (in.field == 3)
			e->address = in.number;
		else if (in.field == 4)
			read_line(r, wire_inside(&in));
	}
	e->n = r->lines.n - e->at;
	r->bad |= in.bad;
}

static void read_type(struct reading *r, struct wire_reader in)
{
	uint64_t name = 0;

	while (wire_next(&in))
		if (in.field == 1)
			name = in.number;
	push(&r->types, name);
	r->bad |= in.bad;
}

static void read_string(struct reading *r, const struct wire_reader *in)
{
	/* one that holds a NUL ends there */
	if (!keep(r->p, in->bytes ? (const char *)in->data : "", in->bytes))
		r->no_memory = true;
	else
		push(&r->strings, r->p->texts - 1);
}

static const char *string_at(const struct reading *r, uint64_t i)
{
	return i < r->strings.n ? r->p->text[r->strings.v[i]] : "?";
}

static void read_tables(struct reading *r)
{
	struct wire_reader in = wire_open(r->data, r->bytes);

	while (!r->bad && !r->no_memory && wire_next(&in)) {
		if (in.field == 1)
			read_type(r, wire_inside(&in));
		else if (in.field == 4)
			read_location(r, wire_inside(&in));
		else if (in.field == 5)
			read_function(r, wire_inside(&in));
		else if (in.field == 6)
			read_string(r, &in);
		else if (in.field == 10)
			r->p->seconds = (double)in.number / 1e9;
	}
	r->bad |= in.bad;
	r->no_memory |= r->lines.failed || r->types.failed || r->strings.failed;
	if (r->functions.n)
		qsort(r->functions.entry, r->functions.n, sizeof(struct entry), by_id);
	if (r->locations.n)
		qsort(r->locations.entry, r->locations.n, sizeof(struct entry), by_id);
	for (int v = 0; v < PROFILE_VALUE_COUNT; v++) {
		r->value_at[v] = -1;
		for (size_t i = 0; i < r->types.n; i++)
			if (!strcmp(string_at(r, r->types.v[i]), profile_types[v]))
				r->value_at[v] = (int)i;
	}
}

static bool add_location(struct reading *r, struct profile_stack *s, uint64_t id)
{
	const struct entry *e = find(&r->locations, id);
	char name[32];

	if (e && e->n == 0) {
		snprintf(name, sizeof(name), "0x%llx", (unsigned long long)e->address);
		return profile_frame(r->p, s, name);
	}
	for (size_t i = e ? e->n : 0; i--;) {
		const struct entry *f = find(&r->functions, r->lines.v[e->at + i]);

		s->frame[s->n++] = f ? string_at(r, f->at) : "?";
	}
	return true;
}

static unsigned count_frames(const struct reading *r, const struct list *ids)
{
	size_t n = 0;

	for (size_t i = 0; i < ids->n && n <= FRAMES_MAX; i++) {
		const struct entry *e = find(&r->locations, ids->v[i]);

		n += e && e->n ? e->n : 1;
	}
	return (unsigned)n;
}

static void read_sample(struct reading *r, struct wire_reader in)
{
	struct list ids = {0}, values = {0};
	struct profile_stack *s = NULL;
	unsigned frames;

	while (wire_next(&in)) {
		if (in.field == 1)
			wire_numbers(&in, push, &ids);
		else if (in.field == 2)
			wire_numbers(&in, push, &values);
	}
	r->bad |= in.bad;
	frames = count_frames(r, &ids);
	r->bad |= frames > FRAMES_MAX;
	if (frames <= FRAMES_MAX && !ids.failed && !values.failed)
		s = profile_add(r->p, frames);
	r->no_memory |= !s && !r->bad;
	for (size_t i = s ? ids.n : 0; i--;)
		r->no_memory |= !add_location(r, s, ids.v[i]);
	for (int v = 0; s && v < PROFILE_VALUE_COUNT; v++)
		if (r->value_at[v] >= 0 && (size_t)r->value_at[v] < values.n)
			s->value[v] = (double)(int64_t)values.v[r->value_at[v]];
	free(ids.v);
	free(values.v);
}

static void read_samples(struct reading *r)
{
	struct wire_reader in = wire_open(r->data, r->bytes);

	while (!r->bad && !r->no_memory && wire_next(&in))
		if (in.field == 2)
			read_sample(r, wire_inside(&in));
}

/* All of a file, unpacked if it is packed. NULL: a negative errno in *error. */
static uint8_t *unpack(const char *path, size_t *bytes, int *error)
{
	gzFile f = gzopen(path, "rbe");
	size_t room = 1 << 16;
	uint8_t *data = f ? malloc(room) : NULL;
	int n = 0;

	*error = f ? -ENOMEM : -errno;
	*bytes = 0;
	while (data && (n = gzread(f, data + *bytes, (unsigned)(room - *bytes))) > 0) {
		uint8_t *more;

		*bytes += (size_t)n;
		if (*bytes < room)
			continue;
		more = room < FILE_BYTES_MAX ? realloc(data, 2 * room) : NULL;
		if (!more)
			break;
		data = more;
		room *= 2;
	}
	if (data && n == 0 && *bytes) {
		*error = 0;
	} else {
		*error = n < 0 || (data && !*bytes) ? -EBADMSG : *error;
		free(data);
		data = NULL;
	}
	if (f)
		gzclose(f);
	return data;
}

int profile_read(struct profile *p, const char *path, char *err, size_t errlen)
{
	struct reading r = {.p = p};
	int error, known = 0;
	uint8_t *data = unpack(path, &r.bytes, &error);

	r.data = data;
	if (data) {
		read_tables(&r);
		read_samples(&r);
		error = r.no_memory ? -ENOMEM : r.bad ? -EBADMSG : 0;
	}
	for (int v = 0; v < PROFILE_VALUE_COUNT; v++)
		known += r.value_at[v] >= 0;
	if (error == -EBADMSG)
		snprintf(err, errlen, "%s is not a profile in pprof's format", path);
	else if (error)
		snprintf(err, errlen, "cannot read %s: %s", path, strerror(-error));
	else if (!known)
		snprintf(err, errlen,
			 "%s is not a heap profile: it has no alloc_space, no inuse_space", path);
	if (!error && !known)
		error = -EBADMSG;
	free(data);
	free(r.strings.v);
	free(r.lines.v);
	free(r.types.v);
	free(r.functions.entry);
	free(r.locations.entry);
	return error;
}
