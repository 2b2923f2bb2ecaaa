/*
 * A fuzz target for the counters of a process that is not trusted (hakstat/collect.c), and for what
 * is made of them: model, columns, header, and views as text.
 *
 * An input is changes of 12 bytes: offset (3), length, value (8), to a memory of a root, four heaps
 * and what BPF has added up; the first half of them are there at the first look.
 */
#include "collect.h"
#include "columns.h"
#include "stacks.h"
#include "views.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define HEAPS 4
#define BASE 0x10000U
#define CHANGE 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct hak_root root;
	struct hak_heap_view heap[HEAPS];
	struct bpf_sums sums;
} memory;

/* --- in the place of the process, of target.c and attach.c --- */

static bool get(uint64_t at, void *to, size_t bytes)
{
	if (at < BASE || at - BASE > sizeof(memory) || bytes > sizeof(memory) - (at - BASE))
		return false;
	memcpy(to, (const char *)&memory + (at - BASE), bytes);
	return true;
}

ssize_t target_readv(pid_t tid, const struct iovec *to, const struct iovec *from, size_t n)
{
	ssize_t sum = 0;

	(void)tid;
	for (size_t i = 0; i < n; i++) {
		if (!get((uintptr_t)from[i].iov_base, to[i].iov_base, to[i].iov_len))
			return sum ? sum : -EFAULT;
		sum += (ssize_t)to[i].iov_len;
	}
	return sum;
}

ssize_t target_read(pid_t tid, uint64_t addr, void *buf, size_t bytes)
{
	(void)tid;
	return get(addr, buf, bytes) ? (ssize_t)bytes : -EFAULT;
}

pid_t target_reader(pid_t pid)
{
	return pid;
}

uint64_t target_rss(pid_t pid)
{
	(void)pid;
	return memory.root.now.arena_bytes;
}

int target_threads(pid_t pid)
{
	(void)pid;
	return (int)memory.root.heaps;
}

void attach_read(struct attachment *a, struct bpf_sums *out)
{
	(void)a;
	*out = memory.sums;
}

void attach_cost(struct attachment *a, int64_t *events, int64_t *lost, int64_t *run_ns)
{
	(void)a;
	*events = *lost = *run_ns = (int64_t)memory.sums.drains;
}

void attach_time_off(const struct attachment *a, double off_s[HAK_PROBE_COUNT])
{
	(void)a;
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		off_s[i] = (double)memory.sums.reasons[i % HAK_FLUSH_COUNT];
}

uint64_t attach_wanted(void)
{
	return memory.sums.drain_blocks;
}

bool stacks_explain(struct stacks_options *o, int probe, const char *unit, uint32_t value,
		    const char *what)
{
	(void)o;
	(void)probe;
	(void)unit;
	(void)value;
	return *what;
}

/* --- */

static void begin(void)
{
	memset(&memory, 0, sizeof(memory));
	memcpy(memory.root.magic, HAK_MAGIC, sizeof(memory.root.magic));
	memory.root.abi = HAK_ABI;
	memory.root.classes = 57;
	memory.root.heaps = HEAPS;
	memory.root.heap_bytes = sizeof(struct hak_heap_view);
	memory.root.heap_chunk[0] = BASE + offsetof(__typeof__(memory), heap);
	for (uint32_t c = 1; c < HAK_CLASS_MAX; c++) {
		memory.root.class_bytes[c] = 16 * c;
		memory.root.page_bytes[c] = 65536;
	}
}

static void change(const uint8_t *d, size_t n)
{
	for (; n >= CHANGE; n -= CHANGE, d += CHANGE) {
		size_t at = (d[0] | d[1] << 8 | d[2] << 16) % (sizeof(memory) - 8);

		memcpy((char *)&memory + at, d + 4, 1 + d[3] % 8);
	}
}

static void must_be_text(const char *line)
{
	for (; *line; line++)
		if ((unsigned char)*line < 0x20 || (unsigned char)*line > 0x7e)
			__builtin_trap();
}

static void show(const struct model *m, const struct view *v, int width)
{
	struct row_list rows = {0};
	int fit[COLUMNS_MAX];
	char line[512];
	int n = view_rows(v, m, v->sort, false, "1", &rows);

	view_fit(v, width, fit);
	view_line(v, m, -1, fit, line, sizeof(line));
	for (int i = 0; i < n; i++) {
		view_line(v, m, rows.row[i], fit, line, sizeof(line));
		must_be_text(line);
		if (v->alert)
			v->alert(m, rows.row[i]);
	}
	for (int i = 0; v->note && v->note(m, i, line, sizeof(line)); i++)
		must_be_text(line);
	row_list_free(&rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct target t = {.pid = 1, .reader = 1, .root_addr = BASE};
	static struct sample from, to;
	static struct model m;
	char header[HEADER_LINES][256];
	size_t half = size / 2 / CHANGE * CHANGE;
	struct attachment *bpf = size & 1 ? (struct attachment *)&memory : NULL;

	begin();
	change(data, half);
	if (collect(&t, bpf, &from, NULL, NULL))
		collect_zero(&from);
	change(data + half, size - half);
	if (collect(&t, bpf, &to, NULL, NULL))
		return 0;
	collect_after(&to, &from);
	collect_max(&to, &from);
	if (bpf && size & 2)
		collect_end(&to, bpf);
	model_make(&m, &from, &to);
	m.target = &t;
	for (int i = 0; i < header_lines(&m, "it", 20 + (int)size % 200, header); i++)
		must_be_text(header[i]);
	show(&m, &view_classes, 60 + (int)size % 100);
	show(&m, &view_os, 60 + (int)size % 100);
	show(&m, &view_route, 60 + (int)size % 100);
	return 0;
}
