/* hakstat remote: who frees whose memory. */
#include "hakstat.h"
#include "remotes.h"
#include "report.h"
#include "views.h"

int cmd_remote(int argc, char **argv)
{
	struct report_options o = {.view = &view_remote, .pid_seconds = 1};
	int most;

	report_parse(argc, argv, &o,
		     "Blocks freed by other threads than the one that owns them, by pair; how "
		     "many wait in the owner's queue and how long. Beyond 40 pairs, or as many as "
		     "--rows says, the rest is one line.");
	most = o.limit ? o.limit : REMOTE_ROWS;
	o.limit = 0;
	return report_run(&o, &most, NULL);
}
