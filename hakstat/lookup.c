/*
 * What libdw makes of a file of the target's. It may be made to never end, to need all memory or
 * to crash, by debug information nested deeply enough: so this runs in a process of its own, which
 * can do nothing but answer, and is given up when it does not.
 */
#include "lookup.h"
#include "privilege.h"

#include <dirent.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 10		    /* for one address; the first of a large file takes seconds */
#define FAILURES_MOST 4		    /* then nobody is asked any more */
#define DATA_MOST ((rlim_t)4 << 30) /* memory */
#define NO_TEXT UINT16_MAX

struct lookup {
	const struct modules *modules;
	pid_t child;	  /* 0: none */
	int to;		  /* a socket, or -1 */
	unsigned version; /* of the modules, as the child has them */
	unsigned failures;
	double end_s; /* of the answer that is waited for */
	char *text;   /* of the last answer */
	size_t used;
	bool broken; /* the child cannot be asked any more */
};

struct question {
	uint64_t pc;
	uint32_t generation;
};

struct answer {
	uint32_t line;
	uint16_t inlined, length[2]; /* of function and file, which follow; NO_TEXT: none */
};

/* --- in the child --- */

/*
 * The compilation unit of an address. .debug_aranges only gives a hint: libdw takes what lies
 * between two ranges for part of the first, and clang writes none. Then all are asked.
 */
static Dwarf_Die *unit_of(Dwfl_Module *mod, uint64_t pc, Dwarf_Addr *bias)
{
	Dwarf_Die *cu = dwfl_module_addrdie(mod, pc, bias);

	if (cu && dwarf_haspc(cu, pc - *bias) == 1)
		return cu;
	cu = NULL;
	while ((cu = dwfl_module_nextcu(mod, cu, bias)))
		if (dwarf_haspc(cu, pc - *bias) == 1)
			return cu;
	return NULL;
}

static const char *attribute_text(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute a;

	return dwarf_formstring(dwarf_attr_integrate(die, name, &a));
}

static const char *die_name(Dwarf_Die *die)
{
	const char *linkage = attribute_text(die, DW_AT_linkage_name);

	return linkage ? linkage : attribute_text(die, DW_AT_name);
}

static unsigned attribute_number(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute a;
	Dwarf_Word v;

	return dwarf_formudata(dwarf_attr(die, name, &a), &v) ? 0 : (unsigned)v;
}

static const char *call_file(Dwarf_Die *cu, Dwarf_Die *die)
{
	Dwarf_Files *files;
	size_t n;
	unsigned i = attribute_number(die, DW_AT_call_file);

	if (dwarf_getsrcfiles(cu, &files, &n) || i >= n)
		return NULL;
	return dwarf_filesrc(files, i, NULL, NULL);
}

/* The scopes around an address, innermost first, with those a function was inlined into. */
static int scopes_of(Dwarf_Die *cu, uint64_t pc, Dwarf_Die **scopes)
{
	Dwarf_Die innermost;
	int n = dwarf_getscopes(cu, pc, scopes);

	if (n <= 0)
		return n;
	innermost = (*scopes)[0];
	free(*scopes);
	return dwarf_getscopes_die(&innermost, scopes);
}

/*
 * libdw opens a file that debug information shares with others by any name it finds, and a pipe
 * would keep us: only of the system's own debug files this is let happen (modules.c:open_shared).
 */
static bool may_be_read(Dwfl_Module *mod)
{
	const char *name, *debug_file = NULL;
	Dwarf_Addr bias;
	Dwarf *dwarf = dwfl_module_getdwarf(mod, &bias);
	const void *id;

	if (!dwarf || dwelf_dwarf_gnu_debugaltlink(dwarf, &name, &id) <= 0)
		return true;
	dwfl_module_info(mod, NULL, NULL, NULL, NULL, NULL, NULL, &debug_file);
	return debug_file && !strncmp(debug_file, "/usr/lib/debug/", 15);
}

/* Fills in functions, files and lines from debug information; how many frames, 0 if there is none.
 */
static unsigned by_debug(Dwfl_Module *mod, uint64_t pc, struct frame *f)
{
	Dwarf_Addr bias = 0;
	Dwarf_Die *scopes = NULL, *cu = unit_of(mod, pc, &bias);
	Dwarf_Line *line = cu ? dwarf_getsrc_die(cu, pc - bias) : NULL;
	const char *file = NULL;
	int at = 0, n;
	unsigned frames = 0;

	if (line && !dwarf_lineno(line, &at))
		file = dwarf_linesrc(line, NULL, NULL);
	f[0].file = file;
	f[0].line = at > 0 ? (unsigned)at : 0;
	n = cu ? scopes_of(cu, pc - bias, &scopes) : 0;
	for (int i = 0; i < n && frames < LOOKUP_INLINED; i++) {
		int tag = dwarf_tag(&scopes[i]);

		if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram)
			continue;
		f[frames].function = die_name(&scopes[i]);
		f[frames++].inlined = tag == DW_TAG_inlined_subroutine;
		if (tag == DW_TAG_subprogram || frames == LOOKUP_INLINED)
			break;
		f[frames].file = call_file(cu, &scopes[i]);
		f[frames].line = attribute_number(&scopes[i], DW_AT_call_line);
	}
	free(scopes);
	return frames;
}

static unsigned look_up(const struct modules *m, const struct question *q, struct frame *f)
{
	Dwfl *dwfl = modules_dwfl_of(m, q->generation);
	Dwfl_Module *mod = dwfl ? dwfl_addrmodule(dwfl, q->pc) : NULL;
	GElf_Off offset;
	GElf_Sym sym;
	unsigned n;

	if (!mod)
		return 0;
	n = may_be_read(mod) ? by_debug(mod, q->pc, f) : 0;
	if (n == 0 || !f[n - 1].function) {
		n += n == 0;
		f[n - 1].function =
			dwfl_module_addrinfo(mod, q->pc, &offset, &sym, NULL, NULL, NULL);
	}
	return n;
}

