/*
 * Metadata is out of reach: nothing that can be written to lies beside it, and a write that runs
 * on from a block of the program, up or down, ends at a guard before it comes to any.
 */
#include "internal.h"
#include "pagemap.h"
#include "test.h"

#include <signal.h>
#include <sys/wait.h>

struct range {
	uintptr_t start, end;
	bool writable;
};

static struct range maps[8192];
static size_t n_maps;

static void read_maps(void)
{
	unsigned long start, end;
	char mode[5];
	FILE *f = fopen("/proc/self/maps", "r");

	if (!CHECK(f != NULL))
		return;
	for (n_maps = 0; n_maps < sizeof(maps) / sizeof(maps[0]); n_maps++) {
		if (fscanf(f, "%lx-%lx %4s%*[^\n]", &start, &end, mode) != 3)
			break;
		maps[n_maps] = (struct range){start, end, mode[1] == 'w'};
	}
	fclose(f);
}

/* What lies right before and right behind the mapping of p is there, and cannot be written to. */
static bool is_guarded(const void *p)
{
	for (size_t i = 1; i + 1 < n_maps; i++) {
		if ((uintptr_t)p < maps[i].start || (uintptr_t)p >= maps[i].end)
			continue;
		return maps[i - 1].end == maps[i].start && !maps[i - 1].writable &&
		       maps[i + 1].start == maps[i].end && !maps[i + 1].writable;
	}
	return false;
}

static const void *meta[4096];
static size_t n_meta;

static void add_meta(const void *p)
{
	if (p && n_meta < sizeof(meta) / sizeof(meta[0]))
		meta[n_meta++] = p;
}

/* Heaps, their slots, descriptors of segments and pages, both tables of addresses. */
static void find_meta(void)
{
	n_meta = 0;
	for (uint32_t i = 0; i < hakmem_root.heaps; i++) {
		add_meta(heap_at(i));
		add_meta(heap_at(i)->slot_map);
		add_meta(heap_at(i)->waiting);
	}
	for (const struct segment *s = arena_segments; s; s = s->all_next) {
		add_meta(s);
		add_meta(&hak_class_map[(uintptr_t)s->base >> HAK_SLICE_SHIFT & hak_class_mask]);
		add_meta(hak_pagemap_root[(uintptr_t)s->base >> 32]);
	}
}

static void *some_work(void *arg)
{
	static char *volatile p[20000];

	for (int i = 0; i < 20000; i++)
		p[i] = malloc(16 + (size_t)i % 2000);
	for (int i = 0; i < 20000; i++)
		free(p[i]);
	return arg;
}

static void metadata_lies_between_guards(void)
{
	void *large = malloc(20U << 20);

	some_work(NULL);
	add_meta(pagemap_page(large));
	find_meta();
	read_maps();
	CHECK(n_meta >= 8);
	for (size_t i = 0; i < n_meta; i++)
		if (!CHECK(is_guarded(meta[i])))
			test_say("# number %zu of %zu, %p\n", i, n_meta, meta[i]);
	free(large);
}

static uintptr_t began;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	uintptr_t low = (uintptr_t)info->si_addr, high = began;

	(void)signal;
	(void)context;
	if (low > high) {
		low = began;
		high = (uintptr_t)info->si_addr;
	}
	for (size_t i = 0; i < n_meta; i++)
		if ((uintptr_t)meta[i] >= low && (uintptr_t)meta[i] < high)
			_exit(1);
	_exit(0);
}

/* A child writes from p on, by steps of `by`, until it cannot. */
static void run_on(char *p, ptrdiff_t by)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	int status;
	pid_t pid = fork();

	if (!pid) {
		began = (uintptr_t)p;
		sigaction(SIGSEGV, &action, NULL);
		sigaction(SIGBUS, &action, NULL);
		for (volatile char *q = p;; q += by)
			*q = 0x41;
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void writes_that_run_on_end_before_it(void)
{
	const size_t sizes[] = {100, 60000, 400000, 1500000, 20U << 20};

	some_work(NULL);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *p = malloc(sizes[i]);

		find_meta();
		run_on(p, 64);
		run_on(p, -64);
		free(p);
	}
}

int main(void)
{
	RUN(metadata_lies_between_guards);
	RUN(writes_that_run_on_end_before_it);
	return test_done();
}
