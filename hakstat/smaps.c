#include "smaps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define VMAS_MAX 4000000U
#define PRESENT ((uint64_t)1 << 63) /* of an entry in pagemap, see proc(5) */
#define NUMBER (((uint64_t)1 << 55) - 1)
#define ENTRIES_MOST ((uint64_t)1 << 26) /* of 256 GiB, and of 16 times what is in memory */
#define BATCH ((size_t)8192)		 /* entries read at once */
#define USER_END ((uint64_t)1 << 47)

static struct vma *new_vma(struct smaps *s)
{
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 256;
		struct vma *more = room <= VMAS_MAX ? realloc(s->vma, room * sizeof(*more)) : NULL;

		if (!more)
			return NULL;
		s->vma = more;
		s->room = room;
	}
	return &s->vma[s->n];
}

/* The first line of a mapping; those that follow begin with a name and a colon. */
static bool parse_head(const char *line, struct vma *v)
{
	unsigned long start, end, inode;
	char perms[8];
	int at = 0;

	if (sscanf(line, "%lx-%lx %7s %*s %*s %lu %n", &start, &end, perms, &inode, &at) < 4)
		return false;
	*v = (struct vma){.start = start,
			  .end = end,
			  .read = perms[0] == 'r',
			  .write = perms[1] == 'w',
			  .shared = perms[3] == 's',
			  .file = inode != 0};
	if (at)
		snprintf(v->name, sizeof(v->name), "%.*s", (int)strcspn(line + at, "\n"),
			 line + at);
	return true;
}

static int read_smaps(struct smaps *s, FILE *f)
{
	struct vma *v = NULL;
	char *line = NULL;
	size_t len = 0;
	int r = 0;

	while (!r && getline(&line, &len, f) > 0) {
		unsigned long kib, small = OS_PAGE / 1024;
		struct vma next;

		if (v && sscanf(line, "Rss: %lu kB", &kib) == 1) {
			v->rss = (uint64_t)kib * 1024;
			s->rss += v->rss;
		} else if (v && sscanf(line, "KernelPageSize: %lu kB", &kib) == 1) {
			v->hugetlb = kib > small;
		} else if (v && (sscanf(line, "Shared_Hugetlb: %lu kB", &kib) == 1 ||
				 sscanf(line, "Private_Hugetlb: %lu kB", &kib) == 1)) {
			v->huge += (uint64_t)kib * 1024;
		} else if (parse_head(line, &next)) {
			v = new_vma(s);
			r = v ? 0 : -ENOMEM;
			if (v)
				s->vma[s->n++] = next;
		}
	}
	if (!r && ferror(f))
		r = -EIO;
	free(line);
	return r;
}

/*
 * What was only read is mapped to a page full of zeroes, small or huge, which pagemap shows like
 * any other and RSS leaves out. The kernel tells which those are (6.7), or their numbers do, which
 * only CAP_SYS_ADMIN sees: ours is the same.
 */
static uint64_t zero_page(void)
{
	volatile char *p = mmap(NULL, OS_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	if (p != MAP_FAILED) {
		(void)*p;
		if (fd < 0 ||
		    pread(fd, &entry, sizeof(entry),
			  (off_t)((uintptr_t)p / OS_PAGE * sizeof(entry))) != sizeof(entry))
			entry = 0;
		munmap((void *)p, OS_PAGE);
	}
	if (fd >= 0)
		close(fd);
	return entry & NUMBER;
}

/* ioctl(2) of pagemap, as linux/fs.h has it since 6.7. */
struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t inverted, mask, anyof_mask, return_mask;
};
struct scanned {
	uint64_t start, end, categories;
};
#define SCAN _IOWR('f', 16, struct scan)
#define IS_ZERO ((uint64_t)1 << 5)
#define SCAN_BATCH 512

static bool add_zeroes(struct smaps *s, const struct scanned *r, size_t n)
{
	struct zeroes *more;

	if (!n)
		return true;
	if (s->nzeroes + n > VMAS_MAX)
		return false;
	more = realloc(s->zeroes, (s->nzeroes + n) * sizeof(*more));
	if (!more)
		return false;
	s->zeroes = more;
	for (size_t i = 0; i < n; i++)
		more[s->nzeroes++] = (struct zeroes){r[i].start, r[i].end};
	return true;
}

/* All pages of zeroes from here to there, in order; false: the kernel does not tell. */
static bool scan_zeroes(struct smaps *s, uint64_t start, uint64_t end)
{
	static struct scanned found[SCAN_BATCH];
	struct scan a = {.size = sizeof(a),
			 .end = end,
			 .vec = (uintptr_t)found,
			 .vec_len = SCAN_BATCH,
			 .mask = IS_ZERO,
			 .return_mask = IS_ZERO};

	while (start < end) {
		int n;

		a.start = start;
		n = ioctl(s->pagemap, SCAN, &a);
		if (n < 0 || a.walk_end <= start || !add_zeroes(s, found, (size_t)n))
			return false;
		start = a.walk_end;
	}
	return true;
}

static void find_zeroes(struct smaps *s)
{
	size_t n = s->n;

	while (n && s->vma[n - 1].end > USER_END)
		n--;
	if (n && !scan_zeroes(s, s->vma[0].start, s->vma[n - 1].end)) {
		s->nzeroes = 0;
		s->zero = zero_page();
	}
}

