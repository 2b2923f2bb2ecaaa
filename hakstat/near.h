/* Names near to one that is unknown. */
#ifndef HAKSTAT_NEAR_H
#define HAKSTAT_NEAR_H

#define NEAR 3

/* Begin with {0}. The nearest first; NULL where there are fewer. */
struct near {
	const char *id[NEAR];
	int far[NEAR];
};

void near_add(struct near *n, const char *name, const char *id);

#endif
