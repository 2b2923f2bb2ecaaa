/*
 * A busy server with every kind of memory that a search for leaks must tell apart, and one leak:
 *
 *   request      lives for microseconds
 *   set_value    a table whose values are replaced at random: lives for a while, is freed
 *   fill_cache   grows at first, then stays
 *   new_session  a ring in which the newest replaces the oldest, full before anybody looks: what
 *                is allocated while one watches is all still there, and yet nothing grows
 *   leak_one     is never freed
 *
 * usage: leaky FILE BYTES: writes to FILE once the ring is full; then, after a line on stdin,
 * leaks that many bytes a second, 0: none, until stdin ends.
 */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KEYS 5000
#define SESSIONS 8000 /* at 500 a second: sixteen seconds */
#define SESSION_BYTES 4000
#define LEAK_BYTES 200
#define CACHE_BYTES (2 << 20)
#define STEP_MS 10

static void *table[KEYS], *session[SESSIONS];
static unsigned newest;
static size_t cached;
static uint32_t state = 1;

static uint32_t draw(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state % below;
}

static void *get(size_t bytes)
{
	void *p = malloc(bytes);

	if (!p)
		exit(1);
	memset(p, 1, bytes < 64 ? bytes : 64);
	return p;
}

/* volatile: it is not to be a jump, nor to vanish */
#define ONE_MORE_FRAME __asm__ volatile("")

static __attribute__((noinline)) void request(void)
{
	free(get(16 + draw(2000)));
	ONE_MORE_FRAME;
}

static __attribute__((noinline)) void set_value(void)
{
	uint32_t key = draw(KEYS);

	free(table[key]);
	table[key] = get(16 + draw(1000));
}

static __attribute__((noinline)) void fill_cache(void)
{
	get(1500);
	cached += 1500;
}

static __attribute__((noinline)) void new_session(void)
{
	free(session[newest]);
	session[newest] = get(SESSION_BYTES);
	newest = (newest + 1) % SESSIONS;
}

static __attribute__((noinline)) void leak_one(void)
{
	get(LEAK_BYTES);
	ONE_MORE_FRAME;
}

/* What is to be done every STEP_MS. */
static void step(double leak, double *owed)
{
	for (int i = 0; i < 500; i++)
		request();
	for (int i = 0; i < 200; i++)
		set_value();
	for (int i = 0; i < 100 && cached < CACHE_BYTES; i++)
		fill_cache();
	for (int i = 0; i < 5; i++)
		new_session();
	for (*owed += leak * STEP_MS / 1000; *owed >= LEAK_BYTES; *owed -= LEAK_BYTES)
		leak_one();
}

static void say(const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f || fprintf(f, "ready\n") < 0 || fclose(f))
		exit(1);
}

int main(int argc, char **argv)
{
	double leak = argc > 2 ? atof(argv[2]) : 0, owed = 0;
	struct pollfd in = {STDIN_FILENO, POLLIN, 0};
	struct timespec next;
	char line[16];

	for (int i = 0; i < SESSIONS; i++)
		new_session();
	for (int i = 0; i < 20 * KEYS; i++)
		set_value();
	say(argc > 1 ? argv[1] : "/dev/null");
	if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &next);
	while (poll(&in, 1, 0) == 0) {
		step(leak, &owed);
		next.tv_nsec += STEP_MS * 1000000;
		if (next.tv_nsec >= 1000000000) {
			next.tv_nsec -= 1000000000;
			next.tv_sec++;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
	}
	return 0;
}
