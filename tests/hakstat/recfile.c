/*
 * recfile DIR: the file format of recordings (hakstat/recording.h, recorder.h), by itself: what is
 * written is what is read, wherever the file is cut or damaged, gone on with, or kept small. Leaves
 * DIR/forged, a file whose texts and numbers are made to harm.
 */
#include "recorder.h"
#include "sample_instant.h"
#include "test.h"

#include <sys/mman.h>
#include <sys/stat.h>

#define FRAMES 150
#define ROWS_MOST 40

static char dir[4096], path[4200], err[8192];
static const struct process me = {
	.comm = "me", .host = "here", .boot = "boot", .pid = 7, .started = 9};

/* --- frames that are known by their number --- */

/* Sections come, go, grow and shrink; rows get longer once. */
static void fill(struct instant *f, uint64_t number)
{
	uint64_t seed = number + 1, *w = instant_add(f, SECTION_SCALARS, 1, 6);
	size_t rows = number * 7 % ROWS_MOST, per = number < FRAMES / 2 ? 3 : 4;

	for (int i = 0; w && i < 6; i++)
		w[i] = i == 0  ? number
		       : i < 4 ? number * 1000
			       : test_random(&seed) * (uint64_t)i << 32;
	w = number % 5 ? instant_add(f, SECTION_HEAPS, rows, per) : NULL;
	for (size_t i = 0; w && i < rows * per; i++)
		w[i] = i % 3 ? 0 : number + i;
}

static uint64_t hash(const struct instant *f)
{
	uint64_t h = 1;

	for (int i = 0; i < SECTIONS; i++) {
		const struct section *s = instant_get(f, (enum section_id)i);

		if (!s)
			continue;
		h = (h ^ (uint64_t)i ^ s->rows << 8 ^ s->per << 32) * 0x100000001b3U;
		for (size_t k = 0; k < s->rows * s->per; k++)
			h = (h ^ s->word[k] ^ h >> 29) * 0x100000001b3U;
	}
	return h;
}

static bool is_frame(struct recording *r, size_t index, uint64_t number)
{
	static struct instant expected;
	const struct instant *f = recording_frame(r, index);

	instant_clear(&expected);
	fill(&expected, number);
	return f && hash(f) == hash(&expected);
}

/* The number a frame has in it. */
static uint64_t number_of(struct recording *r, size_t index)
{
	const struct instant *f = recording_frame(r, index);
	uint64_t number = UINT64_MAX;

	if (f)
		section_row(instant_get(f, SECTION_SCALARS), 0, &number, 1);
	return number;
}

/* --- writing --- */

static bool put(struct recorder *w, uint64_t number)
{
	fill(recorder_frame(w), number);
	return !recorder_put(w, number * 1000000000, err, sizeof(err));
}

static void write_file(uint64_t from, uint64_t to)
{
	struct recorder w;

	CHECK_EQ(recorder_open(&w, path, &me, 0, err, sizeof(err)), 0);
	for (uint64_t i = from; i < to; i++)
		CHECK(put(&w, i));
	recorder_close(&w);
}

static void new_file(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
}

/* A memory file with the contents of the file. */
static int copy_file(size_t *size)
{
	static char data[1 << 20];
	int from = open(path, O_RDONLY), to = memfd_create("copy", 0);
	ssize_t n = read(from, data, sizeof(data));

	CHECK(n > 0 && write(to, data, (size_t)n) == n);
	close(from);
	*size = (size_t)n;
	return to;
}

/* --- tests --- */

static void what_is_written_is_read(void)
{
	struct recording r;
	uint64_t seed = 1;

	new_file("whole");
	write_file(0, FRAMES);
	CHECK_EQ(recording_open(&r, path, err, sizeof(err)), 0);
	CHECK_EQ(r.frames, FRAMES);
	CHECK_EQ(r.sessions, 1);
	CHECK_EQ(r.damaged, 0);
	CHECK_EQ(r.good, r.size);
	CHECK(!strcmp(r.process[0].comm, "me") && r.process[0].pid == 7);
	for (size_t i = 0; i < r.frames; i++)
		CHECK(is_frame(&r, i, i) && r.frame[i].wall_ns == i * 1000000000);
	for (int i = 0; i < 500; i++) {
		size_t at = test_random(&seed) % FRAMES;

		CHECK(is_frame(&r, at, at));
	}
	recording_close(&r);
}

