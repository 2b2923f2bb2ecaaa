/*
 * Blocks that libc makes and the program frees, or the other way round: each comes from the same
 * heap. Then what glibc's manual says of the functions that look at the heap and steer it.
 */
#include "life.h"

#include <argz.h>
#include <dirent.h>
#include <execinfo.h>
#include <glob.h>
#include <limits.h>
#include <locale.h>
#include <malloc.h>
#include <obstack.h>
#include <regex.h>
#include <search.h>
#include <sys/stat.h>
#include <wchar.h>

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* ---- who gives a block to the program, at least n bytes of it in use ---- */

#define TEXT "a text of some length that libc has to make room for"

static size_t in_use(void)
{
	return mallinfo2().uordblks;
}

/* It is ours, so it counts among the blocks in use, and is long enough. */
static void take(const char *who, void *p, size_t n)
{
	size_t before = in_use(), usable = p ? malloc_usable_size(p) : 0;

	if (!CHECK(p != NULL) || !CHECK(usable >= n))
		test_say("#   %s: %zu bytes, %zu needed\n", who, usable, n);
	free(p);
	/* in secure mode a block counts with its seal */
	if (!CHECK(before - in_use() >= usable && before - in_use() <= 2 * usable + 32))
		test_say("#   %s\n", who);
}

static void texts(void)
{
	char *p = NULL;

	take("strdup", strdup(TEXT), sizeof(TEXT));
	take("strndup", strndup(TEXT, 9), 10);
	take("wcsdup", wcsdup(L"wide"), 5 * sizeof(wchar_t));
	CHECK(asprintf(&p, "%s %5000d", TEXT, 7) == sizeof(TEXT) + 5000);
	take("asprintf", p, sizeof(TEXT) + 5001);
	CHECK(sscanf("word and more", "%ms", &p) == 1 && !strcmp(p, "word"));
	take("sscanf %ms", p, 5);
	CHECK(snprintf(NULL, 0, "%2$*1$d", 300000, 1) == 300000); /* a work area of its own */
}

static void lines(void)
{
	static char text[40000];
	FILE *f;
	char *line = malloc(1);
	size_t room = 1;

	memset(text, 'x', sizeof(text) - 1);
	text[100] = text[20000] = '\n';
	f = fmemopen(text, sizeof(text) - 1, "r");
	CHECK_EQ(getline(&line, &room, f), 101); /* grows what malloc gave */
	CHECK(malloc_usable_size(line) >= room && room > 101);
	CHECK_EQ(getline(&line, &room, f), 20000 - 100);
	take("getline", line, room);
	line = NULL;
	room = 0;
	CHECK_EQ(getdelim(&line, &room, '#', f), 40000 - 20002);
	take("getdelim", line, room);
	fclose(f);
}

static void streams(void)
{
	char *text = NULL;
	wchar_t *wide = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	for (int i = 0; i < 10000; i++)
		fputs(TEXT, f);
	fclose(f);
	CHECK_EQ(n, 10000 * (sizeof(TEXT) - 1));
	take("open_memstream", text, n + 1);
	f = open_wmemstream(&wide, &n);
	for (int i = 0; i < 10000; i++)
		fputwc(L'w', f);
	fclose(f);
	take("open_wmemstream", wide, (n + 1) * sizeof(wchar_t));
	f = fopen("/dev/null", "w");
	text = malloc(70000);
	setvbuf(f, text, _IOFBF, 70000);
	fputs(TEXT, f);
	fclose(f);
	take("setvbuf", text, 70000);
}

