/*
 * System calls of a process, and its waits by futex(2), while they are watched: each split into
 * what the allocator made and the rest, by the one address at which the library's own return.
 */
#ifndef HAKSTAT_CALLS_H
#define HAKSTAT_CALLS_H

#include "call_sums.h"
#include "modules.h"
#include "source.h"
#include "target.h"

enum caller { BY_ALLOCATOR, BY_REST, CALLERS };
extern const char *const caller_names[];

/* ns: within calls that have ended, and so far in those that go on. */
struct call_count {
	uint64_t calls, errors, ns;
	uint64_t max_ns; /* of those that ended since the look before this one */
	unsigned now;	 /* threads that are in it */
};

struct call_row {
	unsigned number;
	char name[24]; /* "read", or "463" of one that is not known here */
	struct call_count by[CALLERS];
};

/* Waits for one futex word; or for all of a caller, then word is 0. */
struct wait_row {
	uint64_t word;
	enum caller by;
	uint32_t op;
	uint64_t waits, ns, max_ns;
	int64_t going_ns;	   /* of ns, within waits that go on; may be negative in between */
	uint64_t hist[WAIT_SLOTS]; /* powers of two of ns */
	unsigned now;
};

/* Since the program began, or since it was watched first. Arrays are the sample's own. */
struct calls_sample {
	uint64_t t_ns; /* CLOCK_MONOTONIC */
	uint64_t program;
	bool split; /* where the allocator's calls are made is known */
	struct call_row *rows;
	size_t nrows;
	struct wait_row *waits;
	size_t nwaits;
	uint64_t lost;
	uint64_t spent_ns; /* in our programs, about */
	double off_s;	   /* the budget kept them off */
	int threads;
};

#define TOP_WORDS 10

/* What fill puts into the model. */
struct syscalls {
	struct calls_sample d;
	bool gone;			  /* the process has ended: nothing goes on any more */
	int threads;			  /* the most there were at a look */
	uint64_t lock_addr[HAK_LOCK_MAX]; /* of the allocator's locks' words; 0: see the heaps */
	/* the application's words waited for longest: indices into d.waits, and what holds them */
	struct top_word {
		size_t row;
		char name[48]; /* its symbol, or address */
		char where[64];
	} top[TOP_WORDS];
	int ntop;
};
extern const struct source source_calls;   /* all system calls */
extern const struct source source_futexes; /* futex(2) alone: less costs less */

struct calls;

enum calls_what { CALLS_ALL, CALLS_FUTEX };

/* NULL on failure, with the reason and the remedy in err and a negative errno in *error. */
struct calls *calls_open(pid_t pid, enum calls_what what, int *error, char *err, size_t errlen);
void calls_close(struct calls *c);

/* call_addr: target.call_addr, 0 if unknown. 0 or a negative errno; s begins all zero. */
int calls_read(struct calls *c, uint64_t call_addr, struct calls_sample *s);
void calls_free(struct calls_sample *s);
/* As of now: a sample is of one of them. */
uint64_t calls_program(const struct calls *c);
/*
 * Takes the programs off where the process makes more calls than the budget allows, and puts them
 * back; to be called again and again.
 */
void calls_keep_budget(struct calls *c);
/* It has become another program, which was not seen if they were off. */
void calls_new_program(struct calls *c);
/* Maxima start over. */
void calls_next(struct calls *c);

/* What lies between two samples; `from` may be all zero. `d` begins all zero. */
int calls_between(struct calls_sample *d, const struct calls_sample *from,
		  const struct calls_sample *to);
/* Seconds of the interval in which the budget let us watch. */
double calls_watched(const struct model *m);
/* Says so, where that was not all of it. */
bool calls_off_note(const struct model *m, char *out, size_t len);
/* Why the allocator's are not told from others. */
void calls_no_split_note(const struct model *m, char *out, size_t len);
/* The value that `share` (0 to 1) of the waits do not exceed: the upper edge of its slot. */
uint64_t calls_quantile(const struct wait_row *w, double share);
/* Sums over all rows. */
struct call_count calls_total(const struct calls_sample *d, enum caller by);

void call_name(unsigned number, char *out, size_t len);
const char *futex_op_name(uint32_t op);
/*
 * What is mapped at an address: "libfoo.so+0x1234", counted from its first byte in memory; and the
 * symbol that covers it, or the address itself. m: has looked at the process; maps: the text of
 * /proc/PID/maps, or NULL.
 */
void calls_where(const struct modules *m, char *maps, uint64_t addr, struct top_word *out);

#endif
