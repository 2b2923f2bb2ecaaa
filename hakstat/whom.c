#include "whom.h"
#include "budget.h"
#include "hakstat.h"

enum { KEY_BUDGET = 2048 };

static const struct argp_option option_table[] = {
	{"pid", 'p', "PID|NAME", 0, "process to look at", 0},
	{"command", 'c', "CMD", 0,
	 "start CMD on libhakmem and look at it from its first allocation", 0},
	{"duration", 'd', "SECONDS", 0, "end after so long", 0},
	{"budget", KEY_BUDGET, "EVENTS", 0, BUDGET_HELP, 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct whom *w = state->input;

	switch (key) {
	case 'p':
		w->process = arg;
		return 0;
	case 'c':
		w->command = arg;
		return 0;
	case 'd':
		w->seconds = parse_seconds(arg);
		if (w->seconds <= 0)
			argp_error(state, "not a number of seconds: %s", arg);
		return 0;
	case KEY_BUDGET:
		if (!budget_parse(arg))
			argp_error(state, "not a number of events: %s", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

const struct argp whom_argp = {option_table, parse, NULL, NULL, NULL, NULL, NULL};

void whom_check(const struct whom *w, struct argp_state *state)
{
	if (!w->process == !w->command)
		argp_error(state, "give a process with -p or a command with -c");
}
