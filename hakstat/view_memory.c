/* Where the memory is: RSS line by line, then by class, then the pages that hold it for little. */
#include "rss.h"
#include "views.h"

static const struct {
	const char *name, *what;
} lines[] = {
#define LINE_(id, name, what) {name, what},
	MEMORY_LINES(LINE_)};

/* Nothing has been read of a program that was gone before the first look: there are no classes. */
static bool is_known(const struct model *m)
{
	return m->memory && !m->memory->error[0] && m->memory->classes;
}

static bool note(const struct model *m, int i, char *out, size_t len)
{
	const struct memory_map *k = m->memory;
	char text[32];

	if (!k)
		return false;
	if (k->error[0]) {
		snprintf(out, len, "%s", k->error);
		return i == 0;
	}
	if (!is_known(m))
		return false;
	if (i == 0) {
		bytes_text((double)k->rss, text, sizeof(text));
		snprintf(out, len, "together %llu bytes (%s): RSS by /proc/%d/smaps",
			 (unsigned long long)k->rss, text, m->target->pid);
		return true;
	}
	if (k->huge && --i == 0) {
		bytes_text((double)k->huge, text, sizeof(text));
		snprintf(out, len, "beside RSS, in huge pages: %llu bytes (%s)",
			 (unsigned long long)k->huge, text);
		return true;
	}
	if (!k->estimated || i != 1)
		return false;
	snprintf(out, len,
		 "estimated: the kernel tells how much of a mapping is in memory; which "
		 "pages, of another user, takes CAP_DAC_READ_SEARCH, or CAP_BPF and CAP_PERFMON");
	return true;
}

/* --- lines --- */

#define LINE(m, row) (&(m)->memory->line[row])

static struct value line_name(const struct model *m, int row)
{
	(void)m;
	/* the difference is the last one */
	return value_text_of(lines[row].name, row == MEMORY_DIFFERENCE ? -MEMORY_LINE_COUNT : -row);
}

static struct value line_share(const struct model *m, int row)
{
	return value_ratio(VALUE_PERCENT, 100 * (double)LINE(m, row)->resident,
			   (double)m->memory->rss);
}

static struct value line_bytes(const struct model *m, int row)
{
	return row == MEMORY_DIFFERENCE ? value_none()
					: value_of(VALUE_BYTES, (double)LINE(m, row)->bytes);
}

static struct value line_count(const struct model *m, int row)
{
	uint64_t n = LINE(m, row)->count;

	return n ? value_of(VALUE_COUNT, (double)n) : value_none();
}

static struct value line_what(const struct model *m, int row)
{
	(void)m;
	return value_text_of(lines[row].what, 0);
}

/* Exactly: a line of a sum that is to be checked. */
static struct value line_exact(const struct model *m, int row)
{
	return value_of(VALUE_ID, (double)LINE(m, row)->resident);
}

static const struct column line_columns[] = {
	{"memory", "MEMORY", UNIT_TEXT, "what it is for", 15, 99, line_name},
	{"resident_bytes", "INMEM", UNIT_BYTES, "bytes in memory; the lines add up to RSS", 13, 98,
	 line_exact},
	{"share", "SHARE%", UNIT_RATIO, "of RSS", 6, 90, line_share},
	{"size_bytes", "SPACE", UNIT_BYTES,
	 "address space; of blocks, their size together, in memory or not", 7, 80, line_bytes},
	{"count", "COUNT", UNIT_COUNT, "blocks, spans or mappings", 8, 70, line_count},
	{"what", "WHAT", UNIT_TEXT, "in words", 64, 50, line_what},
};

static int line_rows(const struct model *m)
{
	return is_known(m) ? MEMORY_LINE_COUNT : 0;
}

static bool line_shown(const struct model *m, int row)
{
	return row == MEMORY_LIVE || row == MEMORY_DIFFERENCE || LINE(m, row)->resident ||
	       LINE(m, row)->bytes;
}

