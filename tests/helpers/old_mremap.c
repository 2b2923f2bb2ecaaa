/*
 * Kernels before 6.17 unmap the target of mremap before they find that the source consists of
 * several mappings (EFAULT). What happens to be mapped there next is the program's, not ours to
 * unmap. Such a kernel is played by a signal handler; the page it maps must stay.
 */
#include "life.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#define MINE ((size_t)65536)

static char *mine;

static void as_an_old_kernel(int sig, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	void *to = (void *)r[REG_R8];

	(void)sig;
	(void)info;
	munmap(to, (size_t)r[REG_RDX]);
	/* another thread's, in the meantime */
	mine = mmap(to, MINE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		    0);
	test_fill(mine, MINE, 1);
	r[REG_RAX] = -EFAULT;
}

static bool trap_mremap(void)
{
	struct sigaction sa = {.sa_sigaction = as_an_old_kernel, .sa_flags = SA_SIGINFO};
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mremap, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = 4, .filter = code};

	return !sigaction(SIGSYS, &sa, NULL) && !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static bool is_mapped(const void *p)
{
	unsigned char in_core[MINE / 4096];

	return !mincore((void *)(uintptr_t)p, MINE, in_core);
}

static void target_of_a_failed_move(void)
{
	const char *secure = getenv("HAKMEM_SECURE");
	size_t n = 8U << 20;
	char *p = malloc(n), *q;

	test_fill(p, n, 2);
	CHECK(trap_mremap());
	q = realloc(p, 3 * n);
	if (!CHECK(q != NULL))
		return;
	CHECK(test_verify(q, n, 2));
	if (!mine) /* in secure mode blocks are copied */
		CHECK(secure && *secure == '1');
	else if (CHECK(is_mapped(mine)))
		CHECK(test_verify(mine, MINE, 1));
	free(q);
	heap_is_whole();
}

int main(void)
{
	RUN(target_of_a_failed_move);
	return test_done();
}
