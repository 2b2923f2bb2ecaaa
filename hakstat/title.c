#include "title.h"
#include "target.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

void title_read(pid_t pid, char *out, size_t len)
{
	char path[64];
	ssize_t n;
	int fd;

	out[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, out, len - 1);
	close(fd);
	if (n < 0)
		n = 0;
	/* words end with a zero each; a shorter title is filled up with zeroes or blanks */
	while (n && (!out[n - 1] || out[n - 1] == ' '))
		n--;
	for (ssize_t i = 0; i < n; i++)
		if (!out[i])
			out[i] = ' ';
	out[n] = '\0';
	sanitize(out);
}
