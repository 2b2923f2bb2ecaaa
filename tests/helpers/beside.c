/*
 * The program maps memory right beside the allocator's, below and above every mapping it has, and
 * where it would grow next; takes it away again; both keep what is theirs.
 */
#include "life.h"

#include <sys/mman.h>

#define OURS 512
#define PAGE ((size_t)4096)
#define SEGMENT ((uintptr_t)4 << 20)

static char *mine[OURS];
static unsigned n_mine;

static bool map_mine(uintptr_t at)
{
	void *p;

	if (n_mine == OURS)
		return false;
	p = mmap((void *)at, PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (p == MAP_FAILED)
		return false;
	CHECK(*(char *)p == 0);
	test_fill(p, PAGE, n_mine);
	mine[n_mine++] = p;
	return true;
}

static void verify_mine(void)
{
	for (unsigned i = 0; i < n_mine; i++)
		CHECK(test_verify(mine[i], PAGE, i));
}

/* The kernel may have made one mapping of it and its neighbour. */
static void unmap_mine(void)
{
	verify_mine();
	while (n_mine)
		CHECK_EQ(munmap(mine[--n_mine], PAGE), 0);
}

static char text[1 << 16];

static void read_maps(void)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t n;

	while (have < sizeof(text) - 1 && (n = read(fd, text + have, sizeof(text) - 1 - have)) > 0)
		have += (size_t)n;
	close(fd);
	text[have] = 0;
}

/* Beside every anonymous mapping: the allocator's are among them. */
static unsigned map_beside_all(void)
{
	unsigned before = n_mine;

	read_maps();
	for (char *line = text; line && *line;) {
		char *end = strchr(line, '\n'), *rest;
		uintptr_t from = strtoul(line, &rest, 16), to = strtoul(rest + 1, &rest, 16);

		if (end)
			*end++ = 0;
		if (!strchr(rest, '[') && !strchr(rest, '/')) {
			map_mine(from - PAGE);
			map_mine(to);
		}
		line = end;
	}
	return n_mine - before;
}

static uintptr_t lowest_segment(struct bag *b)
{
	uintptr_t low = UINTPTR_MAX;

	for (unsigned i = 0; i < BAG; i++)
		if (b->p[i] && (uintptr_t)b->p[i] < low)
			low = (uintptr_t)b->p[i];
	return low & ~(SEGMENT - 1);
}

/* More than the arena has, so that it grows: up to 64 MiB at once. */
static void grow_and_shrink(void)
{
	static void *p[3000];

	for (unsigned i = 0; i < 3000; i++)
		if (CHECK((p[i] = malloc(50000)) != NULL))
			test_fill(p[i], 100, i);
	verify_mine();
	for (unsigned i = 0; i < 3000; i++) {
		CHECK(test_verify(p[i], 100, i));
		free(p[i]);
	}
	if (hak_trim)
		hak_trim();
	verify_mine();
}

static void mappings_beside_ours(void)
{
	struct bag b = {.state = 1};

	bag_steps(&b, 500);
	for (int round = 0; round < 4; round++) {
		CHECK(map_beside_all() > 0);
		grow_and_shrink();
		bag_steps(&b, 500);
		unmap_mine();
		bag_verify(&b);
		bag_steps(&b, 500);
	}
	bag_empty(&b);
	heap_is_whole();
}

/* The arena grows downward, by 4 to 64 MiB: these places are taken, one page of each. */
static void mappings_where_we_grow(void)
{
	struct bag b = {.state = 2};
	unsigned got = 0;

	bag_steps(&b, 500);
	for (int round = 0; round < 4; round++) {
		uintptr_t low = lowest_segment(&b);

		for (uintptr_t by = SEGMENT; by <= 32 * SEGMENT; by += SEGMENT)
			got += map_mine(low - by) + map_mine(low - by + SEGMENT - PAGE);
		grow_and_shrink();
		bag_steps(&b, 500);
		bag_verify(&b);
		unmap_mine();
	}
	CHECK(got > 0);
	bag_empty(&b);
	heap_is_whole();
}

/* Large blocks grow, shrink and move between neighbours that are the program's. */
static void large_blocks_between_ours(void)
{
	size_t n = 3U << 20;
	char *p = malloc(n);

	for (uint32_t i = 0; i < 40; i++) {
		size_t next = (3U << 20) + (i * 7919U % 40) * 131072U;

		test_fill(p, n, i);
		map_mine(((uintptr_t)p & ~(PAGE - 1)) - PAGE);
		map_mine(((uintptr_t)p + n + 65535) & ~(uintptr_t)65535);
		p = realloc(p, next);
		if (!CHECK(p != NULL))
			return;
		CHECK(test_verify(p, n < next ? n : next, i));
		n = next;
		verify_mine();
	}
	free(p);
	unmap_mine();
	heap_is_whole();
}

static size_t address_space(void)
{
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n > 0 ? n : 0] = 0;
	return strtoul(text, NULL, 10) * PAGE;
}

/* A page of it was made different for the system: the block cannot be moved as one mapping. */
static void large_block_of_several_mappings(void)
{
	size_t n = 8U << 20, before = address_space();

	for (uint32_t i = 0; i < 100; i++) {
		char *p = malloc(n);
		uintptr_t inner = ((uintptr_t)p + n / 2) & ~(PAGE - 1);

		if (!CHECK(p != NULL))
			return;
		memset(p, (int)i + 1, n);
		CHECK_EQ(madvise((void *)inner, PAGE, MADV_DONTDUMP), 0);
		p = realloc(p, 3 * n);
		if (!CHECK(p != NULL))
			return;
		CHECK(p[0] == (char)(i + 1) && !memcmp(p, p + 1, n - 1));
		p[3 * n - 1] = 1;
		free(p);
	}
	if (hak_trim)
		hak_trim();
	CHECK(address_space() < before + (512U << 20)); /* 100 targets of moves are 2.4 GB */
	heap_is_whole();
}

/* The same while the allocator maps and unmaps. */
static void mappings_that_come_and_go(void)
{
	struct bag b = {.state = 3};

	load_begin();
	for (int round = 0; round < 100; round++) {
		bag_steps(&b, 20);
		map_beside_all();
		bag_steps(&b, 20);
		unmap_mine();
	}
	bag_empty(&b);
	load_end();
}

int main(void)
{
	RUN(mappings_beside_ours);
	RUN(mappings_where_we_grow);
	RUN(large_blocks_between_ours);
	RUN(large_block_of_several_mappings);
	RUN(mappings_that_come_and_go);
	return test_done();
}
