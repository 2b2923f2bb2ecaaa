#include "unwind.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REG_BP 6
#define REG_SP 7
#define REG_IP 16
#define PATIENCE_S 0.2 /* for one stack, which takes 30 us */
#define CACHE 4096U    /* chains of frame pointers known to be the truth; a slot is overwritten */

struct proven {
	uint64_t hash; /* of the chain; 0: none */
	struct callers *callers;
	unsigned generation;
};

struct unwinder {
	struct modules *modules;
	unsigned depth;
	bool frame_pointers;
	Dwfl *dwfl; /* this one has our callbacks */
	const struct stack_copy *stack;
	struct callers *out;
	bool missed;  /* something was not in the slice since the last frame ... */
	bool above;   /* ... which goes on */
	bool full;    /* the depth was reached */
	double end_s; /* call frame information may be made to take any time */
	bool guessed; /* libdwfl went by a frame pointer, for want of CFI */
	struct proven cache[CACHE];
};

static pid_t next_thread(Dwfl *dwfl, void *arg, void **thread_arg)
{
	(void)dwfl;
	if (*thread_arg)
		return 0;
	*thread_arg = arg;
	return 1;
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *arg, void **thread_arg)
{
	(void)dwfl;
	(void)tid;
	*thread_arg = arg;
	return true;
}

static bool read_slice(Dwfl *dwfl, Dwarf_Addr addr, Dwarf_Word *result, void *arg)
{
	struct unwinder *u = arg;
	uint64_t at = addr - u->stack->reg[REG_SP];

	(void)dwfl;
	if (u->stack->bytes >= sizeof(*result) && at <= u->stack->bytes - sizeof(*result)) {
		memcpy(result, (const char *)u->stack->slice + at, sizeof(*result));
		return true;
	}
	u->missed = true;
	u->above |= !u->stack->whole && addr > u->stack->reg[REG_SP];
	return false;
}

static bool set_registers(Dwfl_Thread *thread, void *thread_arg)
{
	struct unwinder *u = thread_arg;
	Dwarf_Word reg[UNWIND_REGS];

	for (int i = 0; i < UNWIND_REGS; i++)
		reg[i] = u->stack->reg[i];
	return dwfl_thread_state_registers(thread, 0, UNWIND_REGS, reg);
}

