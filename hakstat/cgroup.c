/*
 * Container engines name cgroups after the 64 hex digits of a container, of which people use 12;
 * systemd after units. Paths are the target's to choose: everything is bounded, and made safe for
 * a terminal.
 */
#include "cgroup.h"
#include "target.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define PATH_BYTES 4096
#define ID_DIGITS 64
#define ID_SHOWN 12
#define POD_SHOWN 8 /* of a pod's uid */

/* What a container's cgroup begins with, its id follows; longer beginnings first. */
static const struct {
	const char *prefix, *engine;
} engines[] = {
	{"docker-", "docker"},	      {"libpod-", "podman"}, {"cri-containerd-", "containerd"},
	{"nerdctl-", "containerd"},   {"crio-", "cri-o"},    {"docker/", "docker"},
	{"libpod_parent/", "podman"},
};

static bool is_id(const char *text, size_t len)
{
	if (len < ID_DIGITS)
		return false;
	for (size_t i = 0; i < ID_DIGITS; i++)
		if (!isxdigit((unsigned char)text[i]))
			return false;
	return !isxdigit((unsigned char)text[ID_DIGITS]);
}

/* The last id in the path, or NULL. */
static const char *find_id(const char *path)
{
	const char *found = NULL;
	size_t len = strlen(path);

	for (size_t i = 0; i + ID_DIGITS <= len; i++)
		if ((i == 0 || path[i - 1] == '/' || path[i - 1] == '-') &&
		    is_id(path + i, len - i))
			found = path + i;
	return found;
}

static const char *engine_of(const char *path, const char *id)
{
	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		size_t n = strlen(engines[i].prefix);

		if ((size_t)(id - path) >= n && !strncmp(id - n, engines[i].prefix, n))
			return engines[i].engine;
	}
	return "container";
}

/* "pod" and its uid, whose dashes are underscores where systemd made the path. NULL: no pod. */
static const char *find_pod(const char *path)
{
	const char *pod = strstr(path, "kubepods");

	while (pod && (pod = strstr(pod, "pod"))) {
		if (isxdigit((unsigned char)pod[3]) && (pod[-1] == '/' || pod[-1] == '-'))
			return pod + 3;
		pod += 3;
	}
	return NULL;
}

static bool name_container(const char *path, char *out, size_t len)
{
	const char *id = find_id(path), *pod = find_pod(path);

	if (pod && id)
		snprintf(out, len, "k8s:%.*s/%.*s", POD_SHOWN, pod, ID_SHOWN, id);
	else if (pod)
		snprintf(out, len, "k8s:%.*s", POD_SHOWN, pod);
	else if (id)
		snprintf(out, len, "%s:%.*s", engine_of(path, id), ID_SHOWN, id);
	return pod || id;
}

/* Containers that have a name: lxc's, and systemd's machines. */
static bool name_machine(const char *path, char *out, size_t len)
{
	static const char *const before[][2] = {
		{"/lxc.payload.", "lxc"}, {"/lxc/", "lxc"}, {"/machine-", "machine"}};

	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		const char *at = strstr(path, before[i][0]);
		size_t n;

		if (!at)
			continue;
		at += strlen(before[i][0]);
		n = strcspn(at, "/");
		if (n > 6 && !strncmp(at + n - 6, ".scope", 6))
			n -= 6;
		snprintf(out, len, "%s:%.*s", before[i][1], (int)(n < 64 ? n : 64), at);
		return n > 0;
	}
	return false;
}

/* "\x2d" of systemd's names, in place. */
static void unescape(char *text)
{
	char *to = text;
	unsigned c;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1] == 'x' && isxdigit((unsigned char)text[2]) &&
		    isxdigit((unsigned char)text[3]) && sscanf(text + 2, "%2x", &c) == 1 && c) {
			*to++ = (char)c;
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
}

static bool ends_in(const char *s, size_t n, const char *tail)
{
	size_t k = strlen(tail);

	return n > k && !strncmp(s + n - k, tail, k);
}

/* The innermost unit, which has all that is below it; a session says of which user. */
static bool name_unit(const char *path, char *out, size_t len)
{
	const char *unit = NULL, *user = strstr(path, "/user-");
	size_t n = 0;

	for (const char *at = path; *at == '/'; at += 1 + strcspn(at + 1, "/")) {
		size_t k = strcspn(at + 1, "/");

		if (ends_in(at + 1, k, ".service") || ends_in(at + 1, k, ".scope")) {
			unit = at + 1;
			n = k;
		}
	}
	if (!unit)
		return false;
	if (user && !strncmp(unit, "session-", 8))
		snprintf(out, len, "%.*s/%.*s", (int)strcspn(user + 1, "./"), user + 1,
			 (int)(n - 6), unit);
	else
		snprintf(out, len, "%.*s", (int)(ends_in(unit, n, ".service") ? n - 8 : n), unit);
	return true;
}

/* Anything else: its last part. */
static void name_last(const char *path, char *out, size_t len)
{
	const char *last = strrchr(path, '/');

	snprintf(out, len, "%s", last ? last + 1 : path);
}

void cgroup_shorten(const char *path, char *out, size_t len)
{
	out[0] = '\0';
	if (!name_container(path, out, len) && !name_machine(path, out, len) &&
	    !name_unit(path, out, len))
		name_last(path, out, len);
	unescape(out);
	sanitize(out);
}

/*
 * One line a hierarchy: "ID:CONTROLLERS:PATH". The one of version 2 has no controllers; where that
 * says nothing, one of version 1 does: systemd's, else the first that is not the root.
 */
void cgroup_path(pid_t pid, char *out, size_t len)
{
	char file[64], line[PATH_BYTES];
	int best_rank = 0;
	FILE *f;

	out[0] = '\0';
	snprintf(file, sizeof(file), "/proc/%d/cgroup", pid);
	f = fopen(file, "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		char *controllers = strchr(line, ':'),
		     *path = controllers ? strchr(controllers + 1, ':') : NULL;
		int rank;

		line[strcspn(line, "\n")] = '\0';
		if (!path || path[1] != '/' || !path[2])
			continue;
		rank = path == controllers + 1				? 3
		       : !strncmp(controllers + 1, "name=systemd:", 13) ? 2
									: 1;
		if (rank > best_rank) {
			best_rank = rank;
			snprintf(out, len, "%.*s", (int)len - 1, path + 1);
		}
	}
	fclose(f);
}

void cgroup_name(pid_t pid, char *out, size_t len)
{
	char path[PATH_BYTES];

	cgroup_path(pid, path, sizeof(path));
	out[0] = '\0';
	if (*path)
		cgroup_shorten(path, out, len);
}