static void say(int to, const void *data, size_t bytes)
{
	while (bytes) {
		ssize_t n = write(to, data, bytes);

		if (n < 0 && errno != EINTR)
			_exit(1);
		if (n < 0)
			continue;
		data = (const char *)data + n;
		bytes -= (size_t)n;
	}
}

static uint16_t length_of(const char *text)
{
	return text ? (uint16_t)strnlen(text, LOOKUP_TEXT) : NO_TEXT;
}

static void say_frame(int to, const struct frame *f)
{
	char *plain = f->function ? demangled(f->function) : NULL;
	const char *text[] = {plain ? plain : f->function, f->file};
	struct answer a = {f->line, f->inlined, {0}};

	for (int i = 0; i < 2; i++)
		a.length[i] = length_of(text[i]);
	say(to, &a, sizeof(a));
	for (int i = 0; i < 2; i++)
		if (text[i])
			say(to, text[i], a.length[i]);
	free(plain);
}

/* What the parent has of BPF would stay for as long as it is open here. */
static void leave_behind(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	char link[64];

	while (d && (e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);

		if (n > 11 && !strncmp(link, "anon_inode:", 11))
			close(atoi(e->d_name));
	}
	if (d)
		closedir(d);
}

static _Noreturn void answer_all(const struct modules *m, int to, pid_t parent)
{
	const struct rlimit memory = {DATA_MOST, DATA_MOST}, none = {0, 0};
	struct frame f[LOOKUP_FRAMES];
	struct question q;
	ssize_t got;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	leave_behind();
	keep_nothing();
	setrlimit(RLIMIT_DATA, &memory);
	setrlimit(RLIMIT_CORE, &none);
	while ((got = read(to, &q, sizeof(q))) == sizeof(q) || (got < 0 && errno == EINTR)) {
		uint32_t n;

		if (got < 0)
			continue;
		memset(f, 0, sizeof(f));
		n = look_up(m, &q, f);
		say(to, &n, sizeof(n));
		for (uint32_t i = 0; i < n; i++)
			say_frame(to, &f[i]);
	}
	_exit(0);
}

/* --- in the parent --- */

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void end_child(struct lookup *l)
{
	if (l->child > 0) {
		kill(l->child, SIGKILL);
		while (waitpid(l->child, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (l->to >= 0)
		close(l->to);
	l->child = 0;
	l->to = -1;
}

static bool begin_child(struct lookup *l)
{
	pid_t parent = getpid();
	int ends[2];

	end_child(l);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return false;
	l->version = modules_version(l->modules);
	l->child = fork();
	if (l->child == 0) {
		close(ends[0]);
		answer_all(l->modules, ends[1], parent);
	}
	close(ends[1]);
	l->to = ends[0];
	return l->child > 0;
}

static bool hear(struct lookup *l, void *data, size_t bytes)
{
	char *to = data;

	while (bytes && !l->broken) {
		double left = l->end_s - now_s();
		struct pollfd p = {l->to, POLLIN, 0};
		int r = left > 0 ? poll(&p, 1, (int)(left * 1000) + 1) : 0;
		ssize_t n = r > 0 ? read(l->to, to, bytes) : 0;

		if ((r < 0 || n < 0) && errno == EINTR)
			continue;
		if (n <= 0) {
			l->broken = true;
			break;
		}
		to += n;
		bytes -= (size_t)n;
	}
	return !l->broken;
}

static const char *hear_text(struct lookup *l, uint16_t length)
{
	char *at = l->text + l->used;

	if (length == NO_TEXT)
		return NULL;
	if (length > LOOKUP_TEXT || !hear(l, at, length)) {
		l->broken = true;
		return NULL;
	}
	at[length] = '\0';
	l->used += length + 1U;
	return at;
}

/* The child has read what it was not to be trusted with: nor is what it says. */
static unsigned hear_frames(struct lookup *l, struct frame *f)
{
	uint32_t n;

	l->used = 0;
	if (!hear(l, &n, sizeof(n)))
		return 0;
	l->broken = n > LOOKUP_FRAMES;
	for (uint32_t i = 0; i < n && !l->broken; i++) {
		struct answer a;

		if (!hear(l, &a, sizeof(a)))
			break;
		f[i] = (struct frame){.line = a.line, .inlined = a.inlined != 0};
		f[i].function = hear_text(l, a.length[0]);
		f[i].file = hear_text(l, a.length[1]);
	}
	return l->broken ? 0 : n;
}

struct lookup *lookup_open(const struct modules *m)
{
	struct lookup *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->modules = m;
	l->to = -1;
	l->text = malloc(LOOKUP_FRAMES * 2 * (LOOKUP_TEXT + 1));
	if (l->text)
		return l;
	free(l);
	return NULL;
}

void lookup_close(struct lookup *l)
{
	if (!l)
		return;
	end_child(l);
	free(l->text);
	free(l);
}

unsigned lookup(struct lookup *l, unsigned generation, uint64_t pc, struct frame *f)
{
	const struct question q = {.pc = pc, .generation = generation};
	unsigned n = 0;

	if (l->failures >= FAILURES_MOST)
		return 0;
	if ((!l->child || l->version != modules_version(l->modules)) && !begin_child(l))
		return 0;
	l->broken = send(l->to, &q, sizeof(q), MSG_NOSIGNAL) != sizeof(q);
	l->end_s = now_s() + PATIENCE_S;
	if (!l->broken)
		n = hear_frames(l, f);
	if (l->broken) {
		l->failures++;
		end_child(l);
	}
	return n;
}
