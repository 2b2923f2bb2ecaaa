/*
 * Finding hakmem in a process. The target is not trusted: everything read from its files is
 * bounded, and what is printed of it is made safe for a terminal.
 */
#include "target.h"
#include "copies.h"
#include "mapped.h"
#include "privilege.h"
#include "proc_stat.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAPS_LINES 65536	/* more mappings than that are not looked at */
#define READ_MOST (256UL << 20) /* bytes of one file */
#define READ_ALL (1UL << 30)	/* of all files of a process */
#define SITES_MOST 4096		/* notes of our probes in one file */
#define SEGMENTS_MOST 1024	/* program headers */
#define AWAIT_TRIES 20		/* of 10 ms, while it runs without hakmem */
#define AWAIT_START 300		/* has it, and is about to start it */
#define AWAIT_SLEEPS 3		/* times it is found asleep: the dynamic linker does not sleep */
#define STRANGERS 16384

const char *const link_names[] = {"preload", "shared", "static", "-"};

/*
 * Files that are known not to be ours: a look at every process reads each of them once. A slot
 * is overwritten by the next file that falls into it, which costs another look.
 */
struct strangers {
	struct file_id {
		unsigned int major, minor;
		unsigned long inode;
		uint64_t path; /* hashed: btrfs shows one device for all its subvolumes */
	} slot[STRANGERS];
};

struct found {
	uint64_t root_vaddr, call_vaddr;
	uint32_t abi;
	bool has_root, has_base, has_call;
	uint64_t base;	/* of the probes' notes */
	uint64_t bytes; /* of the file, read so far */
	unsigned sites; /* notes of probes, read so far */
};

static uint64_t bytes_read; /* of all files of the process that is looked at */

void sanitize(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f || (*text & 0x80))
			*text = '?';
}

bool target_alive(pid_t pid)
{
	struct proc_stat s;

	return proc_stat_read(pid, &s) && s.state != 'Z' && s.state != 'X';
}

bool thread_runs(pid_t tid)
{
	struct proc_stat s;

	return proc_stat_read(tid, &s) && s.state != 'Z' && s.state != 'X' &&
	       !(s.flags & PROC_EXITING) && !(s.pending & 1UL << (SIGKILL - 1));
}

bool thread_sleeps(pid_t tid)
{
	struct proc_stat s;

	return proc_stat_read(tid, &s) && s.state == 'S';
}

pid_t target_reader(pid_t pid)
{
	char path[64];
	struct dirent *d;
	pid_t tid = 0;
	DIR *tasks;

	if (target_alive(pid))
		return pid;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks && !tid && (d = readdir(tasks))) {
		tid = (pid_t)strtol(d->d_name, NULL, 10);
		if (tid <= 0 || !target_alive(tid))
			tid = 0;
	}
	if (tasks)
		closedir(tasks);
	return tid ? tid : pid;
}

/* What has no memory that could hold a libhakmem, or NULL. */
static const char *without_memory(pid_t pid)
{
	struct proc_stat s;

	if (!proc_stat_read(pid, &s))
		return NULL;
	if (s.flags & PROC_KERNEL_THREAD)
		return "a kernel thread, which has no malloc";
	if (s.state != 'Z' || s.threads > 1) /* its first thread has ended, others have not */
		return NULL;
	return "a zombie: it has ended, and its parent has not waited for it yet";
}

static bool status_number(pid_t pid, const char *key, unsigned long *value)
{
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			found = sscanf(line + strlen(key), "%lu", value) == 1;
	fclose(f);
	return found;
}

/* Memory goes before the process is a zombie or gone. */
static bool has_memory(pid_t pid)
{
	unsigned long kib;

	return status_number(target_reader(pid), "VmRSS:", &kib);
}

uint64_t target_started(pid_t pid)
{
	struct proc_stat s;

	return proc_stat_read(pid, &s) ? s.started : 0;
}