static void json(struct json *j, const struct model *m)
{
	json_known(j, "rss_bytes", is_known(m) ? (int64_t)m->memory->rss : -1);
	json_known(j, "huge_bytes", is_known(m) ? (int64_t)m->memory->huge : -1);
	json_bool(j, "estimated", m->memory && m->memory->estimated);
	if (m->memory && m->memory->error[0])
		json_text(j, "error", m->memory->error);
	report_json_rows(j, "classes", &view_fragments, m);
	report_json_rows(j, "pages", &view_pages, m);
}

const struct view view_memory = {
	.name = "memory",
	.title = "where the memory is",
	.columns = COLUMNS(line_columns),
	.rows = line_rows,
	.shown = line_shown,
	.sort = 0,
	.key = '7',
	.source = &source_memory,
	.note = note,
	.json = json,
};

/* --- classes --- */

#define CLASS(m, row) (&(m)->memory->class_[row])

static struct value class_size(const struct model *m, int row)
{
	return row ? value_of(VALUE_COUNT, (double)m->class_[row].block_bytes)
		   : value_text_of("large", 1e18);
}

static struct value class_pages(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, (double)CLASS(m, row)->pages);
}

static struct value class_held(const struct model *m, int row)
{
	return value_of(VALUE_BYTES, (double)CLASS(m, row)->held);
}

static struct value class_resident(const struct model *m, int row)
{
	return value_of(VALUE_BYTES, (double)CLASS(m, row)->resident);
}

static struct value class_used(const struct model *m, int row)
{
	return value_ratio(VALUE_PERCENT, 100 * (double)CLASS(m, row)->live.resident,
			   (double)CLASS(m, row)->resident);
}

#define CLASS_SUM_(state, part, kind)                                              \
	static struct value class_##state##_##part(const struct model *m, int row) \
	{                                                                          \
		return value_of(kind, (double)CLASS(m, row)->state.part);          \
	}
CLASS_SUM_(live, count, VALUE_COUNT)
CLASS_SUM_(cached, count, VALUE_COUNT)
CLASS_SUM_(queued, count, VALUE_COUNT)
CLASS_SUM_(free, count, VALUE_COUNT)
CLASS_SUM_(live, resident, VALUE_BYTES)
CLASS_SUM_(cached, resident, VALUE_BYTES)
CLASS_SUM_(queued, resident, VALUE_BYTES)
CLASS_SUM_(free, resident, VALUE_BYTES)
CLASS_SUM_(ends, resident, VALUE_BYTES)
CLASS_SUM_(gone, bytes, VALUE_BYTES)

static const struct column class_columns[] = {
	{"size", "SIZE", UNIT_BYTES, "one block of the class; large: above the largest class", 6,
	 99, class_size},
	{"pages", "PAGES", UNIT_COUNT, "pages of the class", 6, 90, class_pages},
	{"held_bytes", "HELD", UNIT_BYTES, "pages of the class: LIVE x SIZE + WASTE + NOMEM", 7, 91,
	 class_held},
	{"resident_bytes", "INMEM", UNIT_BYTES, "of it, in memory", 7, 96, class_resident},
	{"unbacked_bytes", "NOMEM", UNIT_BYTES,
	 "held, but without memory: not used yet, or given back to the system", 7, 75,
	 class_gone_bytes},
	{"used", "USED%", UNIT_RATIO, "of what is in memory, in live blocks", 6, 97, class_used},
	{"live_blocks", "LIVE", UNIT_COUNT, "blocks allocated and not freed", 8, 94,
	 class_live_count},
	{"cached_blocks", "CACHED", UNIT_COUNT, "free blocks in thread caches", 7, 80,
	 class_cached_count},
	{"queued_blocks", "QUEUED", UNIT_COUNT,
	 "freed by other threads, not yet taken by their owner", 7, 70, class_queued_count},
	{"free_blocks", "FREE", UNIT_COUNT, "free blocks in pages", 8, 85, class_free_count},
	{"free_bytes", "FREE B", UNIT_BYTES, "memory in free blocks of pages: fragmentation", 7, 98,
	 class_free_resident},
	{"live_bytes", "LIVE B", UNIT_BYTES, "memory in live blocks", 0, 0, class_live_resident},
	{"cached_bytes", "CACHED B", UNIT_BYTES, "memory in free blocks of thread caches", 0, 0,
	 class_cached_resident},
	{"queued_bytes", "QUEUED B", UNIT_BYTES, "memory in blocks on their way to their owner", 0,
	 0, class_queued_resident},
	{"end_bytes", "END B", UNIT_BYTES, "memory at ends of pages too short for a block", 0, 0,
	 class_ends_resident},
};

