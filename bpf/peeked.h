/* What bpf/peek.bpf.c and its reader share. */
#ifndef HAK_PEEKED_H
#define HAK_PEEKED_H

#include <linux/types.h>

#define PEEK_PARTS 256		 /* at once */
#define PEEK_PART_BYTES 8192	 /* of one part */
#define PEEK_BYTES (1024 * 1024) /* of all; a power of two */

struct peek_part {
	__u64 addr;
	__u32 bytes; /* up to PEEK_PART_BYTES */
	__u32 at;    /* in data; below PEEK_BYTES */
};

struct peek {
	__u32 parts;
	__u32 runs;   /* times the program ran: 0, there is no such thread */
	__s32 error;  /* the first one's, 0: all were read */
	__u32 kernel; /* parts are of the kernel's memory; those that cannot be read are zeroes */
	__u64 pgd;    /* the top of the thread's page tables, 0: it has no memory any more */
	struct peek_part part[PEEK_PARTS];
	unsigned char data[PEEK_BYTES + PEEK_PART_BYTES];
};

#endif