int target_threads(pid_t pid)
{
	unsigned long n;

	return status_number(pid, "Threads:", &n) ? (int)n : 0;
}

uint64_t target_rss(pid_t pid)
{
	unsigned long kib;

	return status_number(pid, "VmRSS:", &kib) ? (uint64_t)kib * 1024 : 0;
}

uint64_t target_shared(pid_t pid)
{
	char path[64];
	unsigned long pages = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%*u %*u %lu", &pages) != 1)
		pages = 0;
	fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

int (*target_peek)(pid_t tid, const struct iovec *to, const struct iovec *from, size_t n);

ssize_t target_readv(pid_t tid, const struct iovec *to, const struct iovec *from, size_t n)
{
	ssize_t r = process_vm_readv(tid, to, n, from, n, 0), all = 0;

	if (r >= 0 || errno != EPERM || !target_peek)
		return r < 0 ? -errno : r;
	for (size_t i = 0; i < n; i++)
		all += (ssize_t)from[i].iov_len;
	r = target_peek(tid, to, from, n);
	return r < 0 ? r : all;
}

ssize_t target_read(pid_t tid, uint64_t addr, void *buf, size_t bytes)
{
	struct iovec to = {buf, bytes}, from = {(void *)(uintptr_t)addr, bytes};

	return target_readv(tid, &to, &from, 1);
}

/* The path goes to the end of the line and may contain spaces. */
bool parse_mapping(char *line, struct mapping *m)
{
	char perms[8];
	int at = 0;

	m->path[0] = 0;
	if (sscanf(line, "%lx-%lx %7s %lx %x:%x %lu %n", &m->start, &m->end, perms, &m->offset,
		   &m->major, &m->minor, &m->inode, &at) < 7)
		return false;
	m->code = perms[2] == 'x';
	line[strcspn(line, "\n")] = 0;
	snprintf(m->path, sizeof(m->path), "%s", at ? line + at : "");
	return m->inode != 0;
}

static bool ends_with(const char *s, const char *tail)
{
	size_t a = strlen(s), b = strlen(tail);

	return a >= b && !strcmp(s + a - b, tail);
}

static void strip_deleted(char *path)
{
	if (ends_with(path, " (deleted)"))
		path[strlen(path) - strlen(" (deleted)")] = 0;
}

/* Says nothing of the process or the file, but that we cannot go on. */
static bool is_ours(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM || error == EIO;
}

int open_regular(const char *path, unsigned long inode)
{
	/* a device does something when it is opened, a pipe waits: O_PATH does neither */
	int found = open(path, O_PATH | O_CLOEXEC), fd = -1, error;
	char again[64];
	struct stat st;

	if (found < 0)
		return -errno;
	error = EINVAL;
	if (!fstat(found, &st) && S_ISREG(st.st_mode) && (!inode || st.st_ino == inode)) {
		snprintf(again, sizeof(again), "/proc/self/fd/%d", found);
		fd = open(again, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		error = errno;
	}
	close(found);
	return fd < 0 ? -error : fd;
}

/* Would a path lead it to the same file as us? */
static bool same_mounts(pid_t pid)
{
	char path[64];
	struct stat its, ours;

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	return !stat(path, &its) && !stat("/proc/self/ns/mnt", &ours) &&
	       its.st_ino == ours.st_ino && its.st_dev == ours.st_dev;
}

static bool on_device(int fd, const struct mapping *m)
{
	struct stat st;

	return !fstat(fd, &st) && major(st.st_dev) == m->major && minor(st.st_dev) == m->minor;
}

/*
 * Opens what is really mapped: the mapping itself, else a path that leads to the same inode. By
 * the path alone the inode's number must do, since overlay file systems show another device here;
 * but not where the process chose what is mounted there.
 */
int open_mapping(pid_t pid, const struct mapping *m, char *path)
{
	char plain[PATH_MAX - 64];
	bool denied = false;
	int trouble = 0;

	snprintf(plain, sizeof(plain), "%.*s", (int)sizeof(plain) - 1, m->path);
	strip_deleted(plain);
	for (int i = 0; i < 3; i++) {
		int fd;

		if (i == 0)
			snprintf(path, PATH_MAX, "/proc/%d/map_files/%lx-%lx", pid, m->start,
				 m->end);
		else if (i == 1)
			snprintf(path, PATH_MAX, "/proc/%d/root%s", pid, plain);
		else
			snprintf(path, PATH_MAX, "%s", plain);
		fd = open_regular(path, m->inode);
		if (fd >= 0 && (i == 0 || on_device(fd, m) || same_mounts(pid)))
			return fd;
		if (fd >= 0)
			close(fd);
		denied |= i == 0 && (fd == -EPERM || fd == -EACCES);
		trouble = fd < 0 && is_ours(-fd) ? fd : trouble;
	}
	if (trouble)
		return trouble;
	/* gone, or in a mount namespace of its own */
	denied &= ends_with(m->path, " (deleted)") || (*plain == '/' && access(plain, F_OK));
	return denied ? -EACCES : -ENOENT;
}

static int probe_index(const char *provider, const char *name)
{
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		if (!strcmp(hak_probes[i].provider, provider) && !strcmp(hak_probes[i].name, name))
			return i;
	return -1;
}

static bool vaddr_to_offset(Elf *elf, uint64_t vaddr, uint64_t *offset)
{
	size_t n;
	GElf_Phdr ph;

	if (elf_getphdrnum(elf, &n))
		return false;
	for (size_t i = 0; i < n && i < SEGMENTS_MOST; i++) {
		if (!gelf_getphdr(elf, (int)i, &ph) || ph.p_type != PT_LOAD)
			continue;
		if (vaddr >= ph.p_vaddr && vaddr - ph.p_vaddr < ph.p_filesz) {
			*offset = vaddr - ph.p_vaddr + ph.p_offset;
			return true;
		}
	}
	return false;
}

static uint64_t section_addr(Elf *elf, const char *name)
{
	Elf_Scn *scn = NULL;
	size_t names;
	GElf_Shdr sh;

	if (elf_getshdrstrndx(elf, &names) || !gelf_getshdr(elf_getscn(elf, names), &sh) ||
	    sh.sh_size > READ_MOST)
		return 0;
	while ((scn = elf_nextscn(elf, scn))) {
		const char *s;

		if (gelf_getshdr(scn, &sh) && (s = elf_strptr(elf, names, sh.sh_name)) &&
		    !strcmp(s, name))
			return sh.sh_addr;
	}
	return 0;
}

/* What a file claims to hold must not cost any amount: sections may even overlap. */
static bool affordable(Elf *elf, struct found *f, const GElf_Shdr *sh)
{
	Elf_Scn *linked = sh->sh_type == SHT_NOTE ? NULL : elf_getscn(elf, sh->sh_link);
	GElf_Shdr strings = {0};

	if (linked && !gelf_getshdr(linked, &strings))
		return false;
	if (sh->sh_size > READ_MOST || strings.sh_size > READ_MOST)
		return false;
	f->bytes += sh->sh_size + strings.sh_size;
	bytes_read += sh->sh_size + strings.sh_size;
	return f->bytes <= READ_MOST && bytes_read <= READ_ALL;
}

/* desc: pc, base, semaphore, then provider\0 name\0 operands\0 */
static void stapsdt_note(struct target *t, Elf *elf, struct found *f, const char *desc, size_t len)
{
	uint64_t pc, base, semaphore, moved = 0;
	const char *provider = desc + 24, *name, *end = desc + len;
	int i;

	if (len < 27)
		return;
	memcpy(&pc, desc, 8);
	memcpy(&base, desc + 8, 8);
	memcpy(&semaphore, desc + 16, 8);
	name = memchr(provider, 0, (size_t)(end - provider));
	if (!name || ++name >= end || !memchr(name, 0, (size_t)(end - name)))
		return;
	i = probe_index(provider, name);
	if (i < 0 || t->site[i].found || f->sites++ >= SITES_MOST)
		return;
	if (!f->has_base)
		f->base = section_addr(elf, ".stapsdt.base");
	f->has_base = true;
	if (f->base)
		moved = f->base - base; /* by prelink, or 0 */
	t->site[i].found = vaddr_to_offset(elf, pc + moved, &t->site[i].offset);
	if (!semaphore || !vaddr_to_offset(elf, semaphore + moved, &t->site[i].semaphore))
		t->site[i].semaphore = 0;
	t->site[i].semaphore_addr = semaphore + moved;
}

static void one_note(struct target *t, Elf *elf, struct found *f, const GElf_Nhdr *nh,
		     const char *owner, const char *desc)
{
	if (!strcmp(owner, "stapsdt") && nh->n_type == 3) {
		stapsdt_note(t, elf, f, desc, nh->n_descsz);
	} else if (!strcmp(owner, HAK_NOTE_OWNER) && nh->n_type == HAK_NOTE_ROOT &&
		   nh->n_descsz >= 16) {
		memcpy(&f->root_vaddr, desc, 8);
		memcpy(&f->abi, desc + 8, 4);
		f->has_root = true;
	} else if (!strcmp(owner, HAK_NOTE_OWNER) && nh->n_type == HAK_NOTE_CALL &&
		   nh->n_descsz >= 8) {
		memcpy(&f->call_vaddr, desc, 8);
		f->has_call = true;
	} else if (!strcmp(owner, "GNU") && nh->n_type == NT_GNU_BUILD_ID) {
		for (size_t k = 0; k < nh->n_descsz && k < 20; k++)
			snprintf(t->build_id + 2 * k, 3, "%02x", (unsigned char)desc[k]);
	}
}

static void read_notes(struct target *t, Elf *elf, struct found *f, Elf_Scn *scn)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t at = 0, name_at, desc_at;
	GElf_Nhdr nh;

	if (!data)
		return;
	while ((at = gelf_getnote(data, at, &nh, &name_at, &desc_at)) > 0) {
		const char *owner = (const char *)data->d_buf + name_at;

		if (nh.n_namesz && nh.n_namesz < 16 && !owner[nh.n_namesz - 1])
			one_note(t, elf, f, &nh, owner, (const char *)data->d_buf + desc_at);
	}
}

static void read_symbol(Elf *elf, struct found *f, Elf_Scn *scn, const GElf_Shdr *sh)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t n = sh->sh_entsize ? sh->sh_size / sh->sh_entsize : 0;
	GElf_Sym sym;

	for (size_t i = 0; data && i < n && i < INT_MAX; i++) {
		const char *s;

		if (gelf_getsym(data, (int)i, &sym) &&
		    (s = elf_strptr(elf, sh->sh_link, sym.st_name)) && !strcmp(s, "hakmem_root") &&
		    sym.st_shndx != SHN_UNDEF) {
			f->root_vaddr = sym.st_value;
			f->abi = HAK_ABI;
			f->has_root = true;
			return;
		}
	}
}

