/*
 * A process that says it runs on libhakmem, and lies: it has the note and a root of its own, and
 * no allocator. Each mode is one lie. It says "ready", then goes on as the mode says until it is
 * killed. hakstat may say what it likes of it, in finite time, and nothing else.
 *
 *   hostile              lists the modes
 *   hostile MODE
 *   hostile maps FILE... a root like any other, and files mapped as if their code were run
 */
#include "shared.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define ESCAPE "\033]0;owned\007\033[31m\r\n\x9b\x80"
#define SLICE 65536U
#define WIDE ((size_t)1 << 30)

struct hak_root hakmem_root;
static struct hak_root *const root = &hakmem_root;

/* As lib/root.c has it. ABI: the digits of HAK_ABI, by who compiles this. */
#define TEXT(x) TEXT_(x)
#define TEXT_(x) #x
__asm__(".pushsection .note.hakmem,\"\",@note\n"
	".balign 4\n"
	".4byte 7, 16, 1\n"
	".asciz \"hakmem\"\n"
	".balign 4\n"
	".8byte hakmem_root\n"
	".4byte " TEXT(ABI) ", 0\n"
			    ".popsection\n");
_Static_assert(HAK_NOTE_ROOT == 1 && HAK_ABI == ABI, "numbers in the note above");

/* A heap, a page, a segment as large as can be. */
static char *wide; /* address space full of zeroes, WIDE bytes */
static uint64_t leaf[SLICE], roots[SLICE];
static uint64_t first_segment;

static uint64_t at(const void *p)
{
	return (uintptr_t)p;
}

/* What could be true: no heap, no segment, nothing. */
static void make_root(void)
{
	struct hak_layout *l = &root->layout;
	uint16_t place = 0;

	root->abi = HAK_ABI;
	root->root_bytes = sizeof(*root);
	root->heap_bytes = (sizeof(struct hak_heap_view) + 63 + 512) & ~63U;
	root->classes = 57;
	root->pid = (uint32_t)getpid();
	snprintf(root->version, sizeof(root->version), "0.1.0");
	for (uint32_t c = 1; c < HAK_CLASS_MAX; c++) {
		root->class_bytes[c] = 16 * c;
		root->page_bytes[c] = SLICE;
	}
	root->start_ns = 1;
	l->root = at(root);
	l->segments = at(&first_segment);
	l->pagemap = at(roots);
	l->slice_bytes = SLICE;
	l->page_bytes = 704;
	l->segment_bytes = 65536;
	for (int i = 0; i < HAK_AT_COUNT; i++, place += 8) {
		if (i == HAK_AT_segment_BASE || i == HAK_AT_heap_LOCK)
			place = 0;
		if (i >= HAK_AT_heap_LOCK)
			l->at[i] = (uint16_t)(sizeof(struct hak_heap_view) + place);
		else
			l->at[i] = place;
	}
	l->at[HAK_AT_page_BITS] = 128;
	for (unsigned k = 0; k < HAK_HEAP_CHUNKS; k++)
		root->heap_chunk[k] = at(wide);
}

static void ready(void)
{
	memcpy(root->magic, HAK_MAGIC, sizeof(root->magic));
	puts("ready");
	fflush(stdout);
}