static int class_rows(const struct model *m)
{
	return is_known(m) ? (int)m->memory->classes : 0;
}

static bool class_shown(const struct model *m, int row)
{
	return CLASS(m, row)->pages != 0;
}

const struct view view_fragments = {
	.name = "fragments",
	.title = "memory by size class",
	.columns = COLUMNS(class_columns),
	.rows = class_rows,
	.shown = class_shown,
	.sort = 10,
	.key = '8',
	.source = &source_memory,
};

/* --- pages --- */

#define PAGE(m, row) (&(m)->memory->page[row])

static struct value page_address(const struct model *m, int row)
{
	return value_of(VALUE_ADDRESS, (double)PAGE(m, row)->start);
}

static struct value page_size(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, PAGE(m, row)->block_bytes);
}

static struct value page_live(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, PAGE(m, row)->live);
}

static struct value page_cached(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, PAGE(m, row)->cached);
}

static struct value page_capacity(const struct model *m, int row)
{
	return value_of(VALUE_COUNT, PAGE(m, row)->capacity);
}

static struct value page_used(const struct model *m, int row)
{
	return value_ratio(VALUE_PERCENT, 100 * (double)PAGE(m, row)->live, PAGE(m, row)->capacity);
}

static struct value page_resident(const struct model *m, int row)
{
	return value_of(VALUE_BYTES, (double)PAGE(m, row)->resident);
}

static struct value page_owner(const struct model *m, int row)
{
	return value_of(VALUE_ID, PAGE(m, row)->owner_tid);
}

/* Least used first, as they were found. */
static struct value page_rank(const struct model *m, int row)
{
	(void)m;
	return value_of(VALUE_COUNT, -row);
}

static const struct column page_columns[] = {
	{"rank", "RANK", UNIT_COUNT, "0 for the least used page, then -1 and so on", 0, 0,
	 page_rank},
	{"page", "PAGE ADDR", UNIT_COUNT, "its address: hakstat dump --block tells more", 14, 99,
	 page_address},
	{"size", "SIZE", UNIT_BYTES, "one block of the class", 6, 98, page_size},
	{"live_blocks", "LIVE", UNIT_COUNT, "blocks allocated, or waiting in a queue", 6, 97,
	 page_live},
	{"cached_blocks", "CACHED", UNIT_COUNT, "free blocks in thread caches", 6, 80, page_cached},
	{"capacity", "OF", UNIT_COUNT, "blocks it has room for", 6, 90, page_capacity},
	{"used", "USED%", UNIT_RATIO, "live of them", 6, 95, page_used},
	{"resident_bytes", "INMEM", UNIT_BYTES, "in memory", 7, 96, page_resident},
	{"owner_tid", "OWN TID", UNIT_COUNT, "thread that owns it, or owned it last", 7, 70,
	 page_owner},
};

static int page_rows(const struct model *m)
{
	return is_known(m) ? m->memory->pages : 0;
}

const struct view view_pages = {
	.name = "pages",
	.title = "the least used pages: a few blocks keep all of their memory",
	.columns = COLUMNS(page_columns),
	.rows = page_rows,
	.shown = always_shown,
	.sort = 0,
	.source = &source_memory,
};