static void paths(void)
{
	struct dirent **list = NULL;
	int n = scandir("/", &list, NULL, alphasort);

	CHECK(n > 2);
	while (n-- > 0)
		take("scandir", list[n], offsetof(struct dirent, d_name) + 2);
	take("scandir", list, sizeof(*list));
	take("realpath", realpath("/proc/self/../self/.", NULL), 7);
	take("canonicalize_file_name", canonicalize_file_name("/usr/../usr"), 5);
	take("getcwd", getcwd(NULL, 0), 2);
	take("getcwd 5000", getcwd(NULL, 5000), 5000);
	take("get_current_dir_name", get_current_dir_name(), 2);
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void vectors(void)
{
	void *root = NULL, *stack[16];
	char *argz = NULL;
	size_t n = 0;

	for (int i = 0; i < 100; i++)
		argz_add(&argz, &n, TEXT);
	take("argz_add", argz, n);
	for (int i = 0; i < 500; i++) {
		char key[20];

		snprintf(key, sizeof(key), "%d", i * 7919 % 500);
		tsearch(strdup(key), &root, compare);
	}
	tdestroy(root, free);
	n = (size_t)backtrace(stack, 16);
	take("backtrace_symbols", backtrace_symbols(stack, (int)n), n * sizeof(char *));
}

static void *chunk_of(size_t n)
{
	return malloc(n);
}
#define obstack_chunk_alloc chunk_of
#define obstack_chunk_free free

/* What libc keeps to itself and gives back: as much is in use as before. */
static void kept_by_libc(void)
{
	static int big[60000]; /* sorted in a copy */
	struct obstack o;
	regex_t re;
	glob_t g;
	locale_t l;

	for (unsigned i = 0; i < COUNT(big); i++)
		big[i] = (int)(i * 7919U % 60000);
	qsort(big, COUNT(big), sizeof(*big), compare);
	CHECK(regcomp(&re, "^(a|b)*[[:alpha:]]{2,50}$", REG_EXTENDED) == 0);
	CHECK(regexec(&re, "ababzz", 0, NULL, 0) == 0);
	regfree(&re);
	CHECK(glob("/proc/self/*", 0, NULL, &g) == 0 && g.gl_pathc > 5);
	globfree(&g);
	CHECK(hcreate(3000) != 0);
	hdestroy();
	l = newlocale(LC_ALL_MASK, "C", NULL);
	freelocale(l);
	obstack_init(&o);
	for (int i = 0; i < 1000; i++)
		obstack_grow(&o, TEXT, sizeof(TEXT));
	CHECK(!strcmp(obstack_finish(&o), TEXT));
	obstack_free(&o, NULL);
	closedir(opendir("/"));
	fclose(fopen("/dev/null", "r"));
}

static void what_libc_keeps_it_gives_back(void)
{
	size_t before;

	kept_by_libc(); /* some of it is made once */
	before = in_use();
	for (int i = 0; i < 3; i++)
		kept_by_libc();
	CHECK_EQ(in_use(), before);
}

static void environment(void)
{
	static char text[100];
	size_t before;

	setenv("CONFORM", "0", 1);
	before = in_use();
	for (int i = 0; i < 300; i++) {
		snprintf(text, sizeof(text), "CONFORM_%d", i);
		setenv(text, TEXT, 1);
	}
	for (int i = 0; i < 300; i++) {
		snprintf(text, sizeof(text), "CONFORM_%d", i);
		CHECK(getenv(text) && !strcmp(getenv(text), TEXT));
		unsetenv(text);
	}
	CHECK(in_use() > before); /* libc never frees these */
	heap_is_whole();
}

/* ---- looking at the heap ---- */

/* A block changes what is in use by its size, in secure mode with what guards it. */
static void mallinfo_tells_what_is_in_use(void)
{
	static const size_t sizes[] = {1, 100, 5000, 60000, 300000, 1000000, 50 << 20};
	struct mallinfo2 a, b;

	for (size_t i = 0; i < COUNT(sizes); i++) {
		void *p;

		a = mallinfo2();
		p = malloc(sizes[i]);
		b = mallinfo2();
		CHECK(b.uordblks - a.uordblks >= malloc_usable_size(p));
		CHECK(b.uordblks - a.uordblks <= malloc_usable_size(p) * 5 / 4 + 32);
		if (sizes[i] > 1 << 21) {
			CHECK_EQ(b.hblks - a.hblks, 1);
			CHECK(b.hblkhd - a.hblkhd >= sizes[i]);
		}
		CHECK(b.arena + b.hblkhd >= b.uordblks);
		CHECK(b.arena + b.hblkhd >= b.fordblks);
		CHECK_EQ(b.usmblks, 0); /* always, says the manual */
		free(p);
		CHECK_EQ(mallinfo2().uordblks, a.uordblks);
		CHECK_EQ(mallinfo2().hblks, a.hblks);
	}
}

/* The old one counts in int: what is too much for it must not look like something else. */
static void mallinfo_in_ints(void)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	struct mallinfo m = mallinfo();
	struct mallinfo2 n = mallinfo2();
	void *p;

	CHECK_EQ(m.arena, n.arena);
	CHECK_EQ(m.hblks, n.hblks);
	CHECK_EQ(m.hblkhd, n.hblkhd);
	CHECK_EQ(m.uordblks, n.uordblks);
	p = malloc((size_t)3 << 30);
	if (p) {
		m = mallinfo();
		CHECK(m.uordblks == INT_MAX && m.hblkhd == INT_MAX);
	}
	free(p);
#pragma GCC diagnostic pop
}

