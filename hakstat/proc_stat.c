#include "proc_stat.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The name is in parentheses and may hold any of them. */
bool proc_stat_read(pid_t pid, struct proc_stat *s)
{
	char path[64], line[1024], *from, *to;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, line, sizeof(line) - 1);
	close(fd);
	if (n <= 0)
		return false;
	line[n] = '\0';
	from = strchr(line, '(');
	to = strrchr(line, ')');
	if (!from || !to || to < from)
		return false;
	snprintf(s->comm, sizeof(s->comm), "%.*s", (int)(to - from - 1), from + 1);
	return sscanf(to + 1,
		      " %c %*d %*d %*d %*d %*d %lu %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %lu"
		      " %*d %llu %*u %*d %*u %*u %*u %*u %*u %*u %lu",
		      &s->state, &s->flags, &s->threads, &s->started, &s->pending) == 5;
}