/* Frames that end within the first n bytes. */
static size_t whole_frames(const struct recording *all, size_t n)
{
	size_t k = 0;

	while (k < all->frames && all->frame[k].offset + all->frame[k].bytes <= n)
		k++;
	return k;
}

static void cut_anywhere_it_is_good_before(void)
{
	struct recording all, r;
	size_t size;
	int fd = copy_file(&size), e;

	CHECK_EQ(recording_open(&all, path, err, sizeof(err)), 0);
	for (size_t n = size; n-- > 0;) {
		size_t k = whole_frames(&all, n);
		bool has_process = n >= all.frame[0].offset - sizeof(struct block_head);

		CHECK_EQ(ftruncate(fd, (off_t)n), 0);
		e = recording_read(&r, fd, "cut", err, sizeof(err));
		CHECK_EQ(e == 0, has_process);
		CHECK_EQ(r.frames, k);
		CHECK(!k || is_frame(&r, k - 1, k - 1));
		CHECK(!k || is_frame(&r, 0, 0));
		recording_close(&r);
	}
	recording_close(&all);
	close(fd);
}

static void damage_is_left_out(void)
{
	struct recording r;
	size_t size, least = FRAMES;
	int fd;
	unsigned char c, bad;

	new_file("short");
	write_file(0, FRAMES / 2);
	fd = copy_file(&size);
	for (size_t n = 0; n < size; n++) {
		CHECK_EQ(pread(fd, &c, 1, (off_t)n), 1);
		bad = c ^ (unsigned char)(1U << n % 8);
		CHECK_EQ(pwrite(fd, &bad, 1, (off_t)n), 1);
		if (!recording_read(&r, fd, "damaged", err, sizeof(err))) {
			CHECK(r.frames < FRAMES / 2);
			least = r.frames < least ? r.frames : least;
			for (size_t i = 0; i < r.frames; i++)
				CHECK(is_frame(&r, i, number_of(&r, i)));
		}
		recording_close(&r);
		CHECK_EQ(pwrite(fd, &c, 1, (off_t)n), 1);
	}
	/* of the first key the next one, frame 64, saves the rest */
	CHECK_EQ(least, FRAMES / 2 - KEY_EVERY);
	close(fd);
}

static void gone_on_with(void)
{
	struct process other = me;
	struct recording r;
	struct recorder w, second;
	struct stat st;

	new_file("more");
	write_file(0, 10);
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0600);
	CHECK_EQ(truncate(path, st.st_size - 3), 0); /* frame 9 is torn */
	write_file(20, 30);
	CHECK_EQ(recording_open(&r, path, err, sizeof(err)), 0);
	CHECK_EQ(r.frames, 19);
	CHECK_EQ(r.sessions, 2);
	CHECK_EQ(r.damaged, 0);
	CHECK(is_frame(&r, 8, 8) && is_frame(&r, 9, 20) && is_frame(&r, 18, 29));
	CHECK_EQ(r.frame[8].session, 0);
	CHECK_EQ(r.frame[9].session, 1);
	recording_close(&r);

	other.started++;
	CHECK_EQ(recorder_open(&w, path, &other, 0, err, sizeof(err)), -EEXIST);
	CHECK(strstr(err, "another process (me [7] on here)") != NULL);
	recorder_close(&w);
	CHECK_EQ(recorder_open(&w, path, &me, 0, err, sizeof(err)), 0);
	CHECK_EQ(recorder_open(&second, path, &me, 0, err, sizeof(err)), -EBUSY);
	recorder_close(&second);
	recorder_close(&w);
	CHECK_EQ(recorder_open(&w, "/proc/self/exe", &me, 0, err, sizeof(err)) < 0, true);
	recorder_close(&w);
	CHECK_EQ(recorder_open(&w, "/dev/null", &me, 0, err, sizeof(err)), -EINVAL);
	recorder_close(&w);
	snprintf(path, sizeof(path), "%s/text", dir);
	CHECK_EQ(symlink("/etc/passwd", path), 0);
	CHECK_EQ(recorder_open(&w, path, &me, 0, err, sizeof(err)), -EINVAL);
	recorder_close(&w);
}

