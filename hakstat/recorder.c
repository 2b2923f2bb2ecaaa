/*
 * One write(2) a block, at the end; what of it could not be written is cut off again. To keep to
 * the size allowed the newer half is copied to a file beside it, which then takes its name: who
 * reads the old one meanwhile has it whole.
 */
#include "recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MODE 0600 /* addresses of a process are not for everybody; who owns the file may say so */

static uint64_t wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static bool write_all(int fd, const void *data, size_t n)
{
	const char *from = data;

	while (n) {
		ssize_t done = write(fd, from, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		from += done;
		n -= (size_t)done;
	}
	return true;
}

/* --- blocks --- */

/* The head goes before what the buffer has behind its first bytes. */
static int put_block(struct recorder *w, enum block_kind kind, uint64_t at_ns, char *err,
		     size_t errlen)
{
	struct bytes body = {w->buffer.at + sizeof(struct block_head),
			     w->buffer.n - sizeof(struct block_head), 0, false};
	struct block_head h;
	int e;

	block_head_fill(&h, kind, &body, at_ns, w->number);
	memcpy(w->buffer.at, &h, sizeof(h));
	if (!write_all(w->fd, w->buffer.at, w->buffer.n)) {
		e = errno ? errno : EIO;
		snprintf(err, errlen, "cannot write %s: %s%s", w->path, strerror(e),
			 ftruncate(w->fd, (off_t)w->size) ? "" : "; what it has is whole");
		return -e;
	}
	w->size += w->buffer.n;
	w->number++;
	return 0;
}

static int no_memory(char *err, size_t errlen)
{
	snprintf(err, errlen, "no memory");
	return -ENOMEM;
}

/* An empty buffer, with room for the head. */
static bool begin(struct bytes *b)
{
	if (!b->room) {
		b->at = malloc(4096);
		b->room = b->at ? 4096 : 0;
	}
	b->n = sizeof(struct block_head);
	b->failed = !b->at;
	return !b->failed;
}

int recorder_session(struct recorder *w, const struct process *p, char *err, size_t errlen)
{
	if (begin(&w->buffer))
		process_encode(&w->buffer, p);
	if (w->buffer.failed)
		return no_memory(err, errlen);
	w->since = 0;
	return put_block(w, BLOCK_PROCESS, wall_ns(), err, errlen);
}

struct instant *recorder_frame(struct recorder *w)
{
	instant_clear(&w->f[w->next]);
	return &w->f[w->next];
}

/* --- the size --- */

/* The first key of the newer half, or the last key there is; the number of its frame. */
static size_t first_kept(const struct recording *r, uint64_t most)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->frames; i++) {
		if (r->frame[i].key != i)
			continue;
		kept = i;
		if (r->good - r->frame[i].offset <= most / 2)
			break;
	}
	return kept;
}

static bool copy(int from, int to, uint64_t at, uint64_t end)
{
	static char part[1 << 16];

	while (at < end) {
		size_t n = end - at < sizeof(part) ? (size_t)(end - at) : sizeof(part);
		ssize_t got = pread(from, part, n, (off_t)at);

		if (got <= 0 || !write_all(to, part, (size_t)got))
			return false;
		at += (uint64_t)got;
	}
	return true;
}

/* The session's process, then all from that frame on. */
static bool copy_newer(struct recorder *w, const struct recording *r, int to)
{
	size_t i = first_kept(r, w->most);
	struct block_head h;

	if (!begin(&w->buffer))
		return false;
	process_encode(&w->buffer, &r->process[r->frame[i].session]);
	if (w->buffer.failed)
		return false;
	block_head_fill(
		&h, BLOCK_PROCESS,
		&(struct bytes){w->buffer.at + sizeof(h), w->buffer.n - sizeof(h), 0, false},
		r->frame[i].wall_ns, r->frame[i].number - 1);
	memcpy(w->buffer.at, &h, sizeof(h));
	return write_all(to, w->buffer.at, w->buffer.n) &&
	       copy(w->fd, to, r->frame[i].offset - sizeof(h), r->good);
}

static int replace(struct recorder *w, const struct recording *r)
{
	char path[PATH_MAX];
	int e, fd;

	if (snprintf(path, sizeof(path), "%s.new", w->path) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_APPEND, MODE);
	if (fd < 0)
		return -errno;
	if (!copy_newer(w, r, fd) || flock(fd, LOCK_EX | LOCK_NB) || rename(path, w->path)) {
		e = errno;
		close(fd);
		unlink(path);
		return e ? -e : -EIO;
	}
	close(w->fd);
	w->fd = fd;
	return 0;
}

