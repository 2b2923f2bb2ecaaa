/*
 * Recordings: what `hakstat record` saw of a process, interval by interval, to be looked at later,
 * by anybody, anywhere. A file is
 *
 *   blocks, each: 32 bytes of head, little-endian:
 *     u32 mark       RECORDING_MARK, which also says the version of the format
 *     u32 kind       enum block_kind
 *     u32 bytes      of what follows the head
 *     u32 crc        its crc32
 *     u64 wall_ns    CLOCK_REALTIME
 *     u32 number     of the block, counted from 0, by one more each
 *     u32 head_crc   crc32 of the 28 bytes before
 *   BLOCK_PROCESS: who is recorded, as lines "key value"; a session begins
 *   BLOCK_KEY: a frame (instant.h) by itself
 *   BLOCK_CHANGE: a frame as what differs from the one in the block before
 *
 * So a file may end anywhere, by a crash or a full disk: every whole block before is good. What is
 * damaged in the middle is left out, to the next BLOCK_KEY. An interval lies between two frames of
 * the same session; what it counted is their difference.
 */
#ifndef HAKSTAT_RECORDING_H
#define HAKSTAT_RECORDING_H

#include "instant.h"

#include <limits.h>

#define RECORDING_MARK 0x31526b48U /* "HkR1" */

enum block_kind { BLOCK_PROCESS = 1, BLOCK_KEY = 2, BLOCK_CHANGE = 3 };

struct block_head {
	uint32_t mark, kind, bytes, crc;
	uint64_t wall_ns;
	uint32_t number, head_crc;
};
_Static_assert(sizeof(struct block_head) == 32, "the head of a block is 32 bytes in the file");

#define BLOCK_BYTES_MAX (1U << 25) /* longer ones are damage */
#define KEY_EVERY 64		   /* frames: what has to be read to get at one of them */
#define CHANGES_MAX 1024	   /* behind a key; more are damage */

/* Who is recorded. Texts are safe to print. X(field, bytes of text) */
#define PROCESS_TEXTS(X)                                \
	X(comm, 64)                                     \
	X(exe, 4096)                                    \
	X(lib, 4096)                                    \
	X(build_id, 48)                                 \
	X(version, 24) /* of the library */             \
	X(host, 72)                                     \
	X(boot, 48)	 /* of the host: its boot_id */ \
	X(hakstat, 24)	 /* version of the recorder */  \
	X(container, 96) /* cgroup, as /proc/PID/cgroup has it; or empty */
#define PROCESS_NUMBERS(X)                                                 \
	X(pid)                                                             \
	X(started) /* ticks after the boot, as /proc/PID/stat has it */    \
	X(began)   /* CLOCK_MONOTONIC of the program's first use, in ns */ \
	X(link)	   /* enum link_kind */                                    \
	X(interval_ns)
struct process {
#define TEXT_FIELD_(name, bytes) char name[bytes];
#define NUMBER_FIELD_(name) uint64_t name;
	PROCESS_TEXTS(TEXT_FIELD_)
	PROCESS_NUMBERS(NUMBER_FIELD_)
#undef TEXT_FIELD_
#undef NUMBER_FIELD_
};
void process_encode(struct bytes *out, const struct process *p);
void process_decode(struct process *p, const uint8_t *data, size_t n);

uint32_t block_crc(const void *data, size_t n);
void block_head_fill(struct block_head *h, enum block_kind kind, const struct bytes *b,
		     uint64_t wall_ns, uint32_t number);

/* --- reading --- */

struct recorded { /* a frame */
	uint64_t offset, wall_ns;
	uint32_t bytes, session;
	uint32_t key; /* index of the frame to begin with */
	uint32_t number;
};

struct recording {
	int fd;
	bool owned;
	struct recorded *frame;
	size_t frames, room;
	struct process *process; /* of each session */
	size_t sessions;
	uint64_t size, good;   /* of the file; to the end of the last whole block */
	uint64_t damaged;      /* bytes before that which are none */
	uint32_t next_number;  /* of a block that would follow */
	uint64_t last_process; /* where the block of the last session begins */
	/* the frame read last, decoded */
	struct instant now;
	size_t at; /* its index, or SIZE_MAX */
	struct bytes buffer;
};

/* 0, or a negative errno with what is wrong in err. recording_close in any case. */
int recording_open(struct recording *r, const char *path, char *err, size_t errlen);
/* The same for a file that is open already, which recording_close leaves open. */
int recording_read(struct recording *r, int fd, const char *path, char *err, size_t errlen);
void recording_close(struct recording *r);

/* A frame, valid until the next one is asked for; NULL: it is not what it should be. */
const struct instant *recording_frame(struct recording *r, size_t index);

#endif