/* The section headers, of which more than 65279 are counted elsewhere: no program has those. */
static bool is_elf64(int fd)
{
	Elf64_Ehdr h;

	return pread(fd, &h, sizeof(h), 0) == sizeof(h) && !memcmp(h.e_ident, ELFMAG, SELFMAG) &&
	       h.e_ident[EI_CLASS] == ELFCLASS64 && h.e_shnum;
}

static void read_sections(struct target *t, Elf *elf, struct found *f)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr sh;

	while ((scn = elf_nextscn(elf, scn)))
		if (gelf_getshdr(scn, &sh) && sh.sh_type == SHT_NOTE && affordable(elf, f, &sh))
			read_notes(t, elf, f, scn);
	while (!f->has_root && (scn = elf_nextscn(elf, scn)))
		if (gelf_getshdr(scn, &sh) &&
		    (sh.sh_type == SHT_DYNSYM || sh.sh_type == SHT_SYMTAB) &&
		    affordable(elf, f, &sh))
			read_symbol(elf, f, scn, &sh);
}

/*
 * Fills sites and build id. 0 if the file holds a libhakmem, -ENOEXEC if not; another negative
 * errno if a part of it could not be read, which libelf takes for a part that is not there.
 */
static int read_elf(struct target *t, int fd, struct found *f, uint64_t *first_vaddr)
{
	Elf *elf;
	size_t n;
	GElf_Phdr ph;

	elf_version(EV_CURRENT);
	errno = 0;
	elf = is_elf64(fd) ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
	if (!elf)
		return is_ours(errno) ? -errno : -ENOEXEC;
	read_sections(t, elf, f);
	*first_vaddr = 0;
	for (size_t i = 0; !elf_getphdrnum(elf, &n) && i < n && i < SEGMENTS_MOST; i++)
		if (gelf_getphdr(elf, (int)i, &ph) && ph.p_type == PT_LOAD) {
			*first_vaddr = ph.p_vaddr - ph.p_offset;
			break;
		}
	elf_end(elf);
	if (is_ours(errno))
		return -errno;
	return f->has_root ? 0 : -ENOEXEC;
}