/* Somebody else's wishes for the file stay. */
static void keep_owner(int fd, const struct stat *before)
{
	if (fchown(fd, before->st_uid, before->st_gid) == 0)
		fchmod(fd, before->st_mode & 07777);
}

static int drop_oldest(struct recorder *w, char *err, size_t errlen)
{
	struct recording r;
	struct stat before, now;
	int e = recording_read(&r, w->fd, w->path, err, errlen);

	if (!e && !r.frames)
		e = -EFBIG;
	if (!e && fstat(w->fd, &before))
		e = -errno;
	if (!e)
		e = replace(w, &r);
	if (!e && !fstat(w->fd, &now)) {
		keep_owner(w->fd, &before);
		w->dropped += w->size - (uint64_t)now.st_size;
		w->size = (uint64_t)now.st_size;
	}
	recording_close(&r);
	if (e)
		snprintf(err, errlen, "cannot drop the oldest part of %s: %s", w->path,
			 strerror(-e));
	return e;
}

static int encode(struct recorder *w, char *err, size_t errlen)
{
	if (begin(&w->buffer))
		instant_encode(&w->buffer, &w->f[w->next], w->since ? &w->f[!w->next] : NULL);
	return w->buffer.failed ? no_memory(err, errlen) : 0;
}

int recorder_put(struct recorder *w, uint64_t at_ns, char *err, size_t errlen)
{
	int e;

	/* so that there is always a key in the newer half */
	if (w->most && w->size - w->key_at > w->most / 8)
		w->since = 0;
	e = encode(w, err, errlen);
	if (!e && w->most && w->frames && w->size + w->buffer.n > w->most) {
		e = drop_oldest(w, err, errlen); /* it uses the buffer */
		w->since = 0;
		if (!e)
			e = encode(w, err, errlen);
	}
	if (!e && !w->since)
		w->key_at = w->size;
	if (!e)
		e = put_block(w, w->since ? BLOCK_CHANGE : BLOCK_KEY, at_ns, err, errlen);
	if (e)
		return e;
	w->since = (w->since + 1) % KEY_EVERY;
	w->next = !w->next;
	w->frames++;
	return 0;
}

/* --- the file --- */

static bool same_process(const struct process *a, const struct process *b)
{
	return a->pid == b->pid && a->started == b->started && !strcmp(a->boot, b->boot);
}

/* What there is stays if it is of the same process; a torn end goes. */
static int go_on(struct recorder *w, const struct process *p, char *err, size_t errlen)
{
	struct recording r;
	const struct process *last;
	int e = recording_read(&r, w->fd, w->path, err, errlen);

	if (!e) {
		last = &r.process[r.sessions - 1];
		if (!same_process(last, p)) {
			snprintf(err, errlen,
				 "%s has a recording of another process (%s [%llu] on %s): give "
				 "another file, or remove it",
				 w->path, last->comm, (unsigned long long)last->pid, last->host);
			e = -EEXIST;
		}
	}
	if (!e && ftruncate(w->fd, (off_t)r.good)) {
		e = -errno;
		snprintf(err, errlen, "cannot write %s: %s", w->path, strerror(-e));
	}
	w->size = r.good;
	w->number = r.next_number;
	recording_close(&r);
	return e;
}

int recorder_open(struct recorder *w, const char *path, const struct process *p, uint64_t most,
		  char *err, size_t errlen)
{
	struct stat st;
	int e;

	memset(w, 0, sizeof(*w));
	w->path = path;
	w->most = most;
	w->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, MODE);
	if (w->fd < 0 || fstat(w->fd, &st)) {
		e = errno;
		snprintf(err, errlen, "cannot write %s: %s", path, strerror(e));
		return -e;
	}
	if (!S_ISREG(st.st_mode)) {
		snprintf(err, errlen, "%s is not a file", path);
		return -EINVAL;
	}
	if (flock(w->fd, LOCK_EX | LOCK_NB)) {
		snprintf(err, errlen, "%s is being written by another hakstat record", path);
		return -EBUSY;
	}
	if (st.st_size && (e = go_on(w, p, err, errlen)))
		return e;
	return recorder_session(w, p, err, errlen);
}

void recorder_close(struct recorder *w)
{
	if (w->fd >= 0)
		close(w->fd);
	instant_free(&w->f[0]);
	instant_free(&w->f[1]);
	free(w->buffer.at);
	memset(w, 0, sizeof(*w));
	w->fd = -1;
}
