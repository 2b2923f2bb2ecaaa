/*
 * Core files are not trusted: a length in them is compared with the file before it is used.
 * The root is found by what it says, not by the library's file: that may be gone or replaced by
 * the time somebody looks, and the root's own address in it tells it from any copy.
 */
#include "memory.h"
#include "shared.h"
#include "target.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPANS_MAX 1000000U
#define WINDOW ((size_t)1 << 20)
#define ROOT_ALIGN 64U
#define WRITTEN ((uint64_t)3 << 62) /* of an entry in pagemap: in memory, or in swap, proc(5) */

static bool read_at(int fd, void *buf, size_t bytes, uint64_t offset)
{
	char *to = buf;

	while (bytes) {
		ssize_t n = offset > INT64_MAX ? -1 : pread(fd, to, bytes, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		to += n;
		offset += (uint64_t)n;
		bytes -= (size_t)n;
	}
	return true;
}

/* Programs with 65535 headers and more keep their number in the first section's header. */
static uint64_t header_count(int fd, const Elf64_Ehdr *h)
{
	Elf64_Shdr first;

	if (h->e_phnum != PN_XNUM)
		return h->e_phnum;
	return read_at(fd, &first, sizeof(first), h->e_shoff) ? first.sh_info : 0;
}

static bool is_core(int fd, Elf64_Ehdr *h)
{
	return read_at(fd, h, sizeof(*h), 0) && !memcmp(h->e_ident, ELFMAG, SELFMAG) &&
	       h->e_ident[EI_CLASS] == ELFCLASS64 && h->e_ident[EI_DATA] == ELFDATA2LSB &&
	       h->e_type == ET_CORE && h->e_phentsize == sizeof(Elf64_Phdr);
}

static void add_span(struct memory *m, const Elf64_Phdr *ph, uint64_t file_bytes)
{
	uint64_t bytes = ph->p_filesz;

	if (ph->p_type != PT_LOAD || !bytes)
		return;
	if (ph->p_offset >= file_bytes || bytes > file_bytes - ph->p_offset) {
		m->truncated = true;
		bytes = ph->p_offset < file_bytes ? file_bytes - ph->p_offset : 0;
	}
	if (bytes && ph->p_vaddr <= UINT64_MAX - bytes)
		m->spans[m->nspans++] =
			(struct span){ph->p_vaddr, bytes, ph->p_offset, ph->p_flags & PF_W};
}

static int by_addr(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return (x->addr > y->addr) - (x->addr < y->addr);
}

int memory_of_core(struct memory *m, const char *path, char *err, size_t errlen)
{
	Elf64_Ehdr h;
	struct stat st;
	uint64_t n;

	memset(m, 0, sizeof(*m));
	m->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (m->fd < 0 || fstat(m->fd, &st)) {
		snprintf(err, errlen, "cannot open %s: %s", path, strerror(errno));
		return -EIO;
	}
	if (!S_ISREG(st.st_mode) || !is_core(m->fd, &h)) {
		snprintf(err, errlen, "%s is not a core file of a 64-bit process", path);
		return -EINVAL;
	}
	m->bytes = (uint64_t)st.st_blocks * 512;
	n = header_count(m->fd, &h);
	if (n > SPANS_MAX || !(m->spans = calloc(n + 1, sizeof(*m->spans)))) {
		snprintf(err, errlen, "%s: too many program headers", path);
		return -EINVAL;
	}
	for (uint64_t i = 0; i < n; i++) {
		Elf64_Phdr ph;

		if (!read_at(m->fd, &ph, sizeof(ph), h.e_phoff + i * sizeof(ph))) {
			m->truncated = true;
			break;
		}
		add_span(m, &ph, (uint64_t)st.st_size);
	}
	qsort(m->spans, m->nspans, sizeof(*m->spans), by_addr);
	return 0;
}

void memory_close(struct memory *m)
{
	if (!m->reader && m->fd >= 0)
		close(m->fd);
	free(m->spans);
	memset(m, 0, sizeof(*m));
	m->fd = -1;
}

static const struct span *span_of(const struct memory *m, uint64_t addr)
{
	size_t low = 0, high = m->nspans;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (m->spans[mid].addr <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low || addr - m->spans[low - 1].addr >= m->spans[low - 1].bytes)
		return NULL;
	return &m->spans[low - 1];
}

bool memory_read(const struct memory *m, uint64_t addr, void *buf, size_t bytes)
{
	char *to = buf;

	if (m->reader)
		return target_read(m->reader, addr, buf, bytes) == (ssize_t)bytes;
	while (bytes) { /* what lies side by side in memory may be two spans */
		const struct span *s = span_of(m, addr);
		uint64_t here = s ? s->addr + s->bytes - addr : 0;
		size_t n = here < bytes ? (size_t)here : bytes;

		if (!s || !read_at(m->fd, to, n, s->offset + (addr - s->addr)))
			return false;
		to += n;
		addr += n;
		bytes -= n;
	}
	return true;
}

/* Whether pages first .. first + n are in memory or in swap; false where that cannot be known. */
static bool read_entries(pid_t pid, uint64_t first, size_t n, uint64_t *entry)
{
	char path[32];
	bool ok;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ok = read_at(fd, entry, n * sizeof(*entry), first * sizeof(*entry));
	close(fd);
	return ok;
}

static bool any_written(const uint64_t *entry, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (entry[i] & WRITTEN)
			return true;
	return false;
}

bool memory_read_written(const struct memory *m, uint64_t addr, void *buf, size_t bytes)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), first = addr / page,
		       end = addr + bytes;
	const size_t n = bytes ? (size_t)((end - 1) / page - first + 1) : 0;
	uint64_t *entry = m->reader ? calloc(n + 1, sizeof(*entry)) : NULL, from, to;
	bool ok = true;

	/* nothing at all: it may not be mapped, which is for memory_read to say */
	if (!entry || !read_entries(m->reader, first, n, entry) || !any_written(entry, n)) {
		free(entry);
		return memory_read(m, addr, buf, bytes);
	}
	memset(buf, 0, bytes);
	for (size_t i = 0, k; ok && i < n; i = k + 1) { /* page k is not written */
		for (k = i; k < n && (entry[k] & WRITTEN); k++)
			;
		if (k == i)
			continue;
		from = (first + i) * page > addr ? (first + i) * page : addr;
		to = (first + k) * page < end ? (first + k) * page : end;
		ok = memory_read(m, from, (char *)buf + (from - addr), to - from);
	}
	free(entry);
	return ok;
}

static bool is_root(const struct memory *m, uint64_t addr)
{
	const uint64_t self = offsetof(struct hak_root, layout) + offsetof(struct hak_layout, root);
	uint64_t says;

	return memory_read(m, addr + self, &says, sizeof(says)) && says == addr;
}

static uint64_t find_in(const struct memory *m, const struct span *s, char *window)
{
	uint64_t skip = -s->addr % ROOT_ALIGN;

	for (uint64_t at = skip; at < s->bytes; at += WINDOW) {
		size_t n = s->bytes - at < WINDOW ? (size_t)(s->bytes - at) : WINDOW;

		if (!read_at(m->fd, window, n, s->offset + at))
			return 0;
		for (size_t i = 0; i + 8 <= n; i += ROOT_ALIGN)
			if (!memcmp(window + i, HAK_MAGIC, 8) && is_root(m, s->addr + at + i))
				return s->addr + at + i;
	}
	return 0;
}

uint64_t memory_find_root(const struct memory *m)
{
	char *window = malloc(WINDOW);
	uint64_t found = 0;

	for (size_t i = 0; window && !found && i < m->nspans; i++)
		if (m->spans[i].written)
			found = find_in(m, &m->spans[i], window);
	free(window);
	return found;
}