int target_from_file(struct target *t, const char *path, char *err, size_t errlen)
{
	struct found f = {0};
	uint64_t vaddr;
	int fd = open_regular(path, 0), r = fd < 0 ? fd : 0;

	bytes_read = 0;
	memset(t, 0, sizeof(*t));
	if (r) {
		snprintf(err, errlen, "cannot open %s: %s", path,
			 r == -EINVAL ? "not a file" : strerror(-r));
		return r;
	}
	r = read_elf(t, fd, &f, &vaddr);
	close(fd);
	if (r == -ENOEXEC) {
		snprintf(err, errlen, "%s is not a libhakmem", path);
		return -ENOENT;
	}
	if (r) {
		snprintf(err, errlen, "cannot read %s: %s", path, strerror(-r));
		return r;
	}
	snprintf(t->open_path, sizeof(t->open_path), "%s", path);
	snprintf(t->lib, sizeof(t->lib), "%s", path);
	t->abi = f.abi;
	return 0;
}

static bool section_needs(Elf *elf, Elf_Scn *scn, const GElf_Shdr *sh, const char *file)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t n = data && sh->sh_entsize ? data->d_size / sh->sh_entsize : 0;
	GElf_Dyn dyn;

	for (size_t i = 0; i < n && i < 4096 && gelf_getdyn(data, (int)i, &dyn); i++) {
		const char *name;

		if (dyn.d_tag != DT_NEEDED)
			continue;
		name = elf_strptr(elf, sh->sh_link, dyn.d_un.d_val);
		if (name && (strstr(name, "hakmem") || !strcmp(name, file)))
			return true;
	}
	return false;
}

