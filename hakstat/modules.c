#include "modules.h"
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define VDSO_BYTES_MAX (1UL << 20)
#define DELETED " (deleted)" /* the kernel's word for it, after the path */
#define MODULES_MAX 16384
#define DEBUG_FOLDER "/usr/lib/debug"
#define DEBUG_BYTES_MAX ((off_t)4 << 30) /* a longer one is not read */
#define RANGES_MAX 65536

/* One file where it is mapped, from its first mapping to its last. */
struct module {
	unsigned long start, end, first_end; /* of all mappings, and of the first one */
	unsigned int major, minor;
	unsigned long inode;
	bool code, head; /* has code; the start of the file is mapped */
	char *path;
	int fd; /* or -1 */
	int error;
	void *image; /* of the vdso, which has no file */
	size_t image_bytes;
};

struct range {
	uint64_t start, end;
};

struct generation {
	Dwfl *dwfl;
	struct module **module; /* libdwfl keeps pointers to them */
	unsigned count;
};

struct modules {
	struct generation *generation;
	unsigned generations;
	struct range *code; /* ascending */
	unsigned ranges;
	unsigned closed;
	bool denied;
};

static int find_elf(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base,
		    char **file_name, Elf **elf)
{
	struct module *f = *userdata;

	(void)mod;
	(void)name;
	(void)base;
	if (f && f->image) {
		*elf = elf_memory(f->image, f->image_bytes);
		return -1;
	}
	if (!f || f->fd < 0)
		return -1;
	*file_name = strdup(f->path); /* debug files are looked for beside it */
	return fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
}

/* --- debug information in files of its own: the target's file says where, and is not believed ---
 */

static bool has_sum(int fd, GElf_Word sum)
{
	static unsigned char buf[1 << 16];
	uLong crc = crc32(0, NULL, 0);
	off_t at = 0;
	ssize_t n;

	while (at < DEBUG_BYTES_MAX && (n = pread(fd, buf, sizeof(buf), at)) > 0) {
		crc = crc32(crc, buf, (uInt)n);
		at += n;
	}
	return at && crc == sum;
}

/* Its path leads to the very same file here: who put it there could put others there as well. */
static bool is_here(const struct module *f)
{
	struct stat here, mapped;

	return f->fd >= 0 && !stat(f->path, &here) && !fstat(f->fd, &mapped) &&
	       here.st_dev == mapped.st_dev && here.st_ino == mapped.st_ino;
}

/* A file that others share (dwz): in the system's folder alone. */
static int open_shared(const char *beside, const char *name, char *path)
{
	const char *slash = strrchr(beside, '/');
	char real[PATH_MAX];

	if (name[0] == '/' || !slash)
		snprintf(path, PATH_MAX, "%s", name);
	else
		snprintf(path, PATH_MAX, "%.*s/%s", (int)(slash - beside), beside, name);
	if (!realpath(path, real) || strncmp(real, DEBUG_FOLDER "/", sizeof(DEBUG_FOLDER)) != 0)
		return -1;
	return open_regular(path, 0);
}