static uint64_t next_random(void)
{
	static uint64_t x = 88172645463325252U;

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

/* --- lies that stand still --- */

static void heaps_many(void)
{
	struct hak_heap_view *v = (void *)wide;

	root->heaps = 100000;
	v->seq.busy = 1;
	v->state = HAK_HEAP_LIVE;
}

static void heaps_beyond(void)
{
	root->heaps = UINT32_MAX;
}

static void heaps_nowhere(void)
{
	root->heaps = 1000;
	for (unsigned k = 0; k < HAK_HEAP_CHUNKS; k++)
		root->heap_chunk[k] = UINT64_MAX - 4096 * k;
}

static void heap_bytes(void)
{
	root->heaps = 4;
	root->heap_bytes = 1;
}

static void no_classes(void)
{
	root->heaps = 1;
	root->classes = 0;
}

static void classes_beyond(void)
{
	root->heaps = 1;
	root->classes = UINT32_MAX;
}

static void layout(void)
{
	root->heaps = 1;
	memset(&root->layout.at, 0xff, sizeof(root->layout.at));
}

static void version(void)
{
	memset(root->version, 'v', sizeof(root->version));
	memcpy(root->version, ESCAPE, sizeof(ESCAPE) - 1);
	root->heaps = 1;
}

/* Everything in the root but what is needed to be believed. */
static void garbage(void)
{
	unsigned char *p = (unsigned char *)root + offsetof(struct hak_root, class_bytes);

	for (size_t i = 0;
	     i < offsetof(struct hak_root, layout) - offsetof(struct hak_root, class_bytes); i++)
		p[i] = (unsigned char)next_random();
	for (unsigned k = 0; k < HAK_HEAP_CHUNKS; k++)
		root->heap_chunk[k] = at(wide);
	for (size_t i = 0; i < 1 << 20; i += 8)
		*(uint64_t *)(void *)(wide + i) = next_random();
	root->heaps = 100;
}

/* Caches of 2^24 blocks, as many as fit. */
static void caches(void)
{
	struct hak_heap_view *v = (void *)wide;

	for (unsigned c = 1; c < HAK_CLASS_MAX; c++) {
		v->bin[c].slots = (void **)(void *)wide;
		v->bin[c].top = v->bin[c].slots + (1 << 24);
	}
	root->heaps = 100000;
	first_segment = at(wide + (1 << 20));
	*(uint64_t *)(void *)(wide + (1 << 20)) = at(wide);
}

/* --- lists without an end --- */

static void segment_ring(void)
{
	char *s = wide;

	first_segment = at(s);
	*(uint64_t *)(void *)(s + root->layout.at[HAK_AT_segment_NEXT]) = at(s);
}

/* Each begins eight bytes behind the one before: as many as there is memory for. */
static void segment_chain(void)
{
	uint64_t *s = (uint64_t *)(void *)wide;
	unsigned next = root->layout.at[HAK_AT_segment_NEXT] / 8;

	first_segment = at(s);
	for (size_t i = 0; i < 16 << 20; i++)
		s[i + next] = at(s + i + 1);
}

/* Every table of the map is the same, and each of its entries another page. */
static void pages_endless(void)
{
	char *two = wide;

	two[root->layout.at[HAK_AT_page_KIND]] = PAGE_MAPPED;
	two[2048 + root->layout.at[HAK_AT_page_KIND]] = PAGE_MAPPED;
	for (size_t i = 0; i < SLICE; i++) {
		roots[i] = at(leaf);
		leaf[i] = at(two + 2048 * (i & 1));
	}
}

/* A block of 2^46 bytes in each of them. */
static void page_huge(void)
{
	for (size_t i = 0; i < SLICE; i++) {
		char *d = wide + i * 1024;
		uint64_t start = (uint64_t)i << 16, bytes = (uint64_t)1 << 46;

		leaf[i] = at(d);
		memcpy(d + root->layout.at[HAK_AT_page_START], &start, 8);
		memcpy(d + root->layout.at[HAK_AT_page_BYTES], &bytes, 8);
		memcpy(d + root->layout.at[HAK_AT_page_MAP_BYTES], &bytes, 8);
		d[root->layout.at[HAK_AT_page_KIND]] = PAGE_MAPPED;
	}
	roots[0] = at(leaf);
}

static void self_root(void)
{
	root->layout.segments = at(root);
	root->layout.pagemap = at(root);
	root->layout.class_map = root->layout.class_mask = root->layout.options = at(root);
	for (unsigned k = 0; k < HAK_HEAP_CHUNKS; k++)
		root->heap_chunk[k] = at(root);
	root->heaps = 64;
}

/* --- lies that change --- */

static void wild(void)
{
	uint64_t *p = (uint64_t *)(void *)wide, *lock = (uint64_t *)(void *)root->lock;
	size_t n = 4 * root->heap_bytes / 8, k = next_random() % n;

	root->heaps = 4;
	for (size_t i = 0; i < 200; i++)
		p[(k + i) % n] = next_random();
	for (size_t i = 0; i < (sizeof(root->lock) + sizeof(root->os) + sizeof(root->now)) / 8; i++)
		lock[i] = next_random();
}

static void backwards(void)
{
	static uint64_t n = (uint64_t)1 << 60;
	struct hak_heap_view *v = (void *)wide;

	root->heaps = 1;
	n -= next_random() % 100000;
	for (unsigned c = 0; c < HAK_CLASS_MAX; c++) {
		v->bin[c].frees = n;
		v->stat[c].refills = n;
		v->stat[c].flushes = n;
		v->stat[c].remote_blocks = n;
	}
	v->starts = (uint32_t)n;
	v->remote_blocks = v->drain_blocks = n;
	root->os.maps = root->lock[0].waits = n;
}

static void another_start(void)
{
	root->heaps = 1;
	root->start_ns++;
}

static void magic(void)
{
	root->magic[0] ^= 1;
}

static void abi(void)
{
	root->abi ^= 1;
}

static void *in_turn(void *arg)
{
	static const struct timespec some = {0, 300000};

	for (;;) {
		((void (*)(void))(uintptr_t)arg)();
		nanosleep(&some, NULL);
	}
	return NULL;
}

static void *sleeper(void *arg)
{
	prctl(PR_SET_NAME, ESCAPE);
	for (;;)
		pause();
	return arg;
}

static void names(void)
{
	struct hak_heap_view *v = (void *)wide;
	pthread_t t;

	prctl(PR_SET_NAME, ESCAPE);
	for (int i = 0; i < 4; i++)
		if (pthread_create(&t, NULL, sleeper, NULL))
			exit(1);
	root->heaps = 1;
	v->tid = (uint32_t)getpid();
	v->starts = 1;
}

static const struct mode {
	const char *name;
	void (*once)(void), (*again)(void);
} modes[] = {
	{"heaps-many", heaps_many, NULL},
	{"heaps-beyond", heaps_beyond, NULL},
	{"heaps-nowhere", heaps_nowhere, NULL},
	{"heap-bytes", heap_bytes, NULL},
	{"no-classes", no_classes, NULL},
	{"classes-beyond", classes_beyond, NULL},
	{"layout", layout, NULL},
	{"version", version, NULL},
	{"garbage", garbage, NULL},
	{"caches", caches, NULL},
	{"segment-ring", segment_ring, NULL},
	{"segment-chain", segment_chain, NULL},
	{"pages-endless", pages_endless, NULL},
	{"page-huge", page_huge, NULL},
	{"self-root", self_root, NULL},
	{"names", names, NULL},
	{"wild", wild, wild},
	{"backwards", backwards, backwards},
	{"another-start", another_start, another_start},
	{"magic", NULL, magic},
	{"abi", NULL, abi},
};

static void map_files(char **path)
{
	for (; *path; path++) {
		int fd = open(*path, O_RDONLY | O_NONBLOCK);

		if (fd < 0 ||
		    mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED)
			exit(1);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	bool maps = argc > 1 && !strcmp(argv[1], "maps");
	size_t n = sizeof(modes) / sizeof(modes[0]), i = 0;
	pthread_t t;

	if (argc < 2)
		for (; i < n; i++)
			puts(modes[i].name);
	while (!maps && i < n && strcmp(modes[i].name, argv[1]) != 0)
		i++;
	if (i == n)
		return argc > 1;
	wide = mmap(NULL, WIDE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		    -1, 0);
	if (wide == MAP_FAILED)
		return 1;
	make_root();
	if (maps)
		map_files(argv + 2);
	else if (modes[i].once)
		modes[i].once();
	ready();
	if (!maps && modes[i].again &&
	    pthread_create(&t, NULL, in_turn, (void *)(uintptr_t)modes[i].again))
		return 1;
	for (;;)
		pause();
}