/* Is the program itself linked with us? (Its environment may be overwritten: redis does.) */
static enum link_kind link_of(pid_t pid, const char *library)
{
	const char *file = strrchr(library, '/') ? strrchr(library, '/') + 1 : library;
	char path[64];
	struct found f = {0};
	bool needs = false;
	Elf_Scn *scn = NULL;
	GElf_Shdr sh;
	Elf *elf;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	fd = open_regular(path, 0);
	if (fd < 0)
		return LINK_UNKNOWN;
	errno = 0;
	elf = is_elf64(fd) ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
	while (elf && !needs && (scn = elf_nextscn(elf, scn)))
		if (gelf_getshdr(scn, &sh) && sh.sh_type == SHT_DYNAMIC && affordable(elf, &f, &sh))
			needs = section_needs(elf, scn, &sh, file);
	elf_end(elf);
	close(fd);
	if (is_ours(errno))
		return LINK_UNKNOWN;
	return needs ? LINK_SHARED : LINK_PRELOAD;
}

static void describe(struct target *t, const struct mapping *m)
{
	char path[64];
	ssize_t n;
	FILE *f;

	snprintf(t->comm, sizeof(t->comm), "-");
	snprintf(path, sizeof(path), "/proc/%d/comm", t->pid);
	f = fopen(path, "re");
	if (f) {
		if (!fgets(t->comm, sizeof(t->comm), f))
			snprintf(t->comm, sizeof(t->comm), "-");
		t->comm[strcspn(t->comm, "\n")] = 0;
		fclose(f);
	}
	sanitize(t->comm);
	snprintf(path, sizeof(path), "/proc/%d/exe", t->reader);
	n = readlink(path, t->exe, sizeof(t->exe) - 1);
	t->exe[n > 0 ? n : 0] = 0;
	snprintf(t->lib, sizeof(t->lib), "%s", m->path);
	if (!strcmp(t->exe, t->lib))
		t->link = LINK_STATIC;
	else
		t->link = link_of(t->reader, t->lib);
	sanitize(t->exe);
	sanitize(t->lib);
}