static const Dwfl_Thread_Callbacks callbacks = {
	.next_thread = next_thread,
	.get_thread = get_thread,
	.memory_read = read_slice,
	.set_initial_registers = set_registers,
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int on_frame(Dwfl_Frame *frame, void *arg)
{
	struct unwinder *u = arg;
	Dwarf_Addr pc, bias;
	Dwfl_Module *mod;
	bool activation;

	if (now_s() > u->end_s)
		return DWARF_CB_ABORT;
	u->missed = u->above = false; /* before this, which unwinds on to the next frame */
	if (!dwfl_frame_pc(frame, &pc, &activation))
		return DWARF_CB_ABORT;
	if (u->out->n == u->depth) {
		u->full = true;
		return DWARF_CB_ABORT;
	}
	u->out->pc[u->out->n] = activation ? pc : pc - 1;
	mod = dwfl_addrmodule(u->dwfl, u->out->pc[u->out->n++]);
	u->guessed |= !mod || !dwfl_module_eh_cfi(mod, &bias);
	return DWARF_CB_OK;
}

struct unwinder *unwind_open(struct modules *m, unsigned depth, bool frame_pointers)
{
	struct unwinder *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->modules = m;
	u->depth = depth < 1 ? 1 : depth > UNWIND_DEPTH_MAX ? UNWIND_DEPTH_MAX : depth;
	u->frame_pointers = frame_pointers;
	return u;
}

void unwind_close(struct unwinder *u)
{
	if (!u)
		return;
	for (unsigned i = 0; i < CACHE; i++)
		free(u->cache[i].callers);
	free(u);
}

/* A process has its libdwfl anew when its mappings change much. False: no file could be read. */
static bool is_ready(struct unwinder *u)
{
	Dwfl *dwfl = modules_dwfl(u->modules);

	if (!dwfl || u->frame_pointers)
		return false;
	if (dwfl == u->dwfl)
		return true;
	if (!dwfl_attach_state(dwfl, NULL, 1, &callbacks, u))
		return false;
	u->dwfl = dwfl;
	return true;
}

static void by_cfi(struct unwinder *u)
{
	u->missed = u->above = u->full = u->guessed = false;
	u->out->n = 0;
	u->out->method = UNWIND_CFI;
	/* a return address that cannot be read counts as none to libdwfl */
	if (dwfl_getthread_frames(u->dwfl, 1, on_frame, u) == 0 && !u->missed)
		u->out->end = UNWIND_WHOLE;
	else if (u->full)
		u->out->end = UNWIND_DEPTH;
	else
		u->out->end = u->above ? UNWIND_SLICE : UNWIND_BROKEN;
	if (u->guessed)
		u->out->method = UNWIND_BOTH;
}

/* How the function at pc finds its caller. */
struct rule {
	bool frame_pointer; /* its frame is found by rbp, with the caller's beside the address */
	bool none;	    /* it has no caller: the first function of a thread */
};

static bool at_cfa(const Dwarf_Op *op, size_t n, int64_t offset)
{
	return n == 2 && op[0].atom == DW_OP_call_frame_cfa && op[1].atom == DW_OP_plus_uconst &&
	       (int64_t)op[1].number == offset;
}

static bool is_register(const Dwarf_Op *op, size_t n, unsigned reg, int64_t offset)
{
	return n == 1 && ((op[0].atom == DW_OP_breg0 + reg && (int64_t)op[0].number == offset) ||
			  (op[0].atom == DW_OP_bregx && op[0].number == reg &&
			   (int64_t)op[0].number2 == offset));
}

static struct rule rule_at(Dwfl *dwfl, uint64_t pc)
{
	Dwfl_Module *mod = dwfl_addrmodule(dwfl, pc);
	Dwarf_Addr bias = 0;
	Dwarf_CFI *cfi = mod ? dwfl_module_eh_cfi(mod, &bias) : NULL;
	struct rule r = {false, false};
	Dwarf_Frame *frame = NULL;
	Dwarf_Op mem[3], *op;
	size_t n;

	if (!cfi || dwarf_cfi_addrframe(cfi, pc - bias, &frame))
		return r;
	if (!dwarf_frame_register(frame, REG_IP, mem, &op, &n)) {
		r.none = n == 0 && op == mem;
		r.frame_pointer = at_cfa(op, n, -8) && !dwarf_frame_cfa(frame, &op, &n) &&
				  is_register(op, n, REG_BP, 16) &&
				  !dwarf_frame_register(frame, REG_BP, mem, &op, &n) &&
				  at_cfa(op, n, -16);
	}
	free(frame);
	return r;
}

/*
 * The chain of frame pointers lacks the caller of a function that made no frame of its own yet,
 * as the probes' do not: that address is on top of the stack then.
 */
static unsigned chain_callers(const struct stack_copy *s, uint64_t *pc, unsigned depth)
{
	uint64_t top;
	unsigned n = 0;

	if (depth)
		pc[n++] = s->reg[REG_IP];
	if (s->reg[REG_BP] != s->reg[REG_SP] && s->bytes >= sizeof(top) && n < depth) {
		memcpy(&top, s->slice, sizeof(top));
		pc[n++] = top - 1;
	}
	for (unsigned i = 1; i < s->links && n < depth; i++)
		pc[n++] = s->chain[i] - 1;
	return n;
}

static void by_chain(struct unwinder *u)
{
	struct callers *out = u->out;

	out->method = UNWIND_CHAIN;
	out->n = chain_callers(u->stack, out->pc, u->depth);
	/* where a function used the register for something else, anything may follow */
	for (unsigned i = 1; i < out->n; i++)
		if (!modules_is_code(u->modules, out->pc[i])) {
			out->n = i;
			break;
		}
	out->end = UNWIND_BROKEN;
	if (out->n == u->depth)
		out->end = UNWIND_DEPTH;
	else if (u->dwfl && rule_at(u->dwfl, out->pc[out->n - 1]).none)
		out->end = UNWIND_WHOLE;
}

/* What is above the slice, as far as frame pointers lead there from the last frame found. */
static void add_chain(struct unwinder *u)
{
	struct callers *out = u->out;
	const struct stack_copy *s = u->stack;
	unsigned i = 1, had = out->n;

	while (i < s->links && s->chain[i] - 1 != out->pc[out->n - 1])
		i++;
	for (i++; i < s->links && out->n < u->depth; i++) {
		/* from here on each frame must be one that keeps its pointer */
		if (!modules_is_code(u->modules, s->chain[i] - 1) ||
		    !rule_at(u->dwfl, out->pc[out->n - 1]).frame_pointer)
			break;
		out->pc[out->n++] = s->chain[i] - 1;
		if (now_s() > u->end_s)
			break;
	}
	if (out->n == had)
		return;
	out->method = UNWIND_BOTH;
	if (out->n == u->depth)
		out->end = UNWIND_DEPTH;
	else if (rule_at(u->dwfl, out->pc[out->n - 1]).none)
		out->end = UNWIND_WHOLE;
}

static bool has_cfi(Dwfl *dwfl, uint64_t pc)
{
	Dwfl_Module *mod = dwfl_addrmodule(dwfl, pc);
	Dwarf_Addr bias = 0;
	Dwarf_CFI *cfi = mod ? dwfl_module_eh_cfi(mod, &bias) : NULL;
	Dwarf_Frame *frame = NULL;
	bool has = cfi && !dwarf_cfi_addrframe(cfi, pc - bias, &frame);

	free(frame);
	return has;
}

/*
 * From the first function without CFI on (code made at run time, a file that may not be read)
 * libdwfl guesses; the kernel's chain of frame pointers, where it leads there, guesses no worse
 * and is not bounded by the slice.
 */
static void mend_by_chain(struct unwinder *u)
{
	struct callers *out = u->out;
	const struct stack_copy *s = u->stack;
	unsigned k = 0, i = 1;

	while (k < out->n && now_s() < u->end_s && has_cfi(u->dwfl, out->pc[k]))
		k++;
	if (k >= out->n)
		return;
	out->n = k + 1;
	while (i < s->links && s->chain[i] - 1 != out->pc[k])
		i++;
	for (i++; i < s->links && out->n < u->depth; i++) {
		if (!modules_is_code(u->modules, s->chain[i] - 1))
			break;
		out->pc[out->n++] = s->chain[i] - 1;
		out->method = UNWIND_BOTH;
	}
	if (rule_at(u->dwfl, out->pc[out->n - 1]).none)
		out->end = UNWIND_WHOLE;
}

static uint64_t chain_hash(const struct stack_copy *s)
{
	uint64_t hash = 0xcbf29ce484222325U, top = 0; /* FNV-1a, by words */

	if (s->bytes >= sizeof(top))
		memcpy(&top, s->slice, sizeof(top));
	hash = (hash ^ top) * 0x100000001b3U;
	for (unsigned i = 0; i < s->links; i++) {
		hash = (hash ^ s->chain[i]) * 0x100000001b3U;
		hash ^= hash >> 29;
	}
	return hash ? hash : 1;
}

/*
 * From frame i on nothing but the start of the process or of a thread: at most two functions of
 * libc, and _start or nothing. They are called from one place each, whatever else happened.
 */
static bool is_start(struct unwinder *u, unsigned i)
{
	const struct callers *out = u->out;
	Dwfl_Module *libc = dwfl_addrmodule(u->dwfl, out->pc[i]);

	if (out->end != UNWIND_WHOLE || out->n - i > 3)
		return false;
	for (unsigned k = i + 1; k + 1 < out->n; k++)
		if (dwfl_addrmodule(u->dwfl, out->pc[k]) != libc)
			return false;
	return true;
}

/*
 * Frame pointers tell the truth for this chain, whatever else is on the stack: they give what CFI
 * gave, each function but the first keeps its frame pointer by its own account (the first, a
 * probe's, is a leaf: its caller is on top of the stack), and what follows is always the same.
 */
static bool is_proven(struct unwinder *u)
{
	static uint64_t pc[UNWIND_DEPTH_MAX];
	const struct callers *out = u->out;
	unsigned n = chain_callers(u->stack, pc, u->depth), same = 0;

	while (same < n && same < out->n && pc[same] == out->pc[same])
		same++;
	if (same < 2 || !is_start(u, same - 1))
		return false;
	for (unsigned i = 1; i + 1 < same; i++)
		if (now_s() > u->end_s || !rule_at(u->dwfl, pc[i]).frame_pointer)
			return false;
	return true;
}

static bool from_cache(struct unwinder *u, uint64_t hash)
{
	struct proven *p = &u->cache[hash % CACHE];

	if (p->hash != hash || p->generation != modules_generation(u->modules))
		return false;
	*u->out = *p->callers;
	u->out->method = UNWIND_CHAIN;
	return true;
}

static void to_cache(struct unwinder *u, uint64_t hash)
{
	struct proven *p = &u->cache[hash % CACHE];

	if (!p->callers)
		p->callers = malloc(sizeof(*p->callers));
	if (!p->callers)
		return;
	*p->callers = *u->out;
	p->hash = hash;
	p->generation = modules_generation(u->modules);
}

void unwind(struct unwinder *u, const struct stack_copy *s, struct callers *out)
{
	uint64_t hash = chain_hash(s);

	u->stack = s;
	u->out = out;
	u->end_s = now_s() + PATIENCE_S;
	if (!is_ready(u)) {
		by_chain(u);
		return;
	}
	if (from_cache(u, hash))
		return;
	by_cfi(u);
	if (out->end == UNWIND_BROKEN)
		mend_by_chain(u);
	else if (out->end == UNWIND_SLICE)
		add_chain(u);
	else if (is_proven(u))
		to_cache(u, hash);
}
