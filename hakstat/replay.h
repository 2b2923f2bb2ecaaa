/* A recording as a source of intervals: models, without a target. */
#ifndef HAKSTAT_REPLAY_H
#define HAKSTAT_REPLAY_H

#include "model.h"
#include "recording.h"

struct replay {
	struct recording r;
	uint32_t *interval; /* frames that end one, in order */
	size_t intervals;
	struct target t; /* of the last model */
	void *state;	 /* of recorded_sources */
	struct sample from, to;
	size_t first, last; /* intervals of the last model */
	char who[160], recorded[192];
};

/*
 * 0, or a negative errno with what is wrong in err; told on stderr: what of the file is lost.
 * replay_close in any case. A struct replay is large: make it static.
 */
int replay_open(struct replay *p, const char *path, char *err, size_t errlen);
void replay_close(struct replay *p);

/*
 * The model of the intervals `first` to `last` (counted from 0) as one; of those, where the
 * recording was interrupted in between, the ones since then, from p->first on. False: a frame is
 * damaged.
 */
bool replay_model(struct replay *p, size_t first, size_t last, struct model *m);

/* When the first interval began. */
uint64_t replay_begin(const struct replay *p);
/* When an interval ended. */
uint64_t replay_time(const struct replay *p, size_t interval);
/*
 * "2026-11-26 03:12:45", "03:12:45" (of the day of the recording), "@1795662765" (seconds since
 * 1970), "+90" and "-90" (seconds after its begin, before its end). False: none of these.
 */
bool replay_parse_time(const struct replay *p, const char *text, uint64_t *ns);
/* The interval at a time: the first that ends then or later, else the last one. */
size_t replay_at(const struct replay *p, uint64_t ns);
/* As local time, to the second or with `fine` to the millisecond. */
void time_text(uint64_t wall_ns, bool fine, char *out, size_t len);

#endif