/* By its file; -ENOEXEC: that is another one for sure. */
static int look_into_file(struct target *t, const struct mapping *m)
{
	struct found f = {0};
	uint64_t vaddr = 0;
	int fd = open_mapping(t->reader, m, t->open_path), r;

	if (fd < 0)
		return fd;
	snprintf(t->map_path, sizeof(t->map_path), "/proc/%d/map_files/%lx-%lx", t->reader,
		 m->start, m->end);
	memset(t->site, 0, sizeof(t->site));
	t->build_id[0] = 0;
	r = read_elf(t, fd, &f, &vaddr);
	close(fd);
	if (r)
		return r;
	t->abi = f.abi;
	t->bias = m->start - m->offset - vaddr;
	t->root_addr = f.root_vaddr + t->bias;
	t->call_addr = f.has_call ? f.call_vaddr + t->bias : 0;
	return 0;
}

/* By its memory, where the file is closed to us. A program's own copy tells of itself in its file
 * only. */
static int look_into_memory(struct target *t, const struct mapping *m)
{
	int r = mapped_root(t->reader, m, &t->root_addr, t->build_id);

	t->closed = !r;
	t->abi = HAK_ABI;
	t->open_path[0] = '\0';
	snprintf(t->map_path, sizeof(t->map_path), "/proc/%d/map_files/%lx-%lx", t->reader,
		 m->start, m->end);
	return r;
}

/* Is hakmem in this mapping, and has it started? -ENOEXEC: the file is another one for sure. */
static int try_mapping(struct target *t, const struct mapping *m)
{
	struct hak_root head;
	int r = look_into_file(t, m), seen;

	if (r == -EACCES || r == -ENOENT) {
		seen = look_into_memory(t, m);
		r = seen == -EACCES ? r : seen;
	}
	if (r)
		return r;
	describe(t, m);
	switch (target_read(t->reader, t->root_addr, &head, sizeof(head))) {
	case sizeof(head):
		break;
	case -EPERM:
		return -EPERM;
	case -ENOMEM:
		return -ENOMEM;
	default:
		return -EAGAIN;
	}
	if (memcmp(head.magic, HAK_MAGIC, sizeof(head.magic)) != 0)
		return -EAGAIN;
	t->start_ns = head.start_ns;
	memcpy(t->version, head.version, sizeof(t->version));
	t->version[sizeof(t->version) - 1] = 0;
	sanitize(t->version);
	return head.abi == HAK_ABI ? 0 : -EPROTO;
}

