/* Who frees whose blocks, and how long they wait until their owner takes them. */
#include "remotes.h"
#include "views.h"

#define ROW(m, index) (&(m)->remotes->row[index])

static struct value known_text(const char *text)
{
	return *text ? value_text_of(text, 0) : value_none();
}

static struct value known_id(uint32_t tid)
{
	return tid ? value_of(VALUE_ID, tid) : value_none();
}

static struct value from_name(const struct model *m, int row)
{
	return known_text(ROW(m, row)->from_name);
}

static struct value from_tid(const struct model *m, int row)
{
	return known_id(ROW(m, row)->from);
}

static struct value to_name(const struct model *m, int row)
{
	return known_text(ROW(m, row)->to_name);
}

static struct value to_tid(const struct model *m, int row)
{
	return known_id(ROW(m, row)->to);
}

static struct value block_rate(const struct model *m, int row)
{
	return value_per_second(m, (double)ROW(m, row)->blocks);
}

static struct value byte_rate(const struct model *m, int row)
{
	return m->seconds > 0 ? value_of(VALUE_BYTES, (double)ROW(m, row)->bytes / m->seconds)
			      : value_none();
}

static struct value per_batch(const struct model *m, int row)
{
	return value_ratio(VALUE_FACTOR, (double)ROW(m, row)->blocks, (double)ROW(m, row)->batches);
}

static struct value share(const struct model *m, int row)
{
	uint64_t all = 0;

	for (int i = 0; i < m->remotes->n; i++)
		all += m->remotes->row[i].blocks;
	return value_ratio(VALUE_PERCENT, 100 * (double)ROW(m, row)->blocks, (double)all);
}

static struct value of_owner(const struct model *m, int row, enum value_kind kind, uint64_t n)
{
	return ROW(m, row)->has_owner ? value_of(kind, (double)n) : value_none();
}

static struct value queued_blocks(const struct model *m, int row)
{
	return of_owner(m, row, VALUE_COUNT, ROW(m, row)->queued_blocks);
}

static struct value queued_bytes(const struct model *m, int row)
{
	return of_owner(m, row, VALUE_BYTES, ROW(m, row)->queued_bytes);
}

static struct value drains(const struct model *m, int row)
{
	return of_owner(m, row, VALUE_COUNT, ROW(m, row)->drains);
}

static struct value helped(const struct model *m, int row)
{
	return of_owner(m, row, VALUE_COUNT, ROW(m, row)->helped);
}

static struct value waited(const struct model *m, int row, uint64_t ns)
{
	return ROW(m, row)->waits ? of_owner(m, row, VALUE_NS, ns) : value_none();
}

static struct value mean_ns(const struct model *m, int row)
{
	const struct remote_row *r = ROW(m, row);

	return waited(m, row, r->waits ? r->wait_ns / r->waits : 0);
}

static struct value p50_ns(const struct model *m, int row)
{
	return waited(m, row, ROW(m, row)->p50_ns);
}

static struct value p99_ns(const struct model *m, int row)
{
	return waited(m, row, ROW(m, row)->p99_ns);
}

static struct value max_ns(const struct model *m, int row)
{
	return waited(m, row, ROW(m, row)->max_ns);
}

#define COUNT_(field, kind)                                               \
	static struct value count_##field(const struct model *m, int row) \
	{                                                                 \
		return value_of(kind, (double)ROW(m, row)->field);        \
	}
COUNT_(blocks, VALUE_COUNT)
COUNT_(bytes, VALUE_BYTES)
COUNT_(batches, VALUE_COUNT)

static const struct column columns[] = {
	{"freed_by", "FREED BY", UNIT_TEXT,
	 "thread that freed the blocks; (others): all smaller pairs", 15, 99, from_name},
	{"freed_by_tid", "BY TID", UNIT_COUNT, "its number", 7, 96, from_tid},
	{"owner", "OWNER", UNIT_TEXT, "thread whose pages the blocks are in", 15, 98, to_name},
	{"owner_tid", "OWN TID", UNIT_COUNT, "its number; of an ended thread, its last", 7, 95,
	 to_tid},
	{"remote_blocks_per_s", "REMOT/s", UNIT_RATE, "blocks sent to the thread that owns them", 7,
	 97, block_rate},
	{"remote_bytes_per_s", "BYTE/s", UNIT_BYTES_RATE, "their size together", 7, 94, byte_rate},
	{"blocks_per_batch", "BLK/B", UNIT_FACTOR, "blocks sent at once", 6, 90, per_batch},
	{"share", "SHARE%", UNIT_RATIO, "of all blocks sent", 6, 60, share},
	{"queued_blocks", "QUEUED", UNIT_COUNT,
	 "blocks that wait for the owner now, whoever freed them", 7, 93, queued_blocks},
	{"mean_ns", "MEAN", UNIT_NS,
	 "time from a push on the owner's empty queue until it is taken", 7, 65, mean_ns},
	{"p50_ns", "P50", UNIT_NS,
	 "the same: half of them were shorter (upper edge of a power of two)", 7, 80, p50_ns},
	{"p99_ns", "P99", UNIT_NS, "99 % were shorter (likewise)", 7, 92, p99_ns},
	{"max_ns", "MAX", UNIT_NS, "the longest", 7, 79, max_ns},
	{"remote_blocks", "BLOCKS", UNIT_COUNT, "blocks sent in this interval", 0, 0, count_blocks},
	{"remote_bytes", "BYTES", UNIT_BYTES, "their size together", 0, 0, count_bytes},
	{"remote_batches", "BATCHES", UNIT_COUNT, "batches they came in", 0, 0, count_batches},
	{"queued_bytes", "QUEUED B", UNIT_BYTES,
	 "size of what waits, of what was sent since we watch", 0, 0, queued_bytes},
	{"drains", "DRAINS", UNIT_COUNT, "times the owner's queue was taken", 0, 0, drains},
	{"helped", "HELPED", UNIT_COUNT,
	 "of them, by another thread, since the owner had ended or did not come", 0, 0, helped},
};

static int rows(const struct model *m)
{
	return m->remotes ? m->remotes->n : 0;
}

static bool note(const struct model *m, int i, char *out, size_t len)
{
	if (i == 0) {
		snprintf(out, len, "%llu blocks wait in queues now, all threads together",
			 (unsigned long long)m->queued_blocks);
		return true;
	}
	if (!m->remotes) {
		snprintf(out, len, "without BPF: who sends to whom is not known");
		return i == 1;
	}
	if (m->remotes->dropped && --i == 0) {
		snprintf(out, len, "%llu batches are missing: too many pairs of threads",
			 (unsigned long long)m->remotes->dropped);
		return true;
	}
	return false;
}

static bool matrix(const struct model *m, int i, int width, char *out, size_t len)
{
	return m->remotes &&
	       remote_matrix_line(&m->remotes->matrix, m->seconds, i, width, out, len);
}

static void json(struct json *j, const struct model *m)
{
	json_number(j, "queued_blocks", m->queued_blocks);
	json_known(j, "pairs_folded", m->remotes ? m->remotes->folded : -1);
	json_known(j, "batches_dropped", m->remotes ? (int64_t)m->remotes->dropped : -1);
}

const struct view view_remote = {
	.name = "remote",
	.by_bpf = "*",
	.title = "remote frees: who frees whose blocks",
	.columns = COLUMNS(columns),
	.rows = rows,
	.shown = always_shown,
	.sort = 4,
	.key = '6',
	.source = &source_remotes,
	.note = note,
	.matrix = matrix,
	.json = json,
};