/* Beside the file, or where the system keeps them; the right one by its sum. */
static int open_debug(const struct module *f, const char *name, GElf_Word sum, char *path)
{
	static const char *const before[] = {DEBUG_FOLDER, "", ""};
	static const char *const below[] = {"", "/.debug", ""};
	const char *slash = strrchr(f->path, '/');
	int folder = slash ? (int)(slash - f->path) : 0;

	for (int i = 0; i < (is_here(f) ? 3 : 1); i++) {
		int fd;

		snprintf(path, PATH_MAX, "%s%.*s%s/%s", before[i], folder, f->path, below[i], name);
		fd = open_regular(path, 0);
		if (fd >= 0 && has_sum(fd, sum))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return -1;
}

static int find_debug(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base,
		      const char *file_name, const char *link, GElf_Word sum, char **debug_name)
{
	int fd = dwfl_build_id_find_debuginfo(mod, userdata, name, base, file_name, link, sum,
					      debug_name);
	const struct module *f = *userdata;
	char path[PATH_MAX];

	if (fd >= 0 || !link || !*link || !f)
		return fd;
	if (strchr(link, '/') || !sum)
		fd = file_name && !strncmp(file_name, DEBUG_FOLDER "/", sizeof(DEBUG_FOLDER))
			     ? open_shared(file_name, link, path)
			     : -1;
	else
		fd = open_debug(f, link, sum, path);
	if (fd >= 0)
		*debug_name = strdup(path);
	return fd < 0 ? -1 : fd;
}

static const Dwfl_Callbacks callbacks = {
	.find_elf = find_elf,
	.find_debuginfo = find_debug,
};

static void free_module(struct module *f)
{
	if (!f)
		return;
	if (f->fd >= 0)
		close(f->fd);
	free(f->path);
	free(f->image);
	free(f);
}

struct modules *modules_open(void)
{
	struct rlimit files;

	/* one stays open for each library, and libdwfl opens it again */
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	unsetenv("DEBUGINFOD_URLS"); /* debug files of this machine only: nothing is fetched */
	return calloc(1, sizeof(struct modules));
}

void modules_close(struct modules *m)
{
	if (!m)
		return;
	for (unsigned g = 0; g < m->generations; g++) {
		struct generation *n = &m->generation[g];

		dwfl_end(n->dwfl);
		for (unsigned i = 0; i < n->count; i++)
			free_module(n->module[i]);
		free(n->module);
	}
	free(m->generation);
	free(m->code);
	free(m);
}

/* What /proc/PID/maps says now. */
struct look {
	struct module **module;
	unsigned count;
	struct range *code;
	unsigned ranges;
};

static void free_look(struct look *l)
{
	for (unsigned i = 0; i < l->count; i++)
		free_module(l->module[i]);
	free(l->module);
	free(l->code);
}

static void add_range(struct look *l, const struct mapping *map)
{
	if (l->ranges && l->code[l->ranges - 1].end == map->start)
		l->code[l->ranges - 1].end = map->end;
	else if (l->ranges < RANGES_MAX)
		l->code[l->ranges++] = (struct range){map->start, map->end};
}

static bool same_file(const struct module *f, const struct mapping *map)
{
	return f->inode == map->inode && f->major == map->major && f->minor == map->minor &&
	       !(f->code && f->head && map->offset == 0);
}

static struct module *add_module(struct look *l, const struct mapping *map)
{
	struct module *f = l->count < MODULES_MAX ? calloc(1, sizeof(*f)) : NULL;
	char *tail;

	if (!f)
		return NULL;
	f->start = map->start;
	f->end = f->first_end = map->end;
	f->major = map->major;
	f->minor = map->minor;
	f->inode = map->inode;
	f->code = map->code;
	f->head = map->offset == 0;
	f->path = strdup(map->path);
	tail = f->path ? strstr(f->path, DELETED) : NULL;
	if (tail && !tail[strlen(DELETED)])
		*tail = '\0';
	f->fd = -1;
	if (!f->path) {
		free(f);
		return NULL;
	}
	l->module[l->count++] = f;
	return f;
}

/* Takes the mappings of one file together; files without code go again. */
static void read_maps(struct look *l, FILE *maps)
{
	char line[PATH_MAX + 128];
	struct module *f = NULL;
	struct mapping map;

	while (fgets(line, sizeof(line), maps)) {
		bool file = parse_mapping(line, &map);

		if (!file && strcmp(map.path, "[vdso]") != 0) {
			if (map.code && map.end > map.start)
				add_range(l, &map);
			continue;
		}
		if (map.code)
			add_range(l, &map);
		if (file && f && same_file(f, &map)) {
			f->end = map.end;
			f->code |= map.code;
			continue;
		}
		if (f && !f->code)
			free_module(l->module[--l->count]);
		f = add_module(l, &map);
	}
	if (f && !f->code)
		free_module(l->module[--l->count]);
}

static bool look_at(struct look *l, pid_t reader)
{
	char path[64];
	FILE *maps;

	memset(l, 0, sizeof(*l));
	snprintf(path, sizeof(path), "/proc/%d/maps", reader);
	maps = fopen(path, "re");
	if (!maps)
		return false;
	l->module = calloc(MODULES_MAX, sizeof(struct module *));
	l->code = calloc(RANGES_MAX, sizeof(*l->code));
	if (l->module && l->code)
		read_maps(l, maps);
	fclose(maps);
	return l->count > 0;
}

static bool overlaps(const struct module *a, const struct module *b)
{
	return a->start < b->end && b->start < a->end;
}

static bool is_same(const struct module *a, const struct module *b)
{
	return a->start == b->start && a->inode == b->inode && a->major == b->major &&
	       a->minor == b->minor;
}

/* Sorts out what is known already; false if a file lies where another one was. */
static bool drop_known(struct look *l, const struct generation *g)
{
	unsigned kept = 0;
	bool fits = true;

	for (unsigned i = 0; i < l->count; i++) {
		bool known = false;

		for (unsigned k = 0; k < g->count && !known; k++) {
			if (is_same(l->module[i], g->module[k]))
				known = true;
			else if (overlaps(l->module[i], g->module[k]))
				fits = false;
		}
		if (known)
			free_module(l->module[i]);
		else
			l->module[kept++] = l->module[i];
	}
	l->count = kept;
	return fits;
}

static void read_vdso(struct module *f, pid_t reader)
{
	size_t bytes = f->end - f->start;

	f->image = bytes <= VDSO_BYTES_MAX ? malloc(bytes) : NULL;
	if (f->image && target_read(reader, f->start, f->image, bytes) == (ssize_t)bytes) {
		f->image_bytes = bytes;
		return;
	}
	free(f->image);
	f->image = NULL;
	f->error = -EPERM;
}

static void open_module(struct modules *m, struct module *f, pid_t reader)
{
	struct mapping map = {.start = f->start,
			      .end = f->first_end,
			      .major = f->major,
			      .minor = f->minor,
			      .inode = f->inode};
	char path[PATH_MAX];

	if (!f->inode) {
		read_vdso(f, reader);
		return;
	}
	snprintf(map.path, sizeof(map.path), "%s", f->path);
	f->fd = open_mapping(reader, &map, path);
	if (f->fd >= 0)
		return;
	f->error = f->fd;
	f->fd = -1;
	m->closed++;
	m->denied |= f->error == -EACCES || f->error == -EPERM || access(path, R_OK) != 0;
}

static void report(struct modules *m, struct generation *g, struct look *l, pid_t reader)
{
	struct module **p;

	if (l->count == 0)
		return;
	p = realloc(g->module, (g->count + l->count) * sizeof(*p));
	if (!p)
		return;
	g->module = p;
	dwfl_report_begin_add(g->dwfl);
	for (unsigned i = 0; i < l->count; i++) {
		struct module *f = l->module[i];
		Dwfl_Module *mod = dwfl_report_module(g->dwfl, f->path, f->start, f->end);
		void **userdata;

		g->module[g->count++] = f;
		open_module(m, f, reader);
		if (mod && dwfl_module_info(mod, &userdata, NULL, NULL, NULL, NULL, NULL, NULL))
			*userdata = f;
	}
	dwfl_report_end(g->dwfl, NULL, NULL);
	l->count = 0; /* they are the generation's now */
}

static struct generation *new_generation(struct modules *m)
{
	struct generation *p = realloc(m->generation, (m->generations + 1) * sizeof(*p));

	if (!p)
		return NULL;
	m->generation = p;
	p += m->generations;
	memset(p, 0, sizeof(*p));
	p->dwfl = dwfl_begin(&callbacks);
	if (!p->dwfl)
		return NULL;
	m->generations++;
	m->closed = 0;
	m->denied = false;
	return p;
}

void modules_look(struct modules *m, pid_t reader)
{
	struct generation *g = m->generations ? &m->generation[m->generations - 1] : NULL;
	struct look l;

	if (look_at(&l, reader)) {
		free(m->code);
		m->code = l.code;
		m->ranges = l.ranges;
		l.code = NULL;
		if (g && !drop_known(&l, g)) {
			free_look(&l); /* some are sorted out already */
			g = look_at(&l, reader) ? NULL : g;
		}
		if (!g)
			g = new_generation(m);
		if (g)
			report(m, g, &l, reader);
	}
	free_look(&l);
}

Dwfl *modules_dwfl(const struct modules *m)
{
	return m && m->generations ? m->generation[m->generations - 1].dwfl : NULL;
}

unsigned modules_generation(const struct modules *m)
{
	return m->generations ? m->generations - 1 : 0;
}

Dwfl *modules_dwfl_of(const struct modules *m, unsigned generation)
{
	return generation < m->generations ? m->generation[generation].dwfl : NULL;
}

bool modules_is_code(const struct modules *m, uint64_t addr)
{
	unsigned low = 0, high = m->ranges;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (addr < m->code[mid].start)
			high = mid;
		else if (addr >= m->code[mid].end)
			low = mid + 1;
		else
			return true;
	}
	return false;
}

unsigned modules_closed(const struct modules *m, bool *denied)
{
	*denied = m->denied;
	return m->closed;
}