const char target_closed[] =
	"the file of its libhakmem cannot be opened, which probes take: it was deleted or replaced "
	"(root; or CAP_CHECKPOINT_RESTORE, and for another user's process CAP_DAC_READ_SEARCH), "
	"or is in another mount namespace (CAP_SYS_PTRACE)";

const char *target_reason(int error)
{
	switch (error) {
	case -ENOENT:
		return "libhakmem is not in it (start it with LD_PRELOAD=libhakmem.so, or link it)";
	case -EPERM:
		return has_capability(CAP_SYS_PTRACE)
			       ? "the kernel refuses its memory, CAP_SYS_PTRACE or not: it is in a "
				 "user namespace above this one, or a security module forbids it; "
				 "whether libhakmem is in it cannot be told"
			       : "no permission to read its memory (same user, or CAP_SYS_PTRACE)";
	case -EACCES:
		return "a file it runs cannot be opened: deleted or replaced (root; or "
		       "CAP_CHECKPOINT_RESTORE, and for another user's process "
		       "CAP_DAC_READ_SEARCH), or in another mount namespace (CAP_SYS_PTRACE): "
		       "whether libhakmem is in that cannot be told";
	case -EAGAIN:
		return "libhakmem is mapped but has not started";
	case -EPROTO:
		return "its libhakmem speaks another version of the contract than this hakstat";
	case -ENXIO:
		return "/proc is not mounted here";
	case -EMFILE:
		return "no more files can be opened here (ulimit -n)";
	default:
		return strerror(-error);
	}
}

static struct file_id file_id(const struct mapping *m)
{
	uint64_t hash = 0xcbf29ce484222325U; /* FNV-1a */

	for (const char *c = m->path; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 0x100000001b3U;
	return (struct file_id){m->major, m->minor, m->inode, hash};
}

static struct file_id *slot_of(struct strangers *s, const struct file_id *id)
{
	return &s->slot[(id->inode ^ id->path >> 32) % STRANGERS];
}

static bool is_stranger(struct strangers *s, const struct mapping *m)
{
	struct file_id id = file_id(m), *at = slot_of(s, &id);

	return at->inode == id.inode && at->major == id.major && at->minor == id.minor &&
	       at->path == id.path;
}

static void add_stranger(struct strangers *s, const struct mapping *m)
{
	struct file_id id = file_id(m);

	*slot_of(s, &id) = id;
}

/*
 * By what is in the files, not by their names: each that has code mapped. `m` is the first
 * mapping of the file, the one its addresses count from. *error: what ended the reading, or 0.
 */
static int scan_maps(struct target *t, FILE *maps, struct strangers *strangers, int *error)
{
	static struct target one;
	char line[PATH_MAX + 128];
	struct mapping m, next;
	int best = -ENOENT;

	m.inode = 0;
	for (int i = 0; i < MAPS_LINES; i++) {
		int r;

		errno = 0;
		if (!fgets(line, sizeof(line), maps)) {
			*error = errno;
			break;
		}

		if (!parse_mapping(line, &next))
			continue;
		if (next.inode != m.inode || next.major != m.major || next.minor != m.minor)
			m = next;
		else if (m.code) /* has been looked at */
			continue;
		m.code = next.code;
		if (!m.code || (strangers && is_stranger(strangers, &m)))
			continue;
		one = (struct target){.pid = t->pid, .reader = t->reader};
		r = try_mapping(&one, &m);
		if (r == 0)
			copies_keep(t, &one);
		if (r == -ENOEXEC && strangers)
			add_stranger(strangers, &m);
		if (r != -ENOENT && r != -ENOEXEC && (r != -EACCES || best == -ENOENT))
			best = r; /* what is known of hakmem tells more than a closed file */
	}
	return t->copies ? 0 : best;
}

static int open_quietly(struct target *t, pid_t pid, struct strangers *strangers)
{
	char path[64];
	FILE *maps;
	int r, error = 0;

	bytes_read = 0;
	memset(t, 0, sizeof(*t));
	t->pid = pid;
	t->reader = target_reader(pid);
	snprintf(path, sizeof(path), "/proc/%d/maps", t->reader);
	maps = fopen(path, "re");
	if (!maps)
		return errno == ENOENT ? -ESRCH : errno == EACCES ? -EPERM : -errno;
	r = scan_maps(t, maps, strangers, &error);
	if (r == -ENOENT && error && ferror(maps))
		r = is_ours(error) ? -error : -EPERM;
	fclose(maps);
	return r;
}

struct strangers *strangers_new(void)
{
	return calloc(1, sizeof(struct strangers));
}

void strangers_free(struct strangers *s)
{
	free(s);
}

int target_look(struct target *t, pid_t pid, struct strangers *s)
{
	return open_quietly(t, pid, s);
}

int target_open(struct target *t, pid_t pid, char *err, size_t errlen)
{
	int r = open_quietly(t, pid, NULL);
	const char *what = r ? without_memory(pid) : NULL;

	if (what) {
		snprintf(err, errlen, "process %d: %s", pid, what);
		return -ENOENT;
	}
	if (r && r != -ESRCH && !has_memory(pid)) { /* what was found is no matter then */
		snprintf(err, errlen, "process %d has ended", pid);
		return -ESRCH;
	}
	if (r == -ENOENT && geteuid() != 0) {
		char path[64], c;
		int fd;

		/* an unreadable maps file reads as empty: tell this from "not there" */
		snprintf(path, sizeof(path), "/proc/%d/maps", pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, &c, 1) != 1)
			r = -EPERM;
		if (fd >= 0)
			close(fd);
	}
	if (r == -ESRCH && (!kill(pid, 0) || errno == EPERM)) {
		snprintf(err, errlen,
			 "process %d is there, but /proc does not show it (mounted with hidepid?): "
			 "run as root, or with CAP_SYS_PTRACE",
			 pid);
		return -EPERM;
	}
	if (r == -ESRCH)
		snprintf(err, errlen, "no process %d", pid);
	else if (r)
		snprintf(err, errlen, "process %d: %s", pid, target_reason(r));
	return r;
}

