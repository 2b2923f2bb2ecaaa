/* By the system calls: libcap would be a library more, and libc has no wrappers. */
#include "privilege.h"

#include <limits.h>
#include <linux/capability.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#define CAP_BPF 39
#define CAP_CHECKPOINT_RESTORE 40
#endif

#define BIT(capability) ((uint64_t)1 << (capability))
/* memory and /proc of other users' processes; files that only they may open; map_files */
#define TO_READ (BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_CHECKPOINT_RESTORE))
#define TO_ATTACH (BIT(CAP_BPF) | BIT(CAP_PERFMON))

bool has_capability(unsigned capability)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct set[2] = {0};

	return !syscall(SYS_capget, &head, set) &&
	       set[capability / 32].effective >> capability % 32 & 1;
}

bool may_use_bpf(void)
{
	return has_capability(CAP_SYS_ADMIN) ||
	       (has_capability(CAP_BPF) && has_capability(CAP_PERFMON));
}

void remedy(const char *caps, const char *more, char *out, size_t len)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	snprintf(out, len, "run as root, or: setcap %s%s%s+ep %s", caps, *more ? "," : "", more,
		 n > 0 ? self : "hakstat");
}

void no_permission(const char *what, char *out, size_t len)
{
	char what_to_do[PATH_MAX + 128];

	remedy(CAPS_BPF, "", what_to_do, sizeof(what_to_do));
	snprintf(out, len, "no permission %s: %s", what, what_to_do);
}

/*
 * A program started later by root has all of them again, unless no_new_privs says otherwise: these
 * are ours alone. Giving up cannot fail, but where a filter forbids the call; then we go on as we
 * are.
 */
static void keep(uint64_t kept)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct set[2] = {0};

	if (syscall(SYS_capget, &head, set))
		return;
	/* before 5.9 it took this to open what map_files leads to */
	if (!(set[1].permitted & BIT(CAP_CHECKPOINT_RESTORE - 32)))
		kept |= BIT(CAP_SYS_ADMIN);
	for (int i = 0; i < 2; i++) {
		uint32_t mask = (uint32_t)(kept >> 32 * i);

		set[i].permitted &= mask;
		set[i].effective &= mask;
		set[i].inheritable &= mask;
	}
	syscall(SYS_capset, &head, set);
}

void keep_to_read(void)
{
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	keep(TO_READ | (has_capability(CAP_SYS_PTRACE) ? 0 : TO_ATTACH)); /* then by peek.c */
}

void keep_to_watch(bool by_events, bool command)
{
	if (!command)
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	keep(TO_READ | TO_ATTACH | (by_events ? BIT(CAP_SYS_ADMIN) : 0) |
	     (command ? BIT(CAP_KILL) : 0));
}
