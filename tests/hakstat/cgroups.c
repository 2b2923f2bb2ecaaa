/* cgroups: paths of cgroups on stdin, the names hakstat has for them on stdout. */
#include "cgroup.h"

#include <stdio.h>
#include <string.h>

int main(void)
{
	char line[4096], name[CGROUP_BYTES];

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		cgroup_shorten(line, name, sizeof(name));
		puts(name);
	}
	return 0;
}
