/* What is mapped at an address of the target. */
#include "calls.h"
#include "symbols.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct line {
	unsigned long start, end, inode;
	char path[PATH_MAX];
};

static bool parse(char *text, struct line *l)
{
	int at = 0;

	text[strcspn(text, "\n")] = 0;
	if (sscanf(text, "%lx-%lx %*s %*x %*s %lu %n", &l->start, &l->end, &l->inode, &at) < 3)
		return false;
	snprintf(l->path, sizeof(l->path), "%s", at ? text + at : "");
	return true;
}

/* The mapping with the address; `file`: the first one of the file it belongs to. */
static bool find(FILE *maps, uint64_t addr, struct line *l, struct line *file)
{
	static char text[PATH_MAX + 128];
	unsigned long file_end = 0;

	file->inode = 0;
	while (fgets(text, sizeof(text), maps)) {
		if (!parse(text, l))
			continue;
		if (l->inode && (l->inode != file->inode || strcmp(l->path, file->path) != 0))
			*file = *l;
		else if (!l->inode && (l->path[0] || l->start != file_end))
			file->inode = 0; /* else what a file has beyond its end: .bss */
		if (file->inode)
			file_end = l->end;
		if (addr >= l->start && addr < l->end)
			return true;
	}
	return false;
}

/* Data beyond what the file fills lies outside of the module: `inside` is within. */
static void name_it(const struct modules *m, uint64_t inside, uint64_t addr, char *out, size_t len)
{
	Dwfl *dwfl = modules_dwfl(m);
	Dwfl_Module *mod = dwfl ? dwfl_addrmodule(dwfl, inside) : NULL;
	GElf_Off offset = 0;
	GElf_Sym sym = {0};
	const char *name =
		mod ? dwfl_module_addrinfo(mod, addr, &offset, &sym, NULL, NULL, NULL) : NULL;
	char *plain, at[24] = "";

	if (!name || offset >= sym.st_size)
		return; /* the nearest one, which does not cover it */
	plain = demangled(name);
	if (offset)
		snprintf(at, sizeof(at), "+0x%llx", (unsigned long long)offset);
	snprintf(out, len, "%.*s%s", (int)(len - 1 - strlen(at)), plain ? plain : name, at);
	free(plain);
}

/* Memory shared with other processes: what the kernel calls its file is no file anybody has. */
static bool is_unnamed(const char *path)
{
	return !strncmp(path, "/dev/zero (", 11) || !strncmp(path, "/SYSV", 5);
}

void calls_where(const struct modules *m, char *maps, uint64_t addr, struct top_word *out)
{
	static struct line l, file;
	const char *name;
	FILE *f = maps ? fmemopen(maps, strlen(maps), "r") : NULL;
	bool found;

	snprintf(out->name, sizeof(out->name), "0x%llx", (unsigned long long)addr);
	snprintf(out->where, sizeof(out->where), "?");
	if (!f)
		return;
	found = find(f, addr, &l, &file);
	fclose(f);
	if (!found)
		return;
	name = strrchr(file.path, '/') ? strrchr(file.path, '/') + 1 : file.path;
	if (is_unnamed(file.path)) {
		snprintf(out->where, sizeof(out->where), "shared memory+0x%llx",
			 (unsigned long long)(addr - file.start));
	} else if (file.inode) {
		snprintf(out->where, sizeof(out->where), "%.40s+0x%llx", name,
			 (unsigned long long)(addr - file.start));
		name_it(m, file.start, addr, out->name, sizeof(out->name));
	} else {
		snprintf(out->where, sizeof(out->where), "%.40s",
			 l.path[0] ? l.path : "heap or a thread's stack");
	}
	sanitize(out->where);
	sanitize(out->name);
}
