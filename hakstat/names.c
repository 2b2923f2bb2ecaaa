#include "names.h"
#include "target.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES_MAX 200000U /* threads remembered */

void pid_namespace(pid_t pid, uint64_t *dev, uint64_t *ino)
{
	char path[64];
	struct stat st;

	*dev = *ino = 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	if (stat(path, &st))
		return;
	*dev = st.st_dev;
	*ino = st.st_ino;
}

static bool in_our_namespace(pid_t pid)
{
	uint64_t dev, ino, own_dev, own_ino;

	pid_namespace(pid, &dev, &ino);
	pid_namespace(getpid(), &own_dev, &own_ino);
	return !ino || (dev == own_dev && ino == own_ino);
}

/* First entry whose tid is not below. */
static size_t position(const struct names *s, uint32_t tid)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->of[mid].tid < tid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct thread_name *entry(struct names *s, uint32_t tid)
{
	size_t at = position(s, tid);

	if (at < s->n && s->of[at].tid == tid)
		return &s->of[at];
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		struct thread_name *more =
			room <= NAMES_MAX ? realloc(s->of, room * sizeof(*more)) : NULL;

		if (!more)
			return NULL;
		s->of = more;
		s->room = room;
	}
	memmove(&s->of[at + 1], &s->of[at], (s->n - at) * sizeof(*s->of));
	s->n++;
	s->of[at] = (struct thread_name){.tid = tid};
	return &s->of[at];
}

void names_set(struct names *s, uint32_t tid, const char *name)
{
	struct thread_name *t = entry(s, tid);

	if (!t)
		return;
	snprintf(t->name, sizeof(t->name), "%.*s", THREAD_NAME_BYTES - 1, name);
	sanitize(t->name);
}

static bool first_line(const char *path, char *line, size_t len)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(line, (int)len, f);

	if (f)
		fclose(f);
	if (ok)
		line[strcspn(line, "\n")] = '\0';
	return ok;
}

/* The last number of NSpid is the one of the innermost namespace, which is the thread's own. */
static uint32_t inner_tid(pid_t pid, long tid)
{
	char path[64], line[256];
	uint32_t inner = (uint32_t)tid;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%ld/status", pid, tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		char *last = strrchr(line, '\t');

		if (strncmp(line, "NSpid:", 6) != 0 || !last)
			continue;
		inner = (uint32_t)strtoul(last + 1, NULL, 10);
		break;
	}
	if (f)
		fclose(f);
	return inner;
}

static void read_thread(struct names *s, pid_t pid, long tid, bool ours)
{
	char path[64], name[64];
	struct thread_name *t;
	uint32_t inner;

	snprintf(path, sizeof(path), "/proc/%d/task/%ld/comm", pid, tid);
	if (!first_line(path, name, sizeof(name)))
		return;
	inner = ours ? (uint32_t)tid : inner_tid(pid, tid);
	names_set(s, inner, name);
	t = entry(s, inner);
	if (t && !t->alive) {
		t->alive = true;
		s->alive++;
	}
}

void names_read(struct names *s, pid_t pid)
{
	bool ours = in_our_namespace(pid);
	char path[64];
	struct dirent *d;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	if (!tasks)
		return;
	for (size_t i = 0; i < s->n; i++)
		s->of[i].alive = false;
	s->alive = 0;
	while ((d = readdir(tasks))) {
		long tid = strtol(d->d_name, NULL, 10);

		if (tid > 0)
			read_thread(s, pid, tid, ours);
	}
	closedir(tasks);
}

const char *names_get(const struct names *s, uint32_t tid)
{
	size_t at = position(s, tid);

	return at < s->n && s->of[at].tid == tid ? s->of[at].name : NULL;
}

void names_free(struct names *s)
{
	free(s->of);
	*s = (struct names){0};
}