static void kept_small(void)
{
	const uint64_t most = 65536, frames = 4000;
	struct recording r;
	struct recorder w;
	struct stat st;
	uint64_t first;

	new_file("small");
	CHECK_EQ(recorder_open(&w, path, &me, most, err, sizeof(err)), 0);
	for (uint64_t i = 0; i < frames; i++) {
		CHECK(put(&w, i));
		CHECK(!stat(path, &st) && (uint64_t)st.st_size <= most &&
		      w.size == (uint64_t)st.st_size);
	}
	CHECK(w.dropped > most);
	recorder_close(&w);
	CHECK_EQ(recording_open(&r, path, err, sizeof(err)), 0);
	CHECK_EQ(r.sessions, 1);
	CHECK_EQ(r.damaged, 0);
	CHECK(r.size > most / 4);
	first = number_of(&r, 0);
	CHECK_EQ(first + r.frames, frames);
	for (size_t i = 0; i < r.frames; i++)
		CHECK(is_frame(&r, i, first + i));
	recording_close(&r);
	snprintf(path, sizeof(path), "%s/small.new", dir);
	CHECK(access(path, F_OK) != 0);
}

static void forged_sections_are_refused(void)
{
	static const uint8_t huge[] = {0, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1},
			     run[] = {0, 4, 1, 0, 5}, twice[] = {0, 1, 1, 2, 0, 1, 1, 2},
			     no_words[] = {0, 1, 0}, no_such[] = {64, 1, 1, 2},
			     cut[] = {0, 2, 1, 2}, much[] = {0, 0x80, 0x80, 1, 1, 0, 0x80, 0x80, 1},
			     long_number[] = {0,    1,	  1,	0xff, 0xff, 0xff, 0xff,
					      0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
			     good[] = {0, 2, 1, 2, 0, 1, 63, 1, 1, 1};
	struct instant f = {0};

	CHECK(!instant_decode(&f, huge, sizeof(huge)));
	CHECK(!instant_decode(&f, run, sizeof(run)));
	CHECK(!instant_decode(&f, twice, sizeof(twice)));
	CHECK(!instant_decode(&f, no_words, sizeof(no_words)));
	CHECK(!instant_decode(&f, no_such, sizeof(no_such)));
	CHECK(!instant_decode(&f, cut, sizeof(cut)));
	CHECK(!instant_decode(&f, much, sizeof(much)));
	CHECK(!instant_decode(&f, long_number, sizeof(long_number)));
	instant_clear(&f);
	CHECK(instant_decode(&f, good, sizeof(good)));
	CHECK(f.of[0].rows == 2 && f.of[0].word[0] == 1 && f.of[0].word[1] == 0);
	CHECK(f.of[63].word[0] == UINT64_MAX);
	instant_free(&f);
}

/* What no view needs. Of the rest a recording must have everything. */
static void forget(struct sample *s)
{
	struct hak_root *r = &s->root;

	memset(r->magic, 0, sizeof(r->magic));
	memset(r->version, 0, sizeof(r->version));
	memset(r->heap_chunk, 0, sizeof(r->heap_chunk));
	memset(&r->misuse, 0, sizeof(r->misuse));
	memset(&r->layout, 0, sizeof(r->layout));
	memset(&r->sampling, 0, sizeof(r->sampling));
	r->root_bytes = r->heap_bytes = r->pid = 0;
	r->grain_bytes = 0;
}

static void a_sample_is_kept_whole(void)
{
	static struct sample s, back;
	struct instant f = {0};
	unsigned char *byte = (unsigned char *)&s;
	uint64_t seed = 1;

	for (size_t i = 0; i < sizeof(s); i++)
		byte[i] = (unsigned char)test_random(&seed);
	forget(&s);
	s.root.classes = 50;
	s.threads = 7;
	s.has_bpf = true;
	for (int i = 0; i < HAK_PROBE_COUNT; i++)
		s.off_s[i] = i / 8.0;
	CHECK(sample_save(&s, &f) && sample_load(&back, &f));
	/* what lies between fields is nobody's */
	for (size_t i = 0; i < sizeof(s); i++)
		if (byte[i] != ((unsigned char *)&back)[i]) {
			size_t at = i;

			while (i < sizeof(s) && byte[i] != ((unsigned char *)&back)[i])
				i++;
			if (!CHECK(i - at < 8))
				test_say("#   bytes %zu to %zu of struct sample\n", at, i);
		}
	instant_free(&f);
}

/* --- a file to be shown --- */

static void write_block(int fd, enum block_kind kind, const struct bytes *b, uint32_t number)
{
	struct block_head h;

	block_head_fill(&h, kind, b, UINT64_MAX, number);
	CHECK(write(fd, &h, sizeof(h)) == sizeof(h) && write(fd, b->at, b->n) == (ssize_t)b->n);
}

/* Every word a number that harms, or the bytes of an escape sequence. */
static void forge(struct instant *f, uint64_t seed)
{
	static const struct {
		enum section_id id;
		size_t rows, per;
	} all[] = {
		{SECTION_CLASS_BYTES, 1, 32},
		{SECTION_PAGE_BYTES, 1, 32},
		{SECTION_CLASS_PAGES, 64, 1},
		{SECTION_LOCKS, 8, 4},
		{SECTION_OS, 1, 12},
		{SECTION_GAUGES, 1, 7},
		{SECTION_CLASSES, 64, 10},
		{SECTION_PROBES_OFF, 30, 1},
		{SECTION_BPF_LOCKS, 8, 68},
		{SECTION_BPF_OS, 3, 21},
		{SECTION_BPF_FALLBACK, 4, 3},
		{SECTION_BPF_ROUTE, 64, 6},
		{SECTION_BPF_SIZES, 4, 64},
		{SECTION_THREADS, 1, 2},
		{SECTION_HEAPS, 50, 15},
		{SECTION_WAITS, 20, 3},
		{SECTION_REMOTE, 1, 1},
		{SECTION_PAIRS, 90, 8},
		{SECTION_OWNERS, 5, 76},
		{SECTION_MEMORY, 1, 1},
		{SECTION_MEMORY_LINES, 30, 3},
		{SECTION_MEMORY_CLASSES, 200, 21},
		{SECTION_MEMORY_PAGES, 500, 9},
	};
	uint64_t *w = instant_add(f, SECTION_SCALARS, 1, 27);

	for (int i = 0; w && i < 27; i++)
		w[i] = i == 0 ? seed : i == 3 ? 64 : i == 17 ? 1 : UINT64_MAX - seed * 7;
	for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
		w = instant_add(f, all[k].id, all[k].rows, all[k].per);
		for (size_t i = 0; w && i < all[k].rows * all[k].per; i++)
			w[i] = test_random(&seed) % 3 ? 0x6d31331b9b5b1b41
						      : UINT64_MAX - test_random(&seed);
	}
}

