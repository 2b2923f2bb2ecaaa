/* hakstat syscalls: strace -c's table at a small part of its cost, and who made each call. */
#include "calls.h"
#include "hakstat.h"
#include "report.h"
#include "views.h"

int cmd_syscalls(int argc, char **argv)
{
	return report_command(argc, argv, &view_syscalls,
			      "System calls of a process: how often, how long, how many failed, "
			      "and which the allocator made.");
}