/* Who sleeps is what it is; or was not, a moment ago. */
int target_await(struct target *t, pid_t pid, char *err, size_t errlen)
{
	int r = -ESRCH, sleeps = 0, most = AWAIT_TRIES;

	for (int i = 0; i < most && sleeps < AWAIT_SLEEPS; i++) {
		r = target_open(t, pid, err, errlen);
		if ((r != -ENOENT && r != -EAGAIN && r != -ESRCH) || !target_alive(pid))
			break;
		if (r == -EAGAIN)
			most = AWAIT_START;
		if (thread_sleeps(pid))
			sleeps++;
		else
			usleep(10000);
	}
	return r;
}

int target_each(bool (*fn)(const struct target *t, void *arg), void *arg)
{
	DIR *proc = opendir("/proc");
	struct target *t = malloc(sizeof(*t));
	struct strangers *strangers = calloc(1, sizeof(*strangers)); /* or NULL: slower */
	int result = proc ? t ? 0 : -ENOMEM : -errno;

	if (!result && access("/proc/self", F_OK))
		result = -ENXIO;
	while (proc && t) {
		struct dirent *d;
		char *end;
		long pid;
		int r;

		errno = 0;
		d = readdir(proc);
		if (!d) {
			result = result ? result : -errno;
			break;
		}
		pid = strtol(d->d_name, &end, 10);
		if (*end || pid <= 0)
			continue;
		r = open_quietly(t, (pid_t)pid, strangers);
		if (is_ours(-r) && !result)
			result = r;
		if (!r && !fn(t, arg))
			break;
	}
	free(strangers);
	free(t);
	if (proc)
		closedir(proc);
	return result;
}