static void a_forged_file(void)
{
	char text[] = "comm \033[31mred\x9b"
		      "31m\npid 99999999999999999999\nhost \033]0;title\007\n"
		      "version \033c\nlink 77\ninterval_ns 1\nnothing\n\033 \033\n",
	     error[128];
	struct bytes b = {(uint8_t *)text, strlen(text), 0, false};
	struct instant f = {0};
	int fd;

	new_file("forged");
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	write_block(fd, BLOCK_PROCESS, &b, 0);
	for (uint64_t i = 1; i < 5; i++) {
		instant_clear(&f);
		forge(&f, i);
		memset(error, 033, sizeof(error));
		if (i == 4) /* of the last one memory says why not */
			memcpy(instant_add(&f, SECTION_MEMORY_ERROR, 1, 16), error, 128);
		b = (struct bytes){0};
		instant_encode(&b, &f, NULL);
		write_block(fd, BLOCK_KEY, &b, (uint32_t)i);
		free(b.at);
	}
	instant_free(&f);
	close(fd);
}

int main(int argc, char **argv)
{
	snprintf(dir, sizeof(dir), "%s", argc > 1 ? argv[1] : "/tmp");
	RUN(what_is_written_is_read);
	RUN(cut_anywhere_it_is_good_before);
	RUN(damage_is_left_out);
	RUN(gone_on_with);
	RUN(kept_small);
	RUN(forged_sections_are_refused);
	RUN(a_sample_is_kept_whole);
	RUN(a_forged_file);
	return test_done();
}
