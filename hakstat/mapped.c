/*
 * Everything here is read from the memory of the target, which may hold anything: addresses are
 * only ever read from, in the target, and all counts are bounded.
 */
#include "mapped.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEADERS_MOST 64
#define DYNAMIC_MOST 256
#define CHAIN_MOST 1024 /* symbols of one hash */
#define NOTE_MOST 1024	/* bytes of notes */
#define ROOT_NAME "hakmem_root"

struct image {
	pid_t reader;
	uint64_t bias;
	uint64_t symbols, names, hash; /* runtime addresses */
	bool program;		       /* and no library: may have ours in it, without a symbol */
};

static int get(const struct image *g, uint64_t addr, void *to, size_t bytes)
{
	ssize_t n = target_read(g->reader, addr, to, bytes);

	return n == (ssize_t)bytes ? 0 : n < 0 ? (int)n : -EFAULT;
}

/* The dynamic linker of glibc has added the bias already, others have not. */
static uint64_t runtime(const struct image *g, uint64_t addr)
{
	return addr < g->bias ? addr + g->bias : addr;
}

static int read_dynamic(struct image *g, const Elf64_Phdr *ph)
{
	Elf64_Dyn dyn[DYNAMIC_MOST];
	size_t n = ph->p_memsz / sizeof(*dyn);
	int r;

	if (n > DYNAMIC_MOST)
		n = DYNAMIC_MOST;
	r = get(g, ph->p_vaddr + g->bias, dyn, n * sizeof(*dyn));
	for (size_t i = 0; !r && i < n && dyn[i].d_tag != DT_NULL; i++) {
		uint64_t addr = runtime(g, dyn[i].d_un.d_ptr);

		if (dyn[i].d_tag == DT_SYMTAB)
			g->symbols = addr;
		else if (dyn[i].d_tag == DT_STRTAB)
			g->names = addr;
		else if (dyn[i].d_tag == DT_GNU_HASH)
			g->hash = addr;
	}
	return r;
}

static void read_build_id(const struct image *g, const Elf64_Phdr *ph, char build_id[48])
{
	unsigned char notes[NOTE_MOST];
	size_t n = ph->p_memsz < sizeof(notes) ? ph->p_memsz : sizeof(notes), at = 0;
	Elf64_Nhdr nh;

	if (get(g, ph->p_vaddr + g->bias, notes, n))
		return;
	while (at + sizeof(nh) <= n) {
		size_t name = at + sizeof(nh), desc;

		memcpy(&nh, notes + at, sizeof(nh));
		desc = name + (((size_t)nh.n_namesz + 3) & ~(size_t)3);
		at = desc + (((size_t)nh.n_descsz + 3) & ~(size_t)3);
		if (at > n)
			return;
		if (nh.n_type != NT_GNU_BUILD_ID || nh.n_namesz != 4 ||
		    memcmp(notes + name, "GNU", 4) != 0)
			continue;
		for (size_t k = 0; k < nh.n_descsz && k < 20; k++)
			snprintf(build_id + 2 * k, 3, "%02x", notes[desc + k]);
	}
}

static int read_headers(struct image *g, const struct mapping *m, char build_id[48])
{
	Elf64_Phdr ph[HEADERS_MOST];
	Elf64_Ehdr h;
	int r = get(g, m->start, &h, sizeof(h));
	bool loaded = false;

	if (r)
		return r;
	if (memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_ident[EI_CLASS] != ELFCLASS64 ||
	    h.e_phentsize != sizeof(*ph) || h.e_phnum > HEADERS_MOST)
		return -EACCES;
	r = get(g, m->start + h.e_phoff, ph, h.e_phnum * sizeof(*ph));
	for (int i = 0; !r && i < h.e_phnum && !loaded; i++)
		if (ph[i].p_type == PT_LOAD) {
			g->bias = m->start - (ph[i].p_vaddr - ph[i].p_offset);
			loaded = true;
		}
	for (int i = 0; !r && loaded && i < h.e_phnum; i++) {
		if (ph[i].p_type == PT_DYNAMIC)
			r = read_dynamic(g, &ph[i]);
		else if (ph[i].p_type == PT_NOTE)
			read_build_id(g, &ph[i], build_id);
		else if (ph[i].p_type == PT_INTERP)
			g->program = true;
	}
	return r;
}

static uint32_t hash_of(const char *name)
{
	uint32_t h = 5381;

	for (; *name; name++)
		h = h * 33 + (unsigned char)*name;
	return h;
}

/* Symbol number i: is it the root? */
static int try_symbol(const struct image *g, uint32_t i, uint64_t *root_addr)
{
	char name[sizeof(ROOT_NAME)];
	Elf64_Sym s;
	int r = get(g, g->symbols + i * sizeof(s), &s, sizeof(s));

	if (!r)
		r = get(g, g->names + s.st_name, name, sizeof(name));
	if (r)
		return r;
	if (memcmp(name, ROOT_NAME, sizeof(name)) != 0 || s.st_shndx == SHN_UNDEF)
		return -ENOEXEC;
	*root_addr = s.st_value + g->bias;
	return 0;
}

/* DT_GNU_HASH: four numbers, a filter, buckets, and for each symbol its hash; the last one of a
 * bucket has its lowest bit set. */
static int find_root(const struct image *g, uint64_t *root_addr)
{
	uint32_t head[4], wanted = hash_of(ROOT_NAME), i, hash = 0;
	uint64_t buckets, chain;
	int r = get(g, g->hash, head, sizeof(head));

	if (r || !head[0])
		return r ? r : -ENOEXEC;
	buckets = g->hash + sizeof(head) + (uint64_t)head[2] * 8;
	chain = buckets + (uint64_t)head[0] * 4;
	r = get(g, buckets + (uint64_t)(wanted % head[0]) * 4, &i, sizeof(i));
	if (r || i < head[1])
		return r ? r : -ENOEXEC;
	for (int k = 0; k < CHAIN_MOST && !(hash & 1); k++, i++) {
		r = get(g, chain + (uint64_t)(i - head[1]) * 4, &hash, sizeof(hash));
		if (!r && (hash | 1) == (wanted | 1))
			r = try_symbol(g, i, root_addr);
		else if (!r)
			r = -ENOEXEC;
		if (r != -ENOEXEC)
			return r;
	}
	return -ENOEXEC;
}

int mapped_root(pid_t reader, const struct mapping *m, uint64_t *root_addr, char build_id[48])
{
	struct image g = {.reader = reader};
	int r = m->offset ? -EACCES : read_headers(&g, m, build_id);

	if (!r)
		r = g.symbols && g.names && g.hash ? find_root(&g, root_addr) : -EACCES;
	if (r == -ENOEXEC)
		r = g.program ? -EACCES : -ENOENT;
	return r == -EFAULT || r == -EIO ? -EACCES : r;
}
