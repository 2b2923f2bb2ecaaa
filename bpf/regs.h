/* The kernel's saved user registers; their layout on x86-64 is ABI. Include linux/bpf.h first. */
#ifndef HAK_BPF_REGS_H
#define HAK_BPF_REGS_H

struct regs {
	__u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
	__u64 orig_ax, ip, cs, flags, sp, ss;
};

#endif
