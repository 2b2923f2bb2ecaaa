/*
 * Which function a call instruction names. What a stack shows is where the call has arrived: malloc
 * jumps on to what makes a new page, and so does not appear. x86-64.
 */
#include "called.h"

#include <elf.h>
#include <gelf.h>
#include <stdbool.h>
#include <string.h>

#define CALL_BYTES 6

struct image {
	Dwfl_Module *mod;
	Elf *elf;
	GElf_Addr bias;
};

/* Bytes of the file as they are mapped; false: not all of them are in it. */
static bool read_image(const struct image *m, uint64_t addr, void *out, size_t bytes)
{
	uint64_t at = addr - m->bias;
	size_t n = 0;

	if (elf_getphdrnum(m->elf, &n))
		return false;
	for (size_t i = 0; i < n; i++) {
		GElf_Phdr p;
		Elf_Data *data;

		if (!gelf_getphdr(m->elf, (int)i, &p) || p.p_type != PT_LOAD ||
		    p.p_filesz < bytes || at < p.p_vaddr || at - p.p_vaddr > p.p_filesz - bytes)
			continue;
		data = elf_getdata_rawchunk(m->elf, (int64_t)(p.p_offset + (at - p.p_vaddr)), bytes,
					    ELF_T_BYTE);
		if (!data || data->d_size < bytes)
			return false;
		memcpy(out, data->d_buf, bytes);
		return true;
	}
	return false;
}

static uint64_t relative(uint64_t from, const unsigned char *bytes)
{
	int32_t by;

	memcpy(&by, bytes, sizeof(by));
	return from + (uint64_t)(int64_t)by;
}

/* The symbol that the dynamic linker fills this word with. */
static const char *name_of_slot(const struct image *m, uint64_t slot)
{
	for (Elf_Scn *scn = NULL; (scn = elf_nextscn(m->elf, scn));) {
		GElf_Shdr sh, symbols;
		Elf_Scn *table;
		Elf_Data *data;
		int n;

		if (!gelf_getshdr(scn, &sh) || sh.sh_type != SHT_RELA || !sh.sh_entsize)
			continue;
		table = elf_getscn(m->elf, sh.sh_link);
		data = elf_getdata(scn, NULL);
		n = data ? (int)(data->d_size / sh.sh_entsize) : 0;
		/* those without a symbol, of which there may be very many, come first */
		while (n-- > 0) {
			GElf_Rela r;
			GElf_Sym sym;

			if (!gelf_getrela(data, n, &r) || !GELF_R_SYM(r.r_info))
				break;
			if (r.r_offset + m->bias == slot && table &&
			    gelf_getshdr(table, &symbols) &&
			    gelf_getsym(elf_getdata(table, NULL), (int)GELF_R_SYM(r.r_info), &sym))
				return elf_strptr(m->elf, symbols.sh_link, sym.st_name);
		}
	}
	return NULL;
}

/* A stub of the procedure linkage table jumps to what is in such a word: jmp *disp(%rip). */
static const char *name_of_stub(const struct image *m, uint64_t at)
{
	static const unsigned char endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
	unsigned char b[6];

	if (!read_image(m, at, b, sizeof(b)))
		return NULL;
	if (!memcmp(b, endbr64, sizeof(endbr64)) &&
	    !read_image(m, at += sizeof(endbr64), b, sizeof(b)))
		return NULL;
	if (b[0] == 0xf2 && !read_image(m, ++at, b, sizeof(b))) /* bnd */
		return NULL;
	return b[0] == 0xff && b[1] == 0x25 ? name_of_slot(m, relative(at + 6, b + 2)) : NULL;
}

const char *called_at(Dwfl_Module *mod, uint64_t next)
{
	struct image m = {.mod = mod};
	unsigned char b[CALL_BYTES];
	const char *name = NULL;
	uint64_t to;
	GElf_Off offset;
	GElf_Sym sym;

	m.elf = dwfl_module_getelf(mod, &m.bias);
	if (!m.elf || gelf_getclass(m.elf) != ELFCLASS64 ||
	    !read_image(&m, next - CALL_BYTES, b, CALL_BYTES))
		return NULL;
	if (b[1] == 0xe8) { /* call rel32 */
		to = relative(next, b + 2);
		name = name_of_stub(&m, to);
		if (!name)
			name = dwfl_module_addrinfo(mod, to, &offset, &sym, NULL, NULL, NULL);
		else
			offset = 0;
		return offset == 0 ? name : NULL;
	}
	if (b[0] == 0xff && b[1] == 0x15) /* call *disp(%rip) */
		return name_of_slot(&m, relative(next, b + 2));
	return NULL;
}