static void trim_says_whether_it_returned_any(void)
{
	static void *p[300];
	size_t rss;

	for (size_t i = 0; i < COUNT(p); i++)
		memset(p[i] = malloc(50000), 1, 50000);
	rss = test_rss();
	for (size_t i = 0; i < COUNT(p); i++)
		free(p[i]);
	CHECK_EQ(malloc_trim(0), 1);
	CHECK(test_rss() + (10U << 20) < rss);
	CHECK_EQ(malloc_trim(0), 0);
	CHECK_EQ(malloc_trim(SIZE_MAX), 0);
}

static void malloc_info_writes_xml(void)
{
	static char room[16384];
	FILE *f = fmemopen(room, sizeof(room), "w");
	unsigned depth = 0, elements = 0;

	CHECK_EQ(malloc_info(0, f), 0);
	fclose(f);
	CHECK(!strncmp(room, "<malloc version=\"", 17));
	for (const char *s = room; (s = strchr(s, '<')); s++) {
		const char *end = strchr(s, '>');

		elements++;
		if (!CHECK(end != NULL))
			break;
		if (s[1] == '/')
			CHECK(depth-- > 0);
		else if (end[-1] != '/')
			depth++;
	}
	CHECK(elements > 4);
	CHECK_EQ(depth, 0);
}

static void malloc_info_says_what_is_wrong(void)
{
	FILE *full = fopen("/dev/full", "w");

	errno = 0;
	CHECK(malloc_info(1, stdout) == -1 && errno == EINVAL);
	errno = 0;
	CHECK(malloc_info(-1, stdout) == -1 && errno == EINVAL);
	setvbuf(full, NULL, _IONBF, 0);
	CHECK_EQ(malloc_info(0, full), -1);
	fclose(full);
}

/* On stderr, and on nothing else; no allocation. */
static void malloc_stats_writes_on_stderr(void)
{
	static char text[8192];
	int ends[2], saved = dup(STDERR_FILENO);
	size_t before = in_use();
	ssize_t n;

	CHECK_EQ(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	malloc_stats();
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[1]);
	n = read(ends[0], text, sizeof(text) - 1);
	close(ends[0]);
	CHECK(n > 100 && text[n - 1] == '\n');
	CHECK_EQ(in_use(), before);
}

/* 1: taken, 0: not. What it takes changes no promise. */
static void mallopt_takes_hints(void)
{
	static const int hints[] = {M_MXFAST,	M_TRIM_THRESHOLD, M_TOP_PAD,  M_MMAP_THRESHOLD,
				    M_MMAP_MAX, M_ARENA_TEST,	  M_ARENA_MAX};
	struct bag b = {.state = 9};

	for (size_t i = 0; i < COUNT(hints); i++)
		CHECK_EQ(mallopt(hints[i], 8), 1);
	CHECK_EQ(mallopt(-12345, 1), 0);
	CHECK_EQ(mallopt(M_PERTURB, 1), 0);
	CHECK_EQ(mallopt(M_CHECK_ACTION, 1), 1);
	bag_steps(&b, 500);
	bag_empty(&b);
	heap_is_whole();
}

int main(void)
{
	RUN(texts);
	RUN(lines);
	RUN(streams);
	RUN(paths);
	RUN(vectors);
	RUN(what_libc_keeps_it_gives_back);
	RUN(environment);
	RUN(mallinfo_tells_what_is_in_use);
	RUN(mallinfo_in_ints);
	RUN(trim_says_whether_it_returned_any);
	RUN(malloc_info_writes_xml);
	RUN(malloc_info_says_what_is_wrong);
	RUN(malloc_stats_writes_on_stderr);
	RUN(mallopt_takes_hints);
	return test_done();
}