static bool is_in(const struct smaps *s, uint64_t entry)
{
	return entry & PRESENT && !(s->zero && (entry & NUMBER) == s->zero);
}

/* -ESRCH: the process has ended, or became another program meanwhile. */
static int open_once(struct smaps *s, pid_t pid)
{
	bool refused;
	char path[64];
	FILE *f;
	int r;

	memset(s, 0, sizeof(*s));
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	s->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	refused = s->pagemap < 0 && (errno == EACCES || errno == EPERM);
	if (s->pagemap < 0 && !refused)
		return -errno;
	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	r = read_smaps(s, f);
	s->left = ENTRIES_MOST + 16 * s->rss / OS_PAGE;
	fclose(f);
	if (!r && !s->n)
		r = -ESRCH;
	if (!r && refused) {
		r = pagetables_read(&s->tables, pid);
		s->estimated = r && r != -ESRCH;
		r = s->estimated ? 0 : r;
	} else if (!r) {
		find_zeroes(s);
	}
	return r;
}

int smaps_open(struct smaps *s, pid_t pid)
{
	int r = open_once(s, pid);

	if (r != -ESRCH)
		return r;
	smaps_close(s);
	return open_once(s, pid); /* as another program it is read from its begin */
}

void smaps_close(struct smaps *s)
{
	if (s->pagemap >= 0)
		close(s->pagemap);
	free(s->vma);
	free(s->zeroes);
	pagetables_free(&s->tables);
	memset(s, 0, sizeof(*s));
	s->pagemap = -1;
}

struct vma *smaps_at(const struct smaps *s, uint64_t addr)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->vma[mid].end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low < s->n && s->vma[low].start <= addr ? &s->vma[low] : NULL;
}

/* Index of the first range that ends after addr. */
static size_t zeroes_from(const struct smaps *s, uint64_t addr)
{
	size_t low = 0, high = s->nzeroes;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->zeroes[mid].end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void leave_out_zeroes(const struct smaps *s, uint64_t start, uint64_t *entry, size_t n)
{
	uint64_t end = start + n * OS_PAGE;

	for (size_t i = zeroes_from(s, start); i < s->nzeroes && s->zeroes[i].start < end; i++) {
		uint64_t from = s->zeroes[i].start > start ? s->zeroes[i].start : start;
		uint64_t to = s->zeroes[i].end < end ? s->zeroes[i].end : end;

		for (; from < to; from += OS_PAGE)
			entry[(from - start) / OS_PAGE] &= ~PRESENT;
	}
}

static void read_tables(const struct smaps *s, uint64_t start, uint64_t *entry, size_t n)
{
	bool in[BATCH];

	pagetables_resident(&s->tables, start, n, in);
	for (size_t i = 0; i < n; i++)
		entry[i] = in[i] ? PRESENT : 0;
}

static bool read_entries(const struct smaps *s, uint64_t start, uint64_t *entry, size_t n)
{
	size_t bytes = n * sizeof(*entry);

	if (s->pagemap < 0) {
		read_tables(s, start, entry, n);
		return true;
	}
	if (pread(s->pagemap, entry, bytes, (off_t)(start / OS_PAGE * sizeof(*entry))) !=
	    (ssize_t)bytes)
		return false;
	leave_out_zeroes(s, start, entry, n);
	return true;
}

double smaps_share(struct smaps *s, uint64_t addr, uint64_t bytes)
{
	struct vma *v = smaps_at(s, addr);

	if (!v)
		return 0;
	if (s->counting) {
		v->expected += bytes;
		return 0;
	}
	return v->expected > v->rss ? (double)v->rss / (double)v->expected : 1;
}

static uint64_t estimate(struct smaps *s, uint64_t start, uint64_t end)
{
	uint64_t sum = 0;

	while (start < end) {
		struct vma *v = smaps_at(s, start);
		uint64_t to = v && v->end < end ? v->end : end, in;

		if (!v)
			return sum;
		in = (uint64_t)((double)(to - start) * smaps_share(s, start, to - start));
		v->taken += in;
		sum += in;
		start = to;
	}
	return sum;
}

bool smaps_resident(const struct smaps *s, uint64_t start, size_t pages, bool *in)
{
	uint64_t entry[BATCH];

	if (s->estimated) {
		memset(in, true, pages);
		return smaps_at(s, start) != NULL;
	}
	for (size_t i = 0; i < pages; i += BATCH) {
		size_t n = pages - i < BATCH ? pages - i : BATCH;

		if (!read_entries(s, start + i * OS_PAGE, entry, n))
			return false;
		for (size_t k = 0; k < n; k++)
			in[i + k] = is_in(s, entry[k]);
	}
	return true;
}

uint64_t smaps_resident_bytes(struct smaps *s, uint64_t start, uint64_t end)
{
	uint64_t entry[BATCH], bytes = 0;

	start &= ~(OS_PAGE - 1);
	if (s->estimated)
		return estimate(s, start, (end + OS_PAGE - 1) & ~(OS_PAGE - 1));
	while (start < end) {
		uint64_t pages = (end - start + OS_PAGE - 1) / OS_PAGE;
		size_t n = pages < BATCH ? (size_t)pages : BATCH;

		if (s->left < n || !read_entries(s, start, entry, n))
			return bytes;
		s->left -= n;
		for (size_t k = 0; k < n; k++)
			bytes += is_in(s, entry[k]) ? OS_PAGE : 0;
		start += n * OS_PAGE;
	}
	return bytes;
}
