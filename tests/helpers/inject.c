/*
 * inject CALLS ERROR N OUT COMMAND [ARGS...]: runs the command; the n-th of its system calls among
 * CALLS (comma-separated) fails with ERROR, with "all" for N every one, with 0 none. Writes how
 * many there were to OUT. ERROR "SHORT": of a write only the first byte is written.
 *
 * By a seccomp filter whose answers we give, so that calls are caught wherever in libc they are
 * made. Those of the command's children go through.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS_MOST 8

static const struct {
	const char *name;
	int number;
} names[] = {
	{"bpf", SYS_bpf},
	{"mmap", SYS_mmap},
	{"openat", SYS_openat},
	{"read", SYS_read},
	{"pread", SYS_pread64},
	{"write", SYS_write},
	{"readv", SYS_process_vm_readv},
	{"getdents", SYS_getdents64},
	{"ptrace", SYS_ptrace},
	{"perf", SYS_perf_event_open},
	{"readlink", SYS_readlink},
	{"wait", SYS_wait4},
	{"poll", SYS_poll},
	{"stat", SYS_newfstatat},
	{"pidfd", SYS_pidfd_open},
	{"socketpair", SYS_socketpair},
	{"signalfd", SYS_signalfd4},
	{"clone", SYS_clone},
};
static const struct {
	const char *name;
	int number;
} errors[] = {
	{"EPERM", EPERM},   {"EIO", EIO},	{"EINTR", EINTR},   {"ENOMEM", ENOMEM},
	{"EMFILE", EMFILE}, {"ENOSPC", ENOSPC}, {"EINVAL", EINVAL}, {"EAGAIN", EAGAIN},
	{"SHORT", 0},	    {"EACCES", EACCES},
};

static int *listener; /* shared with the child until its exec */
static char **command;

static int numbers(char *list, int *out)
{
	int n = 0;

	for (char *s = strtok(list, ","); s; s = strtok(NULL, ","))
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (!strcmp(s, names[i].name) && n < CALLS_MOST)
				out[n++] = names[i].number;
	return n;
}

static int calls[CALLS_MOST], ncalls;

static int child(void *arg)
{
	struct sock_filter code[CALLS_MOST + 4];
	struct sock_fprog program = {.filter = code};
	int n = 0;

	(void)arg;
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, nr));
	for (int i = 0; i < ncalls; i++)
		code[n++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i],
						     (unsigned char)(ncalls - i), 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
	program.len = (unsigned short)n;
	__atomic_store_n(listener,
			 (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				      SECCOMP_FILTER_FLAG_NEW_LISTENER, &program),
			 __ATOMIC_RELEASE);
	execvp(command[0], command);
	_exit(126);
}

/* One byte of what it would write, in its place. */
static long write_short(const struct seccomp_notif *q)
{
	int pidfd = (int)syscall(SYS_pidfd_open, q->pid, 0);
	int fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)q->data.args[0], 0);
	struct iovec to, from = {(void *)(uintptr_t)q->data.args[1], 1};
	char byte;
	long n = -1;

	to = (struct iovec){&byte, 1};
	if (process_vm_readv((pid_t)q->pid, &to, 1, &from, 1, 0) == 1)
		n = write(fd, &byte, 1);
	close(fd);
	close(pidfd);
	return n;
}

static bool answer(int fd, pid_t pid, long nth, int error, long *count)
{
	struct seccomp_notif q = {0};
	struct seccomp_notif_resp a = {0};

	if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &q))
		return errno == EINTR || errno == ENOENT;
	a.id = q.id;
	a.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	if ((pid_t)q.pid == pid && (++*count == nth || nth < 0)) {
		if (error) {
			a.flags = 0;
			a.error = -error;
		} else if (q.data.nr == SYS_write && q.data.args[2] > 1) {
			a.flags = 0;
			a.val = write_short(&q);
		}
	}
	ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &a);
	return true;
}

int main(int argc, char **argv)
{
	static char stack[65536] __attribute__((aligned(16)));
	long count = 0, nth;
	int error = -1, status, fd;
	FILE *out;
	pid_t pid;

	if (argc < 6)
		return 125;
	ncalls = numbers(argv[1], calls);
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (!strcmp(argv[2], errors[i].name))
			error = errors[i].number;
	nth = strcmp(argv[3], "all") ? strtol(argv[3], NULL, 10) : -1;
	command = argv + 5;
	listener = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*listener = -1;
	pid = clone(child, stack + sizeof(stack), CLONE_FILES | SIGCHLD, NULL);
	while ((fd = __atomic_load_n(listener, __ATOMIC_ACQUIRE)) < 0 &&
	       waitpid(pid, &status, WNOHANG) == 0)
		usleep(100);
	for (;;) {
		struct pollfd p = {fd, POLLIN, 0};

		poll(&p, 1, -1);
		if (p.revents & POLLIN) {
			if (!answer(fd, pid, nth, error, &count))
				break;
		} else if (p.revents) {
			break; /* nobody uses the filter any more */
		}
	}
	waitpid(pid, &status, 0);
	out = fopen(argv[4], "w");
	if (out) {
		fprintf(out, "%ld\n", count);
		fclose(out);
	}
	if (WIFSIGNALED(status))
		raise(WTERMSIG(status));
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
