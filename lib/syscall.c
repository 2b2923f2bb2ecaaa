/*
 * The one instruction by which the library asks the system for anything: a system call made at
 * this address is the allocator's, and no other is. A note tells readers outside where it is.
 */
#include "internal.h"

#if defined(__SANITIZE_ADDRESS__)
#define BY_LIBC 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BY_LIBC 1
#endif
#endif
#if defined(HAK_TSAN) && !defined(BY_LIBC)
#define BY_LIBC 1
#endif

#if defined(BY_LIBC) || !(defined(__x86_64__) || defined(__aarch64__))

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Sanitizers see mappings come and go by libc's functions only. */
long os_call(long number, long a, long b, long c, long d, long e, long f)
{
	int saved = errno;
	long result;

	if (number == SYS_mmap)
		result = (long)mmap((void *)a, (size_t)b, (int)c, (int)d, (int)e, f);
	else if (number == SYS_munmap)
		result = munmap((void *)a, (size_t)b);
	else
		result = syscall(number, a, b, c, d, e, f);
	if (result == -1)
		result = -errno;
	errno = saved;
	return result;
}

#else

/* What libc's syscall() does, but for errno. */
__asm__(".pushsection .text\n"
	"\t.globl os_call\n"
	"\t.hidden os_call\n"
	"\t.type os_call, @function\n"
	"\t.balign 16\n"
	"os_call:\n"
	"\t.cfi_startproc\n"
#if defined(__x86_64__)
	"\tmovq %rdi, %rax\n"
	"\tmovq %rsi, %rdi\n"
	"\tmovq %rdx, %rsi\n"
	"\tmovq %rcx, %rdx\n"
	"\tmovq %r8, %r10\n"
	"\tmovq %r9, %r8\n"
	"\tmovq 8(%rsp), %r9\n"
	"\tsyscall\n"
#else
	"\tmov x8, x0\n"
	"\tmov x0, x1\n"
	"\tmov x1, x2\n"
	"\tmov x2, x3\n"
	"\tmov x3, x4\n"
	"\tmov x4, x5\n"
	"\tmov x5, x6\n"
	"\tsvc 0\n"
#endif
	".Los_call_done:\n"
	"\tret\n"
	"\t.cfi_endproc\n"
	"\t.size os_call, . - os_call\n"
	".popsection\n"
	/* like the note of root.c */
	".pushsection .note.hakmem,\"\",@note\n"
	".balign 4\n"
	".4byte 2f-1f, 4f-3f, 2\n"
	"1:\t.asciz \"" HAK_NOTE_OWNER "\"\n"
	"2:\t.balign 4\n"
	"3:\t.8byte .Los_call_done\n"
	"4:\t.balign 4\n"
	".popsection\n");
_Static_assert(HAK_NOTE_CALL == 2, "number in the note above");

#endif
