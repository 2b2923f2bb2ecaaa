/*
 * The kernel's saved user registers; their layout is ABI. Arguments have their x86-64 names.
 * Include linux/bpf.h first.
 */
#ifndef HAK_BPF_REGS_H
#define HAK_BPF_REGS_H

#if defined(__TARGET_ARCH_arm64)
struct regs {
	__u64 di, si, dx, cx, r8, r9; /* x0 to x5 */
	__u64 x6_to_x28[23];
	__u64 bp, lr, sp, ip; /* x29, x30 */
};
#else
struct regs {
	__u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
	__u64 orig_ax, ip, cs, flags, sp, ss;
};
#endif

#endif
