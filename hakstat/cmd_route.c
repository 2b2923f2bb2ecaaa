/* hakstat route: which layer serves requests of which size. */
#include "hakstat.h"
#include "report.h"
#include "views.h"

int cmd_route(int argc, char **argv)
{
	return report_command(argc, argv, &view_route,
			      "Which layer served requests of which size. A line with ! is a size "
			      "that no layer serves, though one should.");
}
