/* hakstat threads: who allocates, who frees, who waits. */
#include "hakstat.h"
#include "report.h"
#include "views.h"

int cmd_threads(int argc, char **argv)
{
	return report_command(argc, argv, &view_threads,
			      "Each thread: allocations and frees, hit rate, cached bytes, blocks "
			      "that go to and come from other threads, waits.");
}
