/* Writes recordings (recording.h). */
#ifndef HAKSTAT_RECORDER_H
#define HAKSTAT_RECORDER_H

#include "recording.h"

struct recorder {
	int fd;
	const char *path;
	uint64_t most; /* bytes of the file, 0: no limit */
	uint64_t size;
	uint32_t number;     /* of the next block */
	unsigned since;	     /* frames since the last key; 0: a key is next */
	uint64_t frames;     /* written by us */
	uint64_t dropped;    /* bytes of the oldest, to keep to `most` */
	uint64_t key_at;     /* where the last key begins */
	struct instant f[2]; /* in turn: the next one, and the one before */
	int next;
	struct bytes buffer;
};

/*
 * A new file, or one of the same process, which is gone on with. 0, or a negative errno with what
 * is wrong and what to do in err. recorder_close in any case. path must stay.
 */
int recorder_open(struct recorder *w, const char *path, const struct process *p, uint64_t most,
		  char *err, size_t errlen);
/* A session begins: at first, and where the process became another program. */
int recorder_session(struct recorder *w, const struct process *p, char *err, size_t errlen);
/* The frame to be filled in, without sections. */
struct instant *recorder_frame(struct recorder *w);
/* Writes it. As recorder_open; what could not be written whole is not in the file. */
int recorder_put(struct recorder *w, uint64_t wall_ns, char *err, size_t errlen);
void recorder_close(struct recorder *w);

#endif
